//! Log files of an earlier sidecar: delivered once, in order, and removed only when acknowledged.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failed step is the failure")]

mod support;

use std::path::Path;
use std::sync::Arc;

use cim_core::settings::{LeftoverSettings, SpoolSettings};
use cim_core::{Cim, DeliveryErrorKind, Identity};
use support::{Scripted, numbered, settled, until};

fn engine(home: &Path, sink: &Arc<Scripted>) -> Cim {
    Cim::builder()
        .identity(Identity { namespace: "ns1".into(), pod: "pod-1".into(), ..Identity::default() })
        .spool(SpoolSettings { dir: Some(home.join("spool")), ..SpoolSettings::default() })
        .leftovers(LeftoverSettings { dir: Some(home.join("logs")) })
        .sink("scripted", sink.sink())
        .start()
        .unwrap()
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
    until(&cim, "lines in the spool", |cim| support::logs(cim).books.held == 100).await;
    end(cim).await;
    assert_eq!(files_below(&home.path().join("logs")), 1);
    *sink.down.lock().unwrap() = None;
    let cim = engine(home.path(), &sink);
    removed(&cim, home.path(), 0).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..100), "a restart reads on where the ledger says");
    end(cim).await;
}
