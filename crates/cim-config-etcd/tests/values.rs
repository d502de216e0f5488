//! Keys and values of every shape and number.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use cim_services::{Etcd, EtcdPlan};
use rig::{Tail, change, scope, source};

#[tokio::test]
async fn large_values_arrive_whole_by_reading_and_by_watching() {
    let Some(etcd) = EtcdPlan::new().start() else { return };
    let (source, scope) = (source(&etcd), scope("large"));
    let mut early = Tail::new(&source, &scope, None);
    early.reset().await;
    let value = |n: u32| vec![u8::try_from(n).unwrap(); 1 << 20];
    for n in 0..12 {
        etcd.put_bytes(change("large", n).as_bytes(), &value(n));
    }
    for n in 0..12 {
        assert!(*early.put().await.value == value(n), "change {n} by watching");
    }
    let (_, entries) = Tail::new(&source, &scope, None).reset().await;
    assert_eq!(entries.len(), 12);
    for (n, entry) in (0..).zip(&entries) {
        assert!(*entry.value == value(n), "change {n} by reading");
    }
    // All of it at once, in pieces.
    let mut late = Tail::new(&source, &scope, Some(entries[0].revision.0));
    for n in 1..12 {
        assert!(*late.put().await.value == value(n), "change {n} by catching up");
    }
    assert_eq!(late.resets, 0);
}

#[tokio::test]
async fn ten_thousand_keys_are_read_and_watched_in_order() {
    let Some(etcd) = EtcdPlan::new().start() else { return };
    let (source, scope) = (source(&etcd), scope("many"));
    let before = etcd.revision();
    fill(&etcd, "many", 10_000);
    let (revision, entries) = Tail::new(&source, &scope, None).reset().await;
    assert_eq!(entries.len(), 10_000);
    assert_eq!(revision, etcd.revision());
    let mut tail = Tail::new(&source, &scope, Some(before));
    for expected in entries {
        assert_eq!(tail.put().await, expected);
    }
    assert_eq!(tail.resets, 0);
}

/// Puts so many changes in transactions of a hundred.
fn fill(etcd: &Etcd, microservice: &str, count: u32) {
    use std::io::Write as _;
    use std::process::Stdio;
    for first in (0..count).step_by(100) {
        let mut transaction = String::from("\n"); // nothing is compared
        for n in first..first + 100 {
            transaction += &format!("put {} value-{n}\n", change(microservice, n));
        }
        transaction += "\n\n";
        let mut command = etcd.command();
        command.arg("txn").stdin(Stdio::piped()).stdout(Stdio::null());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(transaction.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success());
    }
}

#[tokio::test]
async fn keys_of_any_bytes_and_any_shape_arrive() {
    let Some(etcd) = Etcd::shared() else { return };
    let (source, scope) = (source(etcd), scope("odd"));
    let mut tail = Tail::new(&source, &scope, None);
    tail.reset().await;
    let long = format!("change-set/ns/odd/{}", "a/".repeat(40));
    let keys: Vec<Vec<u8>> = [
        b"change-set/ns/odd/".as_slice(),
        b"change-set/ns/odd/\xff\xfe\x80",
        b"change-set/ns/odd/../../x",
        b"config/ns/odd//",
        b"config/ns/odd/\xc3",
        b"config/ns/odd",
        long.as_bytes(),
    ]
    .map(<[u8]>::to_vec)
    .into();
    for (key, value) in keys.iter().zip([b"".as_slice(), b"\xff\x00", b"{", b"null", b"\n", b" ", b"x"]) {
        etcd.put_bytes(key, value);
        let entry = tail.put().await;
        assert_eq!((&entry.key, &*entry.value), (key, value));
    }
    etcd.put_bytes(b"change-set/ns/odd", b"no slash");
    etcd.put_bytes(b"change-set/ns/odd0", b"the first key behind");
    etcd.put_bytes(b"config/ns/odd0", b"the first key behind");
    tail.quiet().await;
    let (_, entries) = Tail::new(&source, &scope, None).reset().await;
    assert_eq!(entries.into_iter().map(|entry| entry.key).collect::<Vec<_>>(), keys);
}
