//! Signals and standard output of the running program: stops with a backlog, a stopped process, readers that do not read.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::io::Read;
use std::time::{Duration, Instant};

use cim_tests::{Daemon, until};

/// Logs and events wait: the file sink cannot write where `stuck` says, until the file is edited.
const STUCK: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"/proc/stuck\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

fn publish(daemon: &Daemon, from: usize, to: usize) {
    let mut wire = daemon.connect();
    for n in from..to {
        wire.publish("LOG", format!("line {n}").as_bytes());
    }
    wire.flush();
}

fn mend(daemon: &Daemon) {
    daemon.edit("/proc/stuck", &daemon.home().join("logs").display().to_string());
}

fn lines(daemon: &Daemon) -> Vec<String> {
    let file = daemon.home().join("logs/pod-1_ns1_wire-.log");
    std::fs::read_to_string(file).unwrap_or_default().lines().map(str::to_owned).collect()
}

fn numbered(to: usize) -> Vec<String> {
    (0..to).map(|n| format!("line {n}")).collect()
}

#[test]
fn sigterm_with_a_backlog_holds_it_and_the_next_start_delivers_it_in_order() {
    let mut daemon = Daemon::start(STUCK);
    publish(&daemon, 0, 2000);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    mend(&daemon);
    daemon.start_again();
    publish(&daemon, 2000, 2100);
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(lines(&daemon), numbered(2100));
    assert!((daemon.metric("cim_records_recovered_total") - 2000.0).abs() < 0.5);
    assert!(daemon.books_balance());
}

#[test]
fn a_second_sigterm_ends_at_once_and_loses_nothing() {
    let mut daemon = Daemon::start(STUCK);
    publish(&daemon, 0, 2000);
    daemon.signal("TERM");
    // Two that come before the first one is looked at are one.
    until("the first signal", || daemon.stderr().contains("SIGTERM: stopping"));
    let second = Instant::now();
    daemon.signal("TERM");
    let code = daemon.ended();
    assert!(second.elapsed() < Duration::from_secs(2), "{:?}", second.elapsed());
    assert_eq!(code, Some(0), "{}", daemon.stderr());
    mend(&daemon);
    daemon.start_again();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(lines(&daemon), numbered(2000));
}

#[test]
fn a_backlog_survives_a_kill_and_keeps_its_order() {
    let mut daemon = Daemon::start(STUCK);
    publish(&daemon, 0, 2000);
    daemon.signal("KILL");
    assert_eq!(daemon.ended(), None);
    mend(&daemon);
    daemon.start_again();
    publish(&daemon, 2000, 2100);
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(lines(&daemon), numbered(2100));
    assert!(daemon.books_balance());
}

#[test]
fn sigint_ends_like_sigterm() {
    let mut daemon = Daemon::start(STUCK);
    publish(&daemon, 0, 100);
    daemon.signal("INT");
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    assert!(
        daemon.stderr().contains("stopped") && daemon.stderr().contains("held=100"),
        "{}",
        daemon.stderr()
    );
}

#[test]
fn a_stopped_process_goes_on_where_it_was() {
    let daemon = Daemon::start(&STUCK.replace("/proc/stuck", "{home}/logs"));
    publish(&daemon, 0, 100);
    let mut wire = daemon.connect();
    daemon.signal("STOP");
    for n in 100..200 {
        wire.publish("LOG", format!("line {n}").as_bytes());
    }
    let stopped = Instant::now();
    until("three seconds of stop", || stopped.elapsed() > Duration::from_secs(3));
    daemon.signal("CONT");
    wire.flush();
    until("delivery", || daemon.metric("cim_records_delivered_total") >= 200.0);
    assert_eq!(lines(&daemon), numbered(200));
    assert!(daemon.books_balance());
}

#[test]
fn a_reader_of_standard_output_that_does_not_read_holds_back_nobody() {
    let (mut reader, writer) = std::io::pipe().unwrap();
    let mut daemon = Daemon::start_into(
        "spool.dir = \"{home}/spool\"\n[sinks.console]\ntype = \"stdout\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n",
        writer,
    );
    let asked = Instant::now();
    publish(&daemon, 0, 20_000); // more than the pipe takes
    assert!(asked.elapsed() < Duration::from_secs(5), "PONG took {:?}", asked.elapsed());
    assert!(daemon.metric("cim_records_held") > 1.0);
    let reading = std::thread::spawn(move || {
        let mut text = String::new();
        reader.read_to_string(&mut text).unwrap();
        text
    });
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let text = reading.join().unwrap();
    assert_eq!(text.lines().map(str::to_owned).collect::<Vec<_>>(), numbered(20_000));
}

#[test]
fn a_blocked_standard_output_does_not_hold_up_the_stop() {
    let (_reader, writer) = std::io::pipe().unwrap();
    let mut daemon = Daemon::start_into(
        "spool.dir = \"{home}/spool\"\n[sinks.console]\ntype = \"stdout\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n",
        writer,
    );
    publish(&daemon, 0, 20_000);
    let asked = Instant::now();
    daemon.signal("TERM");
    let code = daemon.ended();
    assert!(asked.elapsed() < Duration::from_secs(15), "{:?}", asked.elapsed());
    assert_eq!(code, Some(0), "{}", daemon.stderr());
}

#[test]
fn a_closed_standard_output_ends_nothing_and_loses_nothing() {
    let (reader, writer) = std::io::pipe().unwrap();
    let mut daemon = Daemon::start_into(
        "spool.dir = \"{home}/spool\"\n[sinks.console]\ntype = \"stdout\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n",
        writer,
    );
    drop(reader);
    publish(&daemon, 0, 1000);
    publish(&daemon, 1000, 2000);
    assert!(daemon.books_balance());
    assert!(daemon.metric("cim_records_dropped_total") < 0.5);
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    daemon.start_again(); // now into a file
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert_eq!(daemon.stdout().lines().map(str::to_owned).collect::<Vec<_>>(), numbered(2000));
}

#[test]
fn a_second_program_on_the_same_spool_says_so_and_ends_with_2() {
    let daemon = Daemon::start(STUCK);
    let home = tempfile::tempdir().unwrap();
    let config = home.path().join("cim.toml");
    std::fs::write(&config, format!("nats.listen = \"127.0.0.1:0\"\napi.listen = \"127.0.0.1:0\"\nidentity = {{ namespace = \"ns1\", pod = \"pod-1\" }}\nspool.dir = {:?}\n", daemon.home().join("spool"))).unwrap();
    let output = std::process::Command::new(cim_tests::binary())
        .args(["run", "--config"])
        .arg(&config)
        .env_clear()
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("spool"), "{text}");
    publish(&daemon, 0, 10);
    assert!(daemon.books_balance());
}

#[test]
fn other_subjects_do_not_enter_the_books() {
    let daemon = Daemon::start(STUCK);
    let mut wire = daemon.connect();
    wire.publish("nobody.listens", b"x");
    wire.flush();
    assert!(daemon.metric("cim_records_accepted_total") < 0.5);
    assert!(daemon.books_balance());
}

#[test]
fn the_latency_of_events_is_the_age_of_the_last_one_that_has_a_time() {
    let daemon = Daemon::start(STUCK);
    let mut wire = daemon.connect();
    let metric = "cim_nats_EVENT_latency";
    let now = || {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        i64::try_from(since.as_millis()).unwrap()
    };
    let mut event = |text: String| {
        let before = daemon.metric("cim_nats_EVENT_message_count");
        wire.publish("EVENT", text.as_bytes());
        wire.flush();
        until("the event to be counted", || daemon.metric("cim_nats_EVENT_message_count") > before);
    };
    event("{\"eventName\":\"timeless\"}".to_owned());
    assert!(!daemon.get("/metrics").unwrap().contains(metric), "no event has said when it happened");
    event(format!("{{\"eventName\":\"late\",\"eventTime\":{}}}", now() - 60_000));
    let late = daemon.metric(metric);
    assert!((60_000.0..80_000.0).contains(&late), "{late} ms");
    event("{\"eventName\":\"timeless\"}".to_owned());
    assert!((daemon.metric(metric) - late).abs() < 0.5, "an event without a time changes nothing");
    event(format!("{{\"eventName\":\"ahead\",\"eventTime\":{}}}", now() + 60_000));
    let ahead = daemon.metric(metric);
    assert!((-60_000.0..-40_000.0).contains(&ahead), "{ahead} ms");
    assert!(daemon.get("/metrics").unwrap().contains("cim_nats_EVENT_latency{pod=\"pod-1\"}"));
}

/// What only the sinks can judge is judged by `validate` too, with the line it stands in.
#[test]
fn validate_refuses_what_run_would_refuse_of_a_fallback() {
    let mut daemon = Daemon::start(
        "spool = { dir = \"{home}/spool\", logs.accept = \"synced\" }\n\
         [routes.logs]\nsink = \"console\"\nfallback = \"files\"\nfallback_mode = \"copy\"\n\
         [sinks.console]\ntype = \"stdout\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n",
    );
    let valid = daemon.outcome(&["validate"]);
    assert!(valid.status.success(), "{valid:?}");
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    daemon.edit("\"copy\"", "\"final\"");
    for command in ["validate", "run"] {
        let refused = daemon.outcome(&[command]);
        assert_eq!(refused.status.code(), Some(2), "{refused:?}");
        let told = [refused.stdout, refused.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        assert!(told.contains("routes.logs.sink_durability: fallback `files`"), "{told}");
        assert_eq!(told.contains("cim.toml:"), command == "validate", "{told}");
    }
}
