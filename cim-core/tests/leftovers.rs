//! Log files of an earlier sidecar: delivered once, in order, and removed only when acknowledged.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::collections::HashSet;
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

/// The log files in and below a directory.
fn files_below(dir: &Path) -> usize {
    let Ok(entries) = std::fs::read_dir(dir) else { return 0 };
    let count = |path: &Path| {
        if path.is_dir() { files_below(path) } else { usize::from(path.to_string_lossy().contains(".log")) }
    };
    entries.map(|entry| count(&entry.unwrap().path())).sum()
}

/// What a SIGKILL would leave at this moment.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match entry.file_type().unwrap() {
            kind if kind.is_dir() => copy(&from, &to),
            kind if kind.is_file() => drop(std::fs::copy(from, to).unwrap()),
            _ => {}
        }
    }
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
    let sink = brought(home.path()).await;
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
    let sink = down();
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

/// Lines of 10 KiB each.
fn long(count: usize) -> Vec<String> {
    numbered(0..count).into_iter().map(|line| format!("{line:<10240}")).collect()
}

fn down() -> Arc<Scripted> {
    let sink = Scripted::new();
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    sink
}

/// A life that brought a file of a hundred lines to a sink that is down.
async fn brought(home: &Path) -> Arc<Scripted> {
    leave(home, "pod-1_ns1_app-c1.log", &numbered(0..100));
    let sink = down();
    let cim = engine(home, &sink);
    until(&cim, "lines in the spool", |cim| logs(cim).books.held == 100).await;
    end(cim).await;
    sink
}

/// An engine whose sink is down since its start, and whose log class gave up a part of a file for new lines.
async fn partly_shed(home: &Path, lines: &[String]) -> Cim {
    leave(home, "pod-1_ns1_app-c1.log", lines);
    let sink = down();
    let cim = engine_with(home, &sink, small(WhenFull::ShedOldest));
    let half = 512 << 10;
    until(&cim, "the file brought, or half the class full", |cim| {
        logs(cim).books.held == lines.len() as u64 || cim.status().classes[0].bytes > half
    })
    .await;
    shed_some(&cim).await;
    cim
}

/// Sends new lines until the first records are given up for them.
async fn shed_some(cim: &Cim) {
    let held = logs(cim).books.held;
    for _ in 0..200 {
        if logs(cim).books.dropped_total() > 0 {
            break;
        }
        send(cim, &["x".repeat(16 << 10)]).await;
    }
    let shed = logs(cim).books.dropped_total();
    assert!(shed > 0 && shed < held, "{shed} of {held} lines are shed");
}

/// The next life, with a sink that works: the file may go only when every line of it has come.
async fn comes_whole(home: &Path, lines: &[String]) {
    let sink = Scripted::new();
    let cim = engine_with(home, &sink, small(WhenFull::ShedOldest));
    removed(&cim, home, 0).await;
    settled(&cim).await;
    let got: HashSet<_> = sink.lines().into_iter().collect();
    let missing = lines.iter().filter(|line| !got.contains(*line)).count();
    assert_eq!(missing, 0, "the file was removed, and lines of it never came");
    end(cim).await;
}

#[tokio::test]
async fn a_file_of_which_a_part_was_shed_comes_whole_after_a_kill() {
    // All of it in the spool, and more than the courier brings into a class of this size.
    for lines in [long(40), long(100)] {
        let (home, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let cim = partly_shed(home.path(), &lines).await;
        copy(home.path(), killed.path());
        comes_whole(killed.path(), &lines).await;
        end(cim).await;
    }
}

#[tokio::test]
async fn a_file_of_which_a_part_was_shed_comes_whole_after_a_clean_stop() {
    for lines in [long(40), long(100)] {
        let home = tempfile::tempdir().unwrap();
        end(partly_shed(home.path(), &lines).await).await;
        comes_whole(home.path(), &lines).await;
    }
}

/// The setting is away for one life, in which nobody follows the lines of the file.
#[tokio::test]
async fn a_file_comes_whole_although_a_part_was_shed_in_a_life_without_the_setting() {
    let (home, lines) = (tempfile::tempdir().unwrap(), long(40));
    leave(home.path(), "pod-1_ns1_app-c1.log", &lines);
    let cim = engine_with(home.path(), &down(), small(WhenFull::ShedOldest));
    until(&cim, "lines in the spool", |cim| logs(cim).books.held == 40).await;
    end(cim).await;
    let cim =
        builder(home.path(), small(WhenFull::ShedOldest)).sink("scripted", down().sink()).start().unwrap();
    shed_some(&cim).await;
    end(cim).await;
    comes_whole(home.path(), &lines).await;
}

#[tokio::test]
async fn lines_that_the_spool_does_not_have_come_from_their_file() {
    let home = tempfile::tempdir().unwrap();
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..100));
    let cim = engine(home.path(), &down());
    until(&cim, "lines in the spool", |cim| logs(cim).books.held == 100).await;
    end(cim).await;
    std::fs::remove_dir_all(home.path().join("spool/logs")).unwrap();
    comes_whole(home.path(), &numbered(0..100)).await;
}

/// What is shed while the file waits for room is none of its lines.
#[tokio::test]
async fn a_file_that_waits_while_others_are_shed_comes_once() {
    let home = tempfile::tempdir().unwrap();
    let new = "x".repeat(16 << 10);
    let cim =
        builder(home.path(), small(WhenFull::ShedOldest)).sink("scripted", down().sink()).start().unwrap();
    for _ in 0..50 {
        send(&cim, std::slice::from_ref(&new)).await;
    }
    end(cim).await;
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..100));
    let sink = down();
    let cim = engine_with(home.path(), &sink, small(WhenFull::ShedOldest));
    while logs(&cim).books.dropped_total() < 300 {
        send(&cim, std::slice::from_ref(&new)).await;
    }
    *sink.down.lock().unwrap() = None;
    removed(&cim, home.path(), 0).await;
    settled(&cim).await;
    let got: Vec<_> = sink.lines().into_iter().filter(|line| *line != new).collect();
    assert_eq!(got, numbered(0..100));
    end(cim).await;
}

/// Starts and ends an engine that has no need to deliver anything.
async fn live_once(home: &Path) {
    let sink = Scripted::new();
    let cim = engine(home, &sink);
    settled(&cim).await;
    end(cim).await;
    assert_eq!(sink.lines(), [""; 0], "own files were delivered again");
}

/// The fallback makes the directory during an outage.
#[tokio::test]
async fn files_in_a_directory_that_appears_later_are_not_touched() {
    let home = tempfile::tempdir().unwrap();
    live_once(home.path()).await;
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..3));
    live_once(home.path()).await;
    assert!(home.path().join("logs/pod-1_ns1_app-c1.log").exists());
    // Since then the directory itself tells, too.
    std::fs::remove_dir_all(home.path().join("spool")).unwrap();
    live_once(home.path()).await;
    assert!(home.path().join("logs/pod-1_ns1_app-c1.log").exists());
}

/// A spool that goes with the pod, beside a log directory that stays.
#[tokio::test]
async fn own_files_are_not_touched_after_the_spool_was_lost_and_the_rest_comes() {
    let home = tempfile::tempdir().unwrap();
    let sink = brought(home.path()).await;
    std::fs::remove_dir_all(home.path().join("spool")).unwrap();
    leave(home.path(), "pod-1_ns1_other-c2.log", &numbered(200..300));
    *sink.down.lock().unwrap() = None;
    let cim = engine(home.path(), &sink);
    removed(&cim, home.path(), 1).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..100));
    end(cim).await;
    assert!(home.path().join("logs/pod-1_ns1_other-c2.log").exists());
}

/// A death between two moves: nothing says yet that the files are taken.
#[tokio::test]
async fn what_an_interrupted_start_left_is_taken_by_the_next() {
    let home = tempfile::tempdir().unwrap();
    let moved = "logs/.cim-leftovers/ns1_pod-1";
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..10));
    std::fs::create_dir_all(home.path().join(moved)).unwrap();
    let (from, to) = (home.path().join("logs"), home.path().join(moved));
    std::fs::rename(from.join("pod-1_ns1_app-c1.log"), to.join("pod-1_ns1_app-c1.log")).unwrap();
    leave(home.path(), "pod-1_ns1_app-c2.log", &numbered(10..20));
    let sink = Scripted::new();
    let cim = engine(home.path(), &sink);
    removed(&cim, home.path(), 0).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..20));
    end(cim).await;
}

#[tokio::test]
async fn a_directory_that_takes_no_files_stops_nothing() {
    let home = tempfile::tempdir().unwrap();
    leave(home.path(), "pod-1_ns1_app-c1.log", &numbered(0..3));
    std::fs::write(home.path().join("logs/.cim-leftovers"), "in the way").unwrap();
    live_once(home.path()).await;
    assert!(home.path().join("logs/pod-1_ns1_app-c1.log").exists());
}

/// A refusal that is told only when the frame is written, after its lines were taken.
#[tokio::test]
async fn lines_that_find_no_room_wait_in_their_file() {
    let home = tempfile::tempdir().unwrap();
    let (new, large) = ("x".repeat(16 << 10), "y".repeat(700 << 10));
    let old = [numbered(0..3), vec![large], numbered(3..6)].concat();
    leave(home.path(), "pod-1_ns1_app-c1.log", &old);
    let sink = down();
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
