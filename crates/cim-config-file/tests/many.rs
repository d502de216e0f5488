//! Ten thousand files: seen soon, followed cheaply; more than the bound: an error, and nothing counts as removed.
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
use std::time::{Duration, Instant};

use cim_core::{ConfigSource as _, ConfigStream, ConfigUpdate, SourceErrorKind};
use futures_util::StreamExt as _;
use support::{PATIENCE, Store, next, scope, told};

const FILES: usize = 10_000;
const BOUND: usize = 20_000;

fn fill(store: &Store, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let dir = store.path(&format!("change-set/ns/amf/v0/ms/{}.json", number % 100));
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join((number + 1).to_string()), "[]").unwrap();
    }
}

/// Processor time of this process so far.
fn burnt() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(usage.tv_sec).unwrap(), u32::try_from(usage.tv_nsec).unwrap())
}

#[tokio::test]
async fn many_files_are_seen_and_cost_little_while_nothing_happens() {
    let store = Store::by_polling();
    fill(&store, 0..FILES);
    let mut watch = store.source().watch(&scope(), None);
    let ConfigUpdate::Reset { entries, .. } = next(&mut watch).await else { panic!("no reset") };
    assert_eq!(entries.len(), FILES);
    // The clock counts for the whole process, and the neighbours of this test have work of their own.
    let mut share = f64::INFINITY;
    for _ in 0..3 {
        let (begun, before) = (Instant::now(), burnt());
        assert!(
            tokio::time::timeout(Duration::from_secs(1), watch.next()).await.is_err(),
            "nothing happened"
        );
        share = share.min((burnt() - before).as_secs_f64() / begun.elapsed().as_secs_f64());
    }
    assert!(share < 0.2, "looking at intervals takes {:.0} % of a core", share * 100.0);
    store.put("change-set/ns/amf/v0/ms/new.json/1", b"[1]");
    assert_eq!(told(&mut watch).await, "put change-set/ns/amf/v0/ms/new.json/1=[1]");
}

/// What a watch ends with, once there is more than it may hold; nothing counts as removed before.
async fn refused(watch: &mut ConfigStream) -> SourceErrorKind {
    loop {
        match tokio::time::timeout(PATIENCE, watch.next()).await.unwrap().unwrap() {
            Ok(ConfigUpdate::Put(_)) => {}
            Ok(other) => panic!("{other:?}"),
            Err(error) => return error.kind(),
        }
    }
}

#[tokio::test]
async fn more_bytes_than_may_be_held_are_an_error() {
    let store = Store::by_polling();
    store.put("change-set/ns/amf/v0/ms/app.json/1", b"[1]");
    let mut watch = store.source().watch(&scope(), None);
    next(&mut watch).await;
    for number in 2..=66 {
        let path = store.path(&format!("change-set/ns/amf/v0/ms/app.json/{number}"));
        fs::File::create(path).unwrap().set_len(1 << 20).unwrap();
    }
    assert_eq!(refused(&mut watch).await, SourceErrorKind::Misconfigured);
}

#[tokio::test]
async fn more_files_than_may_be_held_are_an_error() {
    if !cim_testkit::has_time("twenty thousand files are written") {
        return;
    }
    let store = Store::by_polling();
    fill(&store, 0..BOUND);
    let mut watch = store.source().watch(&scope(), None);
    next(&mut watch).await;
    fill(&store, BOUND..BOUND + 1);
    assert_eq!(refused(&mut watch).await, SourceErrorKind::Misconfigured);
}
