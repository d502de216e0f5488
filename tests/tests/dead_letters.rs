//! `cim dlq` on a store that holds something: beside a running program, a stopped one, one that writes, and none.
//!
//! The letters are made by the engine itself, with a sink that refuses; the program then finds them in its spool.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_core::settings::{ByteSize, SpoolSettings};
use cim_core::{
    Batch, Cim, Component, DeliveryError, DeliveryErrorKind, Identity, LogRecord, LogSink, Sink, SinkProfile,
    async_trait,
};
use cim_tests::{Daemon, PATIENCE, binary, has_time, until};
use serde_json::Value;

const FILES: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

/// Takes nothing.
struct Refusing;

#[async_trait]
impl Component for Refusing {
    fn name(&self) -> &str {
        "refusing"
    }
}

#[async_trait]
impl LogSink for Refusing {
    fn profile(&self) -> SinkProfile {
        SinkProfile::default()
    }

    async fn deliver(&self, _: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        Err(DeliveryError::new(DeliveryErrorKind::Rejected, "not today"))
    }
}

/// An engine of that pod with a sink that refuses every log.
fn engine(spool: SpoolSettings, pod: &str) -> Cim {
    let identity = Identity { namespace: "ns1".into(), pod: pod.into(), ..Identity::default() };
    Cim::builder().identity(identity).spool(spool).sink("s", Sink::logs(Arc::new(Refusing))).start().unwrap()
}

/// Publishes `count` lines that end up as letters, and stops.
fn refuse(dir: &Path, pod: &str, count: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let cim = engine(SpoolSettings { dir: Some(dir.to_owned()), ..SpoolSettings::default() }, pod);
        for n in 0..count {
            cim.intake().log("app", format!("line {n}").as_bytes()).await.unwrap();
        }
        let deadline = Instant::now() + PATIENCE;
        while cim.dead_letters().unwrap().len() < count as u64 {
            assert!(Instant::now() < deadline, "{:?}", cim.status());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        cim.stop(Duration::from_secs(5)).await;
    });
}

/// A running program whose store holds three letters.
fn with_letters() -> Daemon {
    let home = tempfile::tempdir().unwrap();
    refuse(&home.path().join("spool"), "pod-1", 3);
    Daemon::start_in(home, FILES, Daemon::spawn)
}

/// Runs `cim dlq …` in that directory: exit code, standard output and error. Fails when it does not end in time.
fn run(home: &Path, arguments: &[&str], time: Duration) -> (Option<i32>, String, String) {
    let mut command = Command::new(binary());
    command.arg("dlq").args(arguments).arg("--config").arg(home.join("cim.toml")).env_clear();
    // Into files: a pipe that nobody reads would hold the command up.
    let file = |name: &str| Stdio::from(File::create(home.join(name)).unwrap());
    let mut child = command.stdout(file("dlq-stdout")).stderr(file("dlq-stderr")).spawn().unwrap();
    let deadline = Instant::now() + time;
    while child.try_wait().unwrap().is_none() {
        if Instant::now() > deadline {
            child.kill().unwrap();
            panic!("no answer to {arguments:?} within {time:?}");
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let text = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
    (child.wait().unwrap().code(), text("dlq-stdout"), text("dlq-stderr"))
}

/// What `cim dlq …` answers when all is well.
fn dlq(home: &Path, arguments: &[&str]) -> String {
    let (code, text, complaint) = run(home, arguments, PATIENCE);
    assert_eq!(code, Some(0), "{arguments:?}: {complaint}");
    text
}

/// The sequences that `list` shows.
fn listed(home: &Path) -> Vec<u64> {
    let letters: Value = serde_json::from_str(&dlq(home, &["list", "--output", "json"])).unwrap();
    letters.as_array().unwrap().iter().map(|letter| letter["seq"].as_u64().unwrap()).collect()
}

fn lines(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_app-.log")).unwrap_or_default()
}

#[test]
fn letters_are_read_beside_a_running_a_stopped_and_no_program() {
    let mut daemon = with_letters();
    let look = |daemon: &Daemon| {
        assert_eq!(listed(daemon.home()), [1, 2, 3]);
        let text = dlq(daemon.home(), &["list"]);
        assert!(text.contains("rejected") && text.lines().count() == 4, "{text}");
        let text = dlq(daemon.home(), &["show", "2"]);
        // The payload is the FlatBuffer that the engine got; "line 1" stands in it.
        for part in ["class: logs", "seq: 2", "reason: rejected", "not today", "6c696e652031"] {
            assert!(text.contains(part), "{part} is missing in {text}");
        }
    };
    look(&daemon);
    daemon.signal("STOP");
    look(&daemon);
    daemon.signal("CONT");
    assert!((daemon.metric("cim_dead_letters") - 3.0).abs() < 0.5, "looking takes nothing away");
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    look(&daemon);
}

#[test]
fn letters_are_replayed_through_the_running_program() {
    let daemon = with_letters();
    assert!(dlq(daemon.home(), &["replay"]).contains("3 dead letters put back"));
    until("delivery", || daemon.metric("cim_records_delivered_total{route=\"logs\"") >= 3.0);
    assert_eq!(lines(&daemon), "line 0\nline 1\nline 2\n");
    assert_eq!(listed(daemon.home()), [0; 0]);
    assert!(daemon.metric("cim_dead_letters") < 0.5);
    assert!(daemon.books_balance());
    assert!(dlq(daemon.home(), &["replay"]).contains("0 dead letters"));
}

#[test]
fn letters_are_purged_through_the_running_program() {
    let mut daemon = with_letters();
    assert!(dlq(daemon.home(), &["purge"]).contains("3 dead letters forgotten"));
    assert_eq!(listed(daemon.home()), [0; 0]);
    daemon.kill_and_restart();
    assert!(daemon.metric("cim_dead_letters") < 0.5, "they stay forgotten");
    assert_eq!(listed(daemon.home()), [0; 0]);
    assert_eq!(lines(&daemon), "");
}

#[test]
fn a_hung_program_that_does_not_answer_is_an_error() {
    if !has_time("the command gives a hung program a minute to answer") {
        return;
    }
    let daemon = with_letters();
    daemon.signal("STOP");
    let (code, _, text) = run(daemon.home(), &["purge"], Duration::from_secs(80));
    assert_eq!(code, Some(1));
    assert!(text.contains("the running cim does not answer"), "{text}");
    assert_eq!(listed(daemon.home()), [1, 2, 3]);
}

#[test]
fn letters_are_replayed_without_a_running_program() {
    let mut daemon = with_letters();
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    assert!(dlq(daemon.home(), &["replay"]).contains("3 dead letters put back"));
    assert_eq!(listed(daemon.home()), [0; 0]);
    daemon.start_again();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(lines(&daemon), "line 0\nline 1\nline 2\n");
}

#[test]
fn letters_are_read_while_they_are_written_and_make_room() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("spool");
    std::fs::write(home.path().join("cim.toml"), format!("spool.dir = {dir:?}\n")).unwrap();
    let mut spool = SpoolSettings { dir: Some(dir), ..SpoolSettings::default() };
    spool.dead_letters.max_bytes = ByteSize::bytes(256 << 10);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let cim = runtime.block_on(async { engine(spool, "pod-1") });
    let (intake, line) = (cim.intake(), [b'x'; 1000]);
    // More than the store holds, in pieces, so that writing goes on as long as reading does.
    let mut newest = 0;
    for round in 1..=10 {
        let path = home.path().to_owned();
        let seqs = runtime.block_on(async {
            for _ in 0..60 {
                intake.log("app", &line).await.unwrap();
            }
            // The engine refuses and stores while the command reads.
            tokio::task::spawn_blocking(move || listed(&path)).await.unwrap()
        });
        assert!(seqs.windows(2).all(|pair| pair[0] < pair[1]), "round {round}: {seqs:?}");
        let last = seqs.last().copied().unwrap_or(newest);
        assert!(last >= newest && last <= round * 60, "round {round}: {last} after {newest}");
        newest = last;
    }
    let store = || cim.dead_letters().unwrap();
    let all = || store().len() + store().evicted() == 600;
    runtime.block_on(async {
        let deadline = Instant::now() + PATIENCE;
        while !all() {
            assert!(Instant::now() < deadline, "{:?}", cim.status());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    let seqs = listed(home.path());
    assert!(store().evicted() > 0, "nothing made room");
    assert_eq!(seqs, (601 - store().len()..=600).collect::<Vec<_>>());
    runtime.block_on(cim.stop(Duration::from_secs(5)));
}

#[test]
fn a_spool_of_another_pod_is_kept_within_its_limits_and_counted() {
    let home = tempfile::tempdir().unwrap();
    let spool = home.path().join("spool");
    refuse(&spool, "another-pod", 3);
    let aside = || {
        let names = std::fs::read_dir(&spool).unwrap().map(|entry| entry.unwrap().file_name());
        names.filter(|name| name.to_string_lossy().starts_with("set-aside-")).count()
    };
    let mut daemon = Daemon::start_in(home, FILES, Daemon::spawn);
    let removed = "cim_spool_set_aside_removed_bytes_total";
    until("its bytes to be counted", || daemon.metric("cim_spool_set_aside_bytes") > 0.5);
    let bytes = daemon.metric("cim_spool_set_aside_bytes");
    assert_eq!((aside(), listed(daemon.home()).len()), (1, 0));
    assert!(daemon.metric(removed) < 0.5, "the defaults leave it alone");
    assert!(daemon.stderr().contains("ns1/another-pod"), "{}", daemon.stderr());

    daemon.edit("spool.dir", "spool.set_aside.max_bytes = \"1B\"\nspool.dir");
    daemon.kill_and_restart();
    until("it to be removed", || aside() == 0);
    until("that to be counted", || daemon.metric(removed) > 0.5);
    assert!((daemon.metric(&format!("{removed}{{reason=\"max_bytes\"}}")) - bytes).abs() < 0.5);
    assert!(daemon.metric("cim_spool_set_aside_bytes") < 0.5);
}
