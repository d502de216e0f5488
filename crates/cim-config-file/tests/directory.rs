//! What people and programs do to a directory, and what must be seen of it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, symlink};
use std::path::Path;
use std::time::{Duration, Instant};

use cim_core::{
    Commit, Component as _, ConfigOutcome, ConfigSource as _, ConfigUpdate, Health, SourceErrorKind,
};
use futures_util::StreamExt as _;
use support::{PATIENCE, Store, next, replace, scope, told};

const CHANGE: &str = "change-set/ns/amf/v0/ms/app.json";

fn both() -> [Store; 2] {
    [Store::with_notices(), Store::by_polling()]
}

/// Makes a ConfigMap volume of a directory, or swaps the data of one, as the kubelet does it.
fn swap(volume: &Path, generation: &str, files: &[(&str, &str)]) {
    let data = volume.join(format!("..{generation}"));
    for (path, value) in files {
        fs::create_dir_all(data.join(path).parent().unwrap()).unwrap();
        fs::write(data.join(path), value).unwrap();
    }
    let old = fs::read_link(volume.join("..data")).ok();
    symlink(format!("..{generation}"), volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    for entry in fs::read_dir(&data).unwrap() {
        let name = entry.unwrap().file_name();
        if !volume.join(&name).is_symlink() {
            symlink(Path::new("..data").join(&name), volume.join(&name)).unwrap();
        }
    }
    for entry in fs::read_dir(volume).unwrap() {
        let entry = entry.unwrap();
        let is_gone = !entry.path().exists() && entry.path().is_symlink();
        if is_gone {
            fs::remove_file(entry.path()).unwrap();
        }
    }
    if let Some(old) = old {
        fs::remove_dir_all(volume.join(old)).unwrap();
    }
}

#[tokio::test]
async fn of_a_swapped_configmap_volume_only_the_difference_is_told() {
    for store in both() {
        // The volume as the directory itself, with paths in it.
        let key = |revision: u32| format!("{CHANGE}/{revision}");
        let (one, two, three) = (key(1), key(2), key(3));
        swap(&store.dir(), "2026_1", &[(&one, "[1]"), (&two, "[2]"), ("config/ns/amf/0", "{}")]);
        let mut watch = store.source().watch(&scope(), None);
        let first = told(&mut watch).await;
        for expected in [format!("{one}=[1]"), format!("{two}=[2]"), "config/ns/amf/0={}".to_owned()] {
            assert!(first.contains(&expected), "{first}");
        }
        swap(&store.dir(), "2026_2", &[(&one, "[1]"), (&three, "[3]"), ("config/ns/amf/0", "{}")]);
        assert_eq!(told(&mut watch).await, format!("delete {two}"));
        assert_eq!(told(&mut watch).await, format!("put {three}=[3]"));
        // Nothing else was different: the next thing told is the next change.
        swap(&store.dir(), "2026_3", &[(&one, "[1]"), (&three, "[33]"), ("config/ns/amf/0", "{}")]);
        assert_eq!(told(&mut watch).await, format!("put {three}=[33]"));
    }
}

#[tokio::test]
async fn a_configmap_volume_may_be_mounted_below() {
    for store in both() {
        let volume = store.path(CHANGE);
        fs::create_dir_all(&volume).unwrap();
        swap(&volume, "a", &[("7", "[7]")]);
        let mut watch = store.source().watch(&scope(), None);
        assert_eq!(told(&mut watch).await, format!("reset {CHANGE}/7=[7]"));
        swap(&volume, "b", &[("7", "[7]"), ("8", "[8]")]);
        assert_eq!(told(&mut watch).await, format!("put {CHANGE}/8=[8]"));
        assert_eq!(store.source().read(&format!("{CHANGE}/8")).await.unwrap().as_deref(), Some(&b"[8]"[..]));
    }
}

#[tokio::test]
async fn the_kernels_notices_alone_tell_of_changes() {
    let store = Store::by_notices_alone();
    let volume = store.path("change-set/ns/amf/v0/ms/vol.json");
    fs::create_dir_all(&volume).unwrap();
    swap(&volume, "a", &[("1", "[1]")]);
    store.put(&format!("{CHANGE}/1"), b"[1]");
    let mut watch = store.source().watch(&scope(), None);
    next(&mut watch).await;
    store.put(&format!("{CHANGE}/2"), b"[2]");
    assert_eq!(told(&mut watch).await, format!("put {CHANGE}/2=[2]"));
    fs::write(store.path(&format!("{CHANGE}/2")), "[22]").unwrap();
    assert_eq!(told(&mut watch).await, format!("put {CHANGE}/2=[22]"));
    fs::remove_file(store.path(&format!("{CHANGE}/1"))).unwrap();
    assert_eq!(told(&mut watch).await, format!("delete {CHANGE}/1"));
    swap(&volume, "b", &[("1", "[11]")]);
    assert_eq!(told(&mut watch).await, "put change-set/ns/amf/v0/ms/vol.json/1=[11]");
}

#[tokio::test]
async fn a_file_that_grows_too_large_is_left_out_but_not_gone() {
    for store in both() {
        store.put(&format!("{CHANGE}/1"), b"[1]");
        let mut watch = store.source().watch(&scope(), None);
        assert_eq!(told(&mut watch).await, format!("reset {CHANGE}/1=[1]"));
        store.put(&format!("{CHANGE}/1"), &vec![b'x'; 2 << 20]);
        store.put(&format!("{CHANGE}/2"), b"[2]");
        assert_eq!(told(&mut watch).await, format!("put {CHANGE}/2=[2]"));
        store.put(&format!("{CHANGE}/1"), b"[11]");
        assert_eq!(told(&mut watch).await, format!("put {CHANGE}/1=[11]"));
    }
}

#[tokio::test]
async fn swaps_in_quick_succession_never_show_a_key_as_gone() {
    let store = Store::with_notices();
    let volume = store.path(CHANGE);
    fs::create_dir_all(&volume).unwrap();
    swap(&volume, "g0", &[("1", "[1]"), ("2", "0")]);
    let source = store.source();
    let mut watch = source.watch(&scope(), None);
    next(&mut watch).await;
    let swapping = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(2);
        let mut count = 0;
        while Instant::now() < end {
            count += 1;
            swap(&volume, &format!("g{count}"), &[("1", "[1]"), ("2", &count.to_string())]);
        }
        swap(&volume, "last", &[("1", "[1]"), ("2", "last")]);
    });
    loop {
        match next(&mut watch).await {
            ConfigUpdate::Put(entry) => {
                assert!(entry.key.ends_with(b"/2"), "a key that did not change was told");
                if &*entry.value == b"last" {
                    break;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    swapping.join().unwrap();
}

#[tokio::test]
async fn a_file_that_is_written_in_place_is_told_once_and_whole() {
    for store in both() {
        let source = store.source();
        let mut watch = source.watch(&scope(), None);
        assert_eq!(told(&mut watch).await, "reset");
        fs::create_dir_all(store.path(CHANGE)).unwrap();
        let path = store.path(&format!("{CHANGE}/1"));
        let writing = std::thread::spawn(move || {
            let mut file = fs::File::create(path).unwrap();
            for _ in 0..10 {
                file.write_all(b"0123456789").unwrap();
                std::thread::sleep(Duration::from_millis(50));
            }
        });
        assert_eq!(told(&mut watch).await, format!("put {CHANGE}/1={}", "0123456789".repeat(10)));
        writing.join().unwrap();
    }
}

#[tokio::test]
async fn a_file_that_is_always_being_written_delays_the_first_answer_by_a_second_at_most() {
    let store = Store::with_notices();
    store.put(&format!("{CHANGE}/1"), b"[1]");
    let path = store.path(&format!("{CHANGE}/2"));
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let stopped = std::sync::Arc::clone(&stop);
    let writing = std::thread::spawn(move || {
        let mut file = fs::File::create(path).unwrap();
        while !stopped.load(std::sync::atomic::Ordering::Relaxed) {
            file.write_all(b"x").unwrap();
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let mut watch = store.source().watch(&scope(), None);
    assert_eq!(told(&mut watch).await, format!("reset {CHANGE}/1=[1]"));
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    writing.join().unwrap();
    assert!(told(&mut watch).await.starts_with(&format!("put {CHANGE}/2=xxx")));
}

#[tokio::test]
async fn what_editors_do_ends_in_the_new_content() {
    for store in both() {
        let key = format!("{CHANGE}/1");
        store.put(&key, b"[1]");
        let mut watch = store.source().watch(&scope(), None);
        assert_eq!(told(&mut watch).await, format!("reset {key}=[1]"));
        // A swap file, the old one as a backup with a dot, the new one in its place.
        let (path, hidden) = (store.path(&key), store.path(&format!("{CHANGE}/.1.swp")));
        fs::write(&hidden, "garbage").unwrap();
        fs::rename(&path, store.path(&format!("{CHANGE}/.1.old"))).unwrap();
        fs::write(&path, "[11]").unwrap();
        fs::remove_file(&hidden).unwrap();
        loop {
            let next = told(&mut watch).await;
            assert!(!next.contains('.') || next.contains("app.json/1"), "{next}");
            if next == format!("put {key}=[11]") {
                break;
            }
            assert_eq!(next, format!("delete {key}"), "it was away for a moment");
        }
        // A rename to another revision.
        fs::rename(&path, store.path(&format!("{CHANGE}/2"))).unwrap();
        let mut both = [told(&mut watch).await, told(&mut watch).await];
        both.sort();
        assert_eq!(both, [format!("delete {key}"), format!("put {CHANGE}/2=[11]")]);
        // Touched, and written again with the same content: nothing to tell.
        replace(&store.path(&format!("{CHANGE}/2")), b"[11]");
        store.put(&format!("{CHANGE}/3"), b"[3]");
        assert_eq!(told(&mut watch).await, format!("put {CHANGE}/3=[3]"));
    }
}

#[tokio::test]
async fn the_day_one_document_has_three_homes() {
    for store in both() {
        store.put("config/ns/amf.json", b"{\"a\":1}");
        store.put("config/ns/amf/0", b"{\"a\":0}");
        store.put("config/ns/amfgw.json", b"{}");
        let mut watch = store.source().watch(&scope(), None);
        let first = told(&mut watch).await;
        for expected in [" config/ns/amf={\\\"a\\\":1}", " config/ns/amf/0={\\\"a\\\":0}"] {
            assert!(first.contains(expected), "{first}");
        }
        assert!(!first.contains("amfgw"), "{first}");
        fs::remove_dir_all(store.path("config/ns/amf")).unwrap();
        assert_eq!(told(&mut watch).await, "delete config/ns/amf/0");
        // Both files: the one without .json counts, and it is said.
        store.put("config/ns/amf", b"{\"a\":2}");
        assert_eq!(told(&mut watch).await, "put config/ns/amf={\\\"a\\\":2}");
    }
}

#[tokio::test]
async fn a_directory_that_goes_away_takes_nothing_with_it() {
    for store in both() {
        let key = format!("{CHANGE}/1");
        store.put(&key, b"[1]");
        let source = store.source();
        let mut watch = source.watch(&scope(), None);
        assert_eq!(told(&mut watch).await, format!("reset {key}=[1]"));
        fs::rename(store.dir(), store.beside("away")).unwrap();
        let outcome = ConfigOutcome {
            commit: Some(Commit { key: "commit-config/x".to_owned(), value: 1 }),
            status: None,
        };
        assert_eq!(source.report(&outcome).await.unwrap_err().kind(), SourceErrorKind::Unavailable);
        let mut watch = source.watch(&scope(), None);
        let error = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{error}");
        assert!(matches!(source.probe().await, Health::Degraded(text) if text == error.to_string()));
        assert!(watch.next().await.is_none());
        // Another directory of that name.
        fs::create_dir(store.dir()).unwrap();
        store.put(&key, b"[2]");
        let mut watch = source.watch(&scope(), None);
        assert_eq!(told(&mut watch).await, format!("reset {key}=[2]"));
        assert_eq!(source.probe().await, Health::Ready);
    }
}

/// With looks at intervals, because a directory that is replaced under a watch takes its notices with it.
#[tokio::test]
async fn a_directory_that_is_replaced_under_a_watch_is_followed() {
    let store = Store::by_polling();
    store.put(&format!("{CHANGE}/1"), b"[1]");
    let mut watch = store.source().watch(&scope(), None);
    assert_eq!(told(&mut watch).await, format!("reset {CHANGE}/1=[1]"));
    let other = store.beside("other");
    replace(&other.join(format!("{CHANGE}/1")), b"[2]");
    rustix::fs::renameat_with(
        rustix::fs::CWD,
        &other,
        rustix::fs::CWD,
        store.dir(),
        rustix::fs::RenameFlags::EXCHANGE,
    )
    .unwrap();
    assert_eq!(told(&mut watch).await, format!("put {CHANGE}/1=[2]"));
}

#[tokio::test]
async fn what_is_too_large_or_no_file_is_left_out_and_said() {
    for store in both() {
        store.put(&format!("{CHANGE}/1"), b"[1]");
        store.put(&format!("{CHANGE}/2"), &vec![b'x'; (1 << 20) + 1]);
        store.put(&format!("{CHANGE}/3"), &vec![b'x'; 1 << 20]);
        rustix::fs::mknodat(
            rustix::fs::CWD,
            store.path(&format!("{CHANGE}/4")),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::from_raw_mode(0o600),
            0,
        )
        .unwrap();
        fs::create_dir_all(store.path(&format!("{CHANGE}/5{}", "/d".repeat(40)))).unwrap();
        let source = store.source();
        let mut watch = source.watch(&scope(), None);
        let ConfigUpdate::Reset { entries, .. } = next(&mut watch).await else { panic!("no reset") };
        let mut keys: Vec<_> = entries.iter().map(|entry| entry.key.last().copied().unwrap()).collect();
        keys.sort_unstable();
        assert_eq!(keys, b"13");
        let Health::Degraded(text) = source.probe().await else { panic!("nothing is said") };
        assert!(text.starts_with("3 files are left out, among them "), "{text}");
        fs::remove_file(store.path(&format!("{CHANGE}/2"))).unwrap();
        fs::remove_file(store.path(&format!("{CHANGE}/4"))).unwrap();
        fs::remove_dir_all(store.path(&format!("{CHANGE}/5"))).unwrap();
        let deadline = Instant::now() + PATIENCE;
        store.put(&format!("{CHANGE}/6"), b"[6]");
        assert_eq!(told(&mut watch).await, format!("put {CHANGE}/6=[6]"));
        while source.probe().await != Health::Ready {
            assert!(Instant::now() < deadline, "{:?}", source.probe().await);
            let _ = tokio::time::timeout(Duration::from_millis(50), watch.next()).await;
        }
    }
}

#[tokio::test]
async fn links_lead_nowhere() {
    let store = Store::by_polling();
    let secret = store.beside("secret");
    replace(&secret.join("ms/app.json/1"), b"secret");
    store.put(&format!("{CHANGE}/1"), b"[1]");
    symlink(secret.join("ms/app.json/1"), store.path(&format!("{CHANGE}/2"))).unwrap();
    symlink(&secret, store.path("change-set/ns/amf/v1")).unwrap();
    symlink("../../../../../../secret", store.path(&format!("{CHANGE}/..data"))).unwrap();
    symlink("..data/ms", store.path(&format!("{CHANGE}/ms"))).unwrap();
    symlink(&secret, store.path("config")).unwrap();
    symlink(&secret, store.path("commit-config")).unwrap();
    let source = store.source();
    let mut watch = source.watch(&scope(), None);
    assert_eq!(told(&mut watch).await, format!("reset {CHANGE}/1=[1]"));
    for key in [
        "change-set/ns/amf/v1/ms/app.json/1",
        "commit-config/ms/app.json/1",
        "../secret/ms/app.json/1",
        "config/../../secret/ms/app.json/1",
    ] {
        assert_eq!(source.read(key).await.unwrap(), None, "{key}");
    }
    let report =
        |key: &str| ConfigOutcome { commit: Some(Commit { key: key.to_owned(), value: 1 }), status: None };
    for key in ["commit-config/x", "../secret/x", "/x", "a//b", "a/./b", "a/.hidden", "", "a/\0"] {
        let error = source.report(&report(key)).await.unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{key}: {error}");
    }
    let left: Vec<_> = fs::read_dir(&secret).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["ms"], "something was written outside");
}

#[tokio::test]
async fn hostile_names_are_keys_like_others() {
    let store = Store::by_polling();
    let names = ["7", "-rf", "*", "a b", "x\ny", "\u{202e}", "%2e%2e", "..."];
    for name in names {
        let path = store.path(CHANGE).join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "[]").unwrap();
    }
    let long = "n".repeat(255);
    fs::write(store.path(CHANGE).join(&long), "[]").unwrap();
    let mut watch = store.source().watch(&scope(), None);
    let ConfigUpdate::Reset { entries, .. } = next(&mut watch).await else { panic!("no reset") };
    // All but the one that begins with a dot.
    assert_eq!(entries.len(), names.len());
    assert!(entries.iter().any(|entry| entry.key.ends_with(long.as_bytes())));
}

#[tokio::test]
async fn a_pod_whose_names_cannot_be_directories_is_told_so() {
    let store = Store::by_polling();
    for (namespace, microservice) in [("", "amf"), ("ns", ""), ("..", "amf"), ("ns", "a/b"), ("ns", ".amf")] {
        let scope =
            cim_core::ConfigScope { namespace: namespace.to_owned(), microservice: microservice.to_owned() };
        let error = store.source().watch(&scope, None).next().await.unwrap().unwrap_err();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{error}");
    }
}

/// Runs one test of this file once more as somebody whom permissions bind.
fn as_nobody(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("directory");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let output = std::process::Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&program)
        .args(["--exact", test])
        .output();
    match output {
        Ok(output) => {
            let text = String::from_utf8_lossy(&output.stdout);
            assert!(output.status.success() && text.contains("1 passed"), "{text}");
        }
        Err(error) => cim_testkit::skipped(&format!("setpriv cannot be run: {error}")),
    }
}

#[tokio::test]
async fn what_may_not_be_read_or_written_is_said() {
    if rustix::process::geteuid().is_root() {
        return as_nobody("what_may_not_be_read_or_written_is_said");
    }
    let store = Store::by_polling();
    let mode = |path: &Path, mode| fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    store.put(&format!("{CHANGE}/1"), b"[1]");
    store.put(&format!("{CHANGE}/2"), b"[2]");
    mode(&store.path(&format!("{CHANGE}/2")), 0o000);
    let source = store.source();
    let mut watch = source.watch(&scope(), None);
    assert_eq!(told(&mut watch).await, format!("reset {CHANGE}/1=[1]"));
    assert!(matches!(source.probe().await, Health::Degraded(_)));
    mode(&store.path(&format!("{CHANGE}/2")), 0o644);
    assert_eq!(told(&mut watch).await, format!("put {CHANGE}/2=[2]"));
    // A directory that cannot be looked through is no empty one.
    mode(&store.path(CHANGE), 0o000);
    let error = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap().unwrap_err();
    mode(&store.path(CHANGE), 0o755);
    assert_eq!(error.kind(), SourceErrorKind::Unauthorized, "{error}");
    mode(&store.dir(), 0o555);
    let outcome =
        ConfigOutcome { commit: Some(Commit { key: "commit-config/x".to_owned(), value: 1 }), status: None };
    let error = source.report(&outcome).await.unwrap_err();
    mode(&store.dir(), 0o755);
    assert_eq!(error.kind(), SourceErrorKind::Unauthorized, "{error}");
}

#[tokio::test]
async fn a_result_replaces_its_file_whole_and_leaves_nothing_beside_it() {
    let store = Store::by_polling();
    let source = store.source();
    let key = format!("commit-config/ns/amf/v0/ms/{}", "p".repeat(253));
    let path = store.path(&key);
    let reading = std::thread::spawn(move || {
        let end = Instant::now() + Duration::from_secs(1);
        let mut last = 0;
        while Instant::now() < end {
            let Ok(text) = fs::read_to_string(&path) else { continue };
            let value: i32 = text.parse().expect("half of a result was seen");
            assert!(value >= last, "{value} after {last}");
            last = value;
        }
        last
    });
    let end = Instant::now() + Duration::from_secs(1);
    let mut value = 0;
    while Instant::now() < end {
        value += 1;
        let commit = Some(Commit { key: key.clone(), value });
        source.report(&ConfigOutcome { commit, status: None }).await.unwrap();
    }
    assert!(reading.join().unwrap() > 0);
    let beside = fs::read_dir(store.path("commit-config/ns/amf/v0/ms")).unwrap().count();
    assert_eq!(beside, 1);
}

#[tokio::test]
async fn a_full_disk_is_said_and_keeps_the_old_result() {
    let store = Store::by_polling();
    let limit = store.dir();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k,nr_inodes=8", "tmpfs"])
        .arg(&limit)
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        return cim_testkit::skipped("a small file system cannot be mounted here");
    }
    let source = store.source();
    let commit = |value| ConfigOutcome {
        commit: Some(Commit { key: "commit-config/p".to_owned(), value }),
        status: None,
    };
    source.report(&commit(1)).await.unwrap();
    let _ = fs::write(limit.join("filler"), vec![0; 1 << 20]);
    let error = source.report(&commit(2)).await.map_err(|error| error.kind());
    let stored = fs::read_to_string(limit.join("commit-config/p")).unwrap();
    fs::remove_file(limit.join("filler")).unwrap();
    let again = source.report(&commit(3)).await.map_err(|error| error.to_string());
    let unmounted = std::process::Command::new("umount").arg(&limit).status();
    assert_eq!((error.unwrap_err(), stored.as_str()), (SourceErrorKind::Full, "1"));
    again.unwrap();
    assert!(unmounted.is_ok_and(|status| status.success()));
}
