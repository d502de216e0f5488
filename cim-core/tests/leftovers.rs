//! Log files of an earlier sidecar: delivered once, in order, and removed only when acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::path::Path;
use std::sync::Arc;

use cim_core::settings::{ByteSize, LeftoverSettings, SpoolSettings, WhenFull};
use cim_core::{Cim, CimBuilder, DeliveryErrorKind, Identity};
use support::{Scripted, logs, numbered, send, settled, until};

fn engine(home: &Path, sink: &Arc<Scripted>) -> Cim {
    engine_with(home, sink, SpoolSettings::default())
}

fn engine_with(home: &Path, sink: &Arc<Scripted>, spool: SpoolSettings) -> Cim {
    builder(home, spool)
        .leftovers(LeftoverSettings { dir: Some(home.join("logs")) })
        .sink("scripted", sink.sink())
        .start()
        .unwrap()
}

fn builder(home: &Path, spool: SpoolSettings) -> CimBuilder {
    Cim::builder()
        .identity(Identity { namespace: "ns1".into(), pod: "pod-1".into(), ..Identity::default() })
        .spool(SpoolSettings { dir: Some(home.join("spool")), ..spool })
}

fn leave(home: &Path, name: &str, lines: &[String]) {
    std::fs::create_dir_all(home.join("logs")).unwrap();
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    std::fs::write(home.join("logs").join(name), text).unwrap();
}

fn files_below(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    entries.map(|e| e.unwrap().path()).map(|path| if path.is_dir() { files_below(&path) } else { 1 }).sum()
}

async fn end(cim: Cim) {
    cim.stop(std::time::Duration::from_millis(500)).await;
}

async fn removed(cim: &Cim, home: &Path, left: usize) {
    until(cim, "files removed", |_| files_below(&home.join("logs")) == left).await;
}

#[tokio::test]
async fn they_are_delivered_once_and_removed() {
    let home = tempfile::tempdir().unwrap();
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..5000));
    leave(home.path(), "pod-12_ns1_app-c1.log", &numbered(0..3));
    let sink = Scripted::new();
    let cim = engine(home.path(), &sink);
    removed(&cim, home.path(), 1).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..5000));
    end(cim).await;
    // What appears later is not an earlier sidecar's: a fallback of this one may have written it.
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..3));
    let cim = engine(home.path(), &sink);
    settled(&cim).await;
    end(cim).await;
    assert_eq!(files_below(&home.path().join("logs")), 2);
    assert_eq!(sink.lines().len(), 5000);
}

#[tokio::test]
async fn a_file_stays_until_the_sink_has_taken_its_lines() {
    let home = tempfile::tempdir().unwrap();
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..100));
    let sink = Scripted::new();
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let cim = engine(home.path(), &sink);
    until(&cim, "lines in the spool", |cim| logs(cim).books.held == 100).await;
    end(cim).await;
    assert_eq!(files_below(&home.path().join("logs")), 1);
    *sink.down.lock().unwrap() = None;
    let cim = engine(home.path(), &sink);
    removed(&cim, home.path(), 0).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..100), "a restart reads on where the ledger says");
    end(cim).await;
}

/// A class of 1 MiB.
fn small(when_full: WhenFull) -> SpoolSettings {
    let mut spool = SpoolSettings::default();
    (spool.logs.when_full, spool.logs.max_bytes) = (when_full, ByteSize::mib(1));
    spool
}

/// New lines push the old ones out while the sink is down.
#[tokio::test]
async fn a_file_of_which_lines_were_shed_stays_and_comes_again() {
    let home = tempfile::tempdir().unwrap();
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..100));
    let sink = Scripted::new();
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let cim = engine_with(home.path(), &sink, small(WhenFull::ShedOldest));
    until(&cim, "lines in the spool", |cim| logs(cim).books.held == 100).await;
    let mut sent = 0;
    while logs(&cim).books.dropped_total() < 100 {
        assert!(sent < 500, "nothing is shed");
        send(&cim, &["x".repeat(16 << 10)]).await;
        sent += 1;
    }
    *sink.down.lock().unwrap() = None;
    settled(&cim).await;
    end(cim).await;
    assert_eq!(files_below(&home.path().join("logs")), 1);
    let before = sink.lines().len();
    let cim = engine(home.path(), &sink);
    removed(&cim, home.path(), 0).await;
    assert_eq!(sink.lines()[before..], numbered(0..100));
    end(cim).await;
}

/// A refusal that is told only when the frame is written, after its lines were taken.
#[tokio::test]
async fn lines_that_find_no_room_wait_in_their_file() {
    let home = tempfile::tempdir().unwrap();
    let (new, large) = ("x".repeat(16 << 10), "y".repeat(700 << 10));
    let old = [numbered(0..3), vec![large], numbered(3..6)].concat();
    leave(home.path(), "pod-1_ns1_app-c1.log", &old);
    let sink = Scripted::new();
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    // A start without a word of the files fills the class so far that the large line has no room.
    let cim = builder(home.path(), SpoolSettings::default()).sink("scripted", sink.sink()).start().unwrap();
    for _ in 0..25 {
        send(&cim, std::slice::from_ref(&new)).await;
    }
    end(cim).await;
    let cim = engine_with(home.path(), &sink, small(WhenFull::DropNewest));
    let refused = |cim: &Cim| cim.counts().logs.totals().refused.iter().sum::<u64>();
    until(&cim, "a refusal", |cim| refused(cim) > 0).await;
    *sink.down.lock().unwrap() = None;
    removed(&cim, home.path(), 0).await;
    settled(&cim).await;
    let got: Vec<_> = sink.lines().into_iter().filter(|line| *line != new).collect();
    assert_eq!(got, old);
    end(cim).await;
}
