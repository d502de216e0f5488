//! Faults of the disk under the running program: full, read-only, failing, slow.
//!
//! A test that injected nothing fails.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod log_files;
mod long;

use std::time::{Duration, Instant};

use cim_tests::invariants::first_copies;
use cim_tests::{Daemon, Injection, Mount, PATIENCE, Wire, until};

const FILES: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";
const LOGS_WRITTEN: &str = "cim_accept_level{class=\"logs\",level=\"written\"}";
const EVENTS_SYNCED: &str = "cim_accept_level{class=\"events\",level=\"synced\"}";

fn event(n: usize) -> Vec<u8> {
    format!("{{\"eventName\":\"event{n:06}\",\"eventTime\":1}}").into_bytes()
}

/// Publishes numbered lines, and an event with every fiftieth; returns when all of it is accepted.
fn publish(wire: &mut Wire, from: usize, to: usize) {
    for n in from..to {
        wire.publish("LOG", format!("line {n:06} {}", "x".repeat(1000)).as_bytes());
        if n % 50 == 0 {
            wire.publish("EVENT", &event(n));
        }
    }
    wire.flush();
}

/// The line numbers of the log file, in its order.
fn lines(daemon: &Daemon) -> Vec<usize> {
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_wire-.log")).unwrap_or_default();
    text.lines().filter_map(|line| line.get(5..11)?.parse().ok()).collect()
}

/// The event numbers of the event file, in its order.
fn events(daemon: &Daemon) -> Vec<usize> {
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_events.jsonl")).unwrap_or_default();
    let number = |line: &str| line.split_once("\"event0")?.1.get(..5)?.parse().ok();
    text.lines().filter_map(number).collect()
}

/// Waits until nothing is held; everything up to `count` lines came through, in order, and nothing was given up.
fn all_delivered(daemon: &Daemon, count: usize) {
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    assert!(daemon.metric("cim_records_dropped_total") < 0.5, "dropped");
    assert!(daemon.metric("cim_records_refused_total") < 0.5, "refused");
    assert_eq!(lines(daemon), (0..count).collect::<Vec<_>>());
    assert_eq!(first_copies(events(daemon)), (0..count).step_by(50).collect::<Vec<_>>());
}

#[test]
fn a_full_disk_sheds_logs_keeps_events_and_heals() {
    let home = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(&home.path().join("spool"), "size=16m") else { return };
    let settings = FILES.replace("{home}/logs", "/proc/stuck");
    let daemon = Daemon::start_in(home, &settings, Daemon::spawn);
    let mut wire = daemon.connect();
    for part in 0..40 {
        publish(&mut wire, part * 2000, (part + 1) * 2000); // 80 MB for 16 MiB of disk
        assert!(daemon.books_balance(), "after part {part}");
    }
    assert!(
        daemon.metric("cim_records_dropped_total{route=\"logs\",sink=\"files\",reason=\"shed_oldest\"}")
            > 1.0
    );
    assert!(daemon.metric("cim_records_dropped_total{route=\"events\"") < 0.5);

    daemon.edit("/proc/stuck", &daemon.home().join("logs").display().to_string());
    daemon.signal("HUP");
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    publish(&mut wire, 80_000, 80_100);
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    let lines = lines(&daemon);
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice");
    assert_eq!(lines.last(), Some(&80_099));
    assert_eq!(
        first_copies(events(&daemon)),
        (0..80_100).step_by(50).collect::<Vec<_>>(),
        "events are never shed"
    );
    until("the level of logs", || daemon.metric(LOGS_WRITTEN) > 0.5);
}

#[test]
fn one_failed_fdatasync_loses_nothing() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO:when=1") else { return };
    publish(&mut wire, 100, 300);
    fault.end();
    publish(&mut wire, 300, 400);
    all_delivered(&daemon, 400);
    until("the level of events", || daemon.metric(EVENTS_SYNCED) > 0.5);
}

#[test]
fn fdatasync_that_always_fails_lowers_the_level_says_so_and_heals() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO") else { return };
    publish(&mut wire, 100, 300);
    until("a lower level", || daemon.metric(EVENTS_SYNCED) < 0.5);
    let page = daemon.get("/readyz").unwrap();
    assert!(page.contains("spool events: degraded") && page.contains("fdatasync failed"), "{page}");
    fault.end();
    publish(&mut wire, 300, 400);
    all_delivered(&daemon, 400);
    until("the level of events", || daemon.metric(EVENTS_SYNCED) > 0.5);
}

/// Every write to the spool fails for a while.
fn failing_writes(error: &str) {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(fault) = Injection::start(&daemon, "pwrite64", &format!("error={error}")) else { return };
    publish(&mut wire, 100, 300);
    until("a lower level", || daemon.metric(LOGS_WRITTEN) < 0.5);
    fault.end();
    publish(&mut wire, 300, 400);
    all_delivered(&daemon, 400);
    until("the level of logs", || daemon.metric(LOGS_WRITTEN) > 0.5);
}

#[test]
fn writes_that_fail_with_an_io_error_lose_nothing() {
    failing_writes("EIO");
}

/// The process ends while its spool takes nothing: what only memory has is written out, what the disk has stays there.
#[test]
fn what_a_failing_disk_did_not_take_is_written_out_at_the_end() {
    let lifecycle =
        "[lifecycle]\ngrace = \"4s\"\ndrain = \"100ms\"\ntermination_log = \"{home}/last-word\"\n";
    let mut daemon = Daemon::start(&format!("{}{lifecycle}", FILES.replace("{home}/logs", "/proc/stuck")));
    std::fs::write(daemon.home().join("last-word"), "").unwrap();
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(_fault) = Injection::start(&daemon, "pwrite64", "error=EIO") else { return };
    publish(&mut wire, 100, 300);
    until("a lower level", || daemon.metric(LOGS_WRITTEN) < 0.5);
    let asked = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(3), "{}", daemon.stderr());
    assert!(asked.elapsed() > Duration::from_secs(1), "delivery is all there is: {:?}", asked.elapsed());
    let word = daemon.last_word();
    assert_eq!(
        (&word["held"], &word["dropped"], &word["spilled"]),
        (&102.into(), &204.into(), &204.into()),
        "{word}"
    );
    let spilled = |class: &str| daemon.stdout().lines().filter(|line| line.starts_with(class)).count();
    assert_eq!((spilled("cim-spill1 L "), spilled("cim-spill1 E ")), (200, 4));
}

#[test]
fn a_disk_that_becomes_read_only_loses_nothing() {
    failing_writes("EROFS");
}

#[test]
fn a_file_system_that_goes_read_only_under_the_spool_loses_nothing() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::ext4(&home.path().join("spool")) else { return };
    let daemon = Daemon::start_in(home, FILES, Daemon::spawn);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    // As after an error of the device: the kernel takes every right to write away, from open files too.
    mount.remount("abort");
    publish(&mut wire, 100, 300);
    until("a lower level", || daemon.metric(LOGS_WRITTEN) < 0.5);
    let page = daemon.get("/readyz").unwrap();
    assert!(page.contains("spool logs: degraded"), "{page}");
    all_delivered(&daemon, 300);
}

#[test]
fn a_registration_that_cannot_be_saved_is_taken_said_and_saved_later() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&home.path().join("spool"), "size=256m,nr_inodes=40") else { return };
    let mut daemon = Daemon::start_in(home, FILES, Daemon::spawn);
    let says = |daemon: &Daemon, what: &str| {
        daemon.get("/readyz").unwrap().contains(&format!("[+] configuration: {what}"))
    };
    let told = |daemon: &Daemon, what: &str| daemon.stderr().matches(what).count();
    let taken = mount.use_up_inodes();
    for _ in 0..20 {
        assert!(daemon.register().starts_with("HTTP/1.1 200"), "an application works without a disk");
        assert!(says(&daemon, "degraded: registration and results are in memory only"));
    }
    drop(taken);
    until("the registration to be saved", || says(&daemon, "no source"));
    assert_eq!(
        (told(&daemon, "cannot be saved"), told(&daemon, "is saved again")),
        (1, 1),
        "{}",
        daemon.stderr()
    );
    daemon.kill_and_restart();
    let subscriptions = daemon.get("/api/v1/_operations/event/subscriptions").unwrap();
    assert!(subscriptions.starts_with("HTTP/1.1 200"), "it needs not register again");
}

#[test]
fn used_up_inodes_are_as_a_full_disk() {
    let home = tempfile::tempdir().unwrap();
    let Some(mount) = Mount::new(&home.path().join("spool"), "size=256m,nr_inodes=40") else { return };
    let daemon = Daemon::start_in(home, &FILES.replace("{home}/logs", "/proc/stuck"), Daemon::spawn);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let taken = mount.use_up_inodes();
    // More than one segment takes.
    for part in 1..200 {
        publish(&mut wire, part * 100, (part + 1) * 100);
    }
    drop(taken);
    daemon.edit("/proc/stuck", &daemon.home().join("logs").display().to_string());
    daemon.signal("HUP");
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    publish(&mut wire, 20_000, 20_100);
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    let lines = lines(&daemon);
    let shed =
        daemon.metric("cim_records_dropped_total{route=\"logs\",sink=\"files\",reason=\"shed_oldest\"}");
    assert!((lines.len() as f64 + shed - 20_100.0).abs() < 0.5, "{} lines and {shed} shed", lines.len());
    assert!(lines.windows(2).all(|pair| pair[0] < pair[1]), "out of order or twice");
    assert_eq!(
        first_copies(events(&daemon)),
        (0..20_100).step_by(50).collect::<Vec<_>>(),
        "events are never shed"
    );
}

#[test]
fn a_slow_write_loses_nothing() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(fault) = Injection::start(&daemon, "pwrite64", "delay_enter=300000") else { return };
    let asked = Instant::now();
    publish(&mut wire, 100, 300);
    assert!(asked.elapsed() > Duration::from_millis(300), "PONG came before the write");
    fault.end();
    all_delivered(&daemon, 300);
}

#[test]
fn in_strict_mode_nothing_is_accepted_below_its_level() {
    let daemon = Daemon::start(&format!("spool.on_fault = \"strict\"\n{FILES}"));
    let mut wire = daemon.connect();
    publish(&mut wire, 0, 100);
    let Some(fault) = Injection::start(&daemon, "fdatasync", "error=EIO") else { return };
    let (mut blocked, mut logs) = (daemon.connect(), daemon.connect());
    blocked.publish("EVENT", &event(100));
    blocked.send(b"PING\r\n");
    for n in 100..200 {
        logs.publish("LOG", format!("line {n:06}").as_bytes());
    }
    logs.flush();
    assert!(blocked.silent_for(Duration::from_secs(1)), "an event was accepted without fdatasync");
    fault.end();
    blocked.pong();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(first_copies(events(&daemon)), [0, 50, 100]);
    assert!(daemon.books_balance());
}

#[test]
fn a_used_up_quota_loses_nothing() {
    failing_writes("EDQUOT");
}

#[test]
fn interrupted_writes_are_finished() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    let Some(fault) = Injection::start(&daemon, "pwrite64", "error=EINTR:when=1+2") else { return };
    publish(&mut wire, 0, 100);
    fault.end();
    all_delivered(&daemon, 100);
    assert!(daemon.metric(LOGS_WRITTEN) > 0.5);
}

#[test]
fn a_slow_fdatasync_holds_back_no_log() {
    let daemon = Daemon::start(FILES);
    let (mut slow, mut logs) = (daemon.connect(), daemon.connect());
    let Some(fault) = Injection::start(&daemon, "fdatasync", "delay_enter=5000000") else { return };
    slow.publish("EVENT", &event(0));
    let asked = Instant::now();
    for n in 0..20 {
        logs.publish("LOG", format!("line {n:06}").as_bytes());
        logs.flush();
    }
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    slow.flush();
    assert!(asked.elapsed() > Duration::from_secs(4), "the event was acknowledged before its fdatasync");
    fault.end();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(lines(&daemon), (0..20).collect::<Vec<_>>());
    assert_eq!(first_copies(events(&daemon)), [0]);
}

#[test]
fn a_slow_removal_of_a_segment_holds_back_no_log() {
    let daemon = Daemon::start(&format!("spool.logs.max_bytes = \"16MiB\"\n{FILES}"));
    let mut wire = daemon.connect();
    let Some(fault) = Injection::start(&daemon, "?unlink,unlinkat", "delay_enter=5000000") else { return };
    let (start, mut sent, mut longest) = (Instant::now(), 0, Duration::ZERO);
    // Segments of 4 MiB: after the first one a few bytes at a time, while its file takes five seconds to go.
    while start.elapsed() < Duration::from_secs(8) || !fault.has_struck() && start.elapsed() < 3 * PATIENCE {
        let (lines, pad) = if sent < 6000 { (25, 1000) } else { (1, 0) };
        let asked = Instant::now();
        for n in sent..sent + lines {
            wire.publish("LOG", format!("line {n:06} {}", "x".repeat(pad)).as_bytes());
        }
        wire.flush();
        longest = longest.max(asked.elapsed());
        sent += lines;
    }
    fault.end();
    assert!(longest < Duration::from_secs(4), "{longest:?}");
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(lines(&daemon), (0..sent).collect::<Vec<_>>());
    assert!(daemon.books_balance());
}
