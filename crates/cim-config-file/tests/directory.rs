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
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::{Duration, Instant};

use cim_core::{
    Commit, Component as _, ConfigOutcome, ConfigSource as _, ConfigUpdate, Health, SourceErrorKind,
};
use futures_util::StreamExt as _;
use support::{CHANGE, PATIENCE, Store, both, next, replace, scope, told};

/// How long a file has to stay the same to be told: that of the source.
const SETTLE: Duration = Duration::from_millis(200);
/// Most rounds until one is undisturbed.
const ROUNDS: usize = 5;

/// Who writes a file bit by bit.
struct Pen {
    file: fs::File,
    written: Instant,
    /// Longest time from one write to the next.
    gap: Duration,
}

impl Pen {
    fn new(path: &Path) -> Self {
        let written = Instant::now();
        Self { file: fs::File::create(path).unwrap(), written, gap: Duration::ZERO }
    }

    fn write(&mut self, text: &[u8]) {
        let begun = Instant::now();
        self.file.write_all(text).unwrap();
        self.gap = self.gap.max(self.written.elapsed());
        self.written = begun;
    }
}

/// What a round leads to in which the writer was not kept waiting for so long that its file looked finished: writer and
/// watch share a thread, which a busy machine may stop.
async fn undisturbed<T>(round: impl AsyncFn() -> (T, Duration)) -> T {
    let mut rounds = 1;
    loop {
        let (seen, gap) = round().await;
        if gap < SETTLE || rounds == ROUNDS {
            return seen;
        }
        rounds += 1;
    }
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
    for store in [Store::with_notices, Store::by_polling] {
        let told = undisturbed(async || {
            let store = store();
            let source = store.source();
            let mut watch = source.watch(&scope(), None);
            assert_eq!(told(&mut watch).await, "reset");
            fs::create_dir_all(store.path(CHANGE)).unwrap();
            let path = store.path(&format!("{CHANGE}/1"));
            let writing = async move {
                let mut pen = Pen::new(&path);
                let mut pace = tokio::time::interval(Duration::from_millis(50));
                for _ in 0..10 {
                    pace.tick().await;
                    pen.write(b"0123456789");
                }
                pen.gap
            };
            let (gap, told) = tokio::join!(writing, told(&mut watch));
            (told, gap)
        });
        assert_eq!(told.await, format!("put {CHANGE}/1={}", "0123456789".repeat(10)));
    }
}

#[tokio::test]
async fn a_file_that_is_always_being_written_delays_the_first_answer_by_a_second_at_most() {
    let (_store, mut watch, first) = undisturbed(async || {
        let store = Store::with_notices();
        store.put(&format!("{CHANGE}/1"), b"[1]");
        let mut pen = Pen::new(&store.path(&format!("{CHANGE}/2")));
        let writing = async {
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            loop {
                pace.tick().await;
                pen.write(b"x");
            }
        };
        let mut watch = store.source().watch(&scope(), None);
        let first = tokio::select! {
            first = told(&mut watch) => first,
            () = writing => unreachable!(),
        };
        // The last write may lie long back as well.
        let gap = pen.gap.max(pen.written.elapsed());
        ((store, watch, first), gap)
    })
    .await;
    assert_eq!(first, format!("reset {CHANGE}/1=[1]"));
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
