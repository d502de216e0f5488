//! Results in their files, and what is said where they cannot be written or changes cannot be read.
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
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cim_core::{Commit, Component as _, ConfigOutcome, ConfigSource as _, Health, SourceErrorKind};
use futures_util::StreamExt as _;
use support::{CHANGE, PATIENCE, Store, scope, told};

/// Runs one test of this file once more as somebody whom permissions bind.
fn as_nobody(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("directory");
    // Another process copies: what this one has open for writing, a child that a neighbour starts just then has open as well,
    // and nobody can run it.
    let copied =
        std::process::Command::new("cp").arg(std::env::current_exe().unwrap()).arg(&program).status();
    assert!(copied.unwrap().success());
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
    let report = async |value| {
        let commit = Some(Commit { key: key.clone(), value });
        source.report(&ConfigOutcome { commit, status: None }).await.unwrap();
    };
    // Before anybody reads, who may be kept waiting for as long as the reading takes.
    let mut value = 1;
    report(value).await;
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
    while Instant::now() < end {
        value += 1;
        report(value).await;
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
