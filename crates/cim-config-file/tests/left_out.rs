//! What may stand in a directory and is no key, or looks like none.
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
use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use cim_core::{
    Commit, Component as _, ConfigOutcome, ConfigSource as _, ConfigUpdate, Health, SourceErrorKind,
};
use futures_util::StreamExt as _;
use support::{CHANGE, PATIENCE, Store, both, next, replace, scope, told};

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
