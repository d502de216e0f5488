//! Faults around the running program: kills, a full class, garbage, a vanished directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::io::Write;
use std::net::TcpStream;

use cim_bench::kill::{KillPlan, KillSink, kill_loop};
use cim_tests::{Daemon, binary, until};

const FILES: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

/// Kills per sink: 34, 33 and 33 of 100, or the shares of `CIM_KILLS`.
fn kills(share: u32) -> u32 {
    let all = std::env::var("CIM_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(100);
    (all + share) / 3
}

fn kill_in_a_loop(sink: KillSink, kills: u32, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let report = kill_loop(&KillPlan::new(&binary(), dir.path(), kills, sink, seed)).unwrap();
    assert_eq!(report.verdict(), Ok(()), "{}", report.text());
    assert_eq!(report.kills, kills);
    if sink == KillSink::Stalled {
        assert!(report.restarts_with_recovered * 2 >= kills, "{}", report.text());
    }
}

#[test]
fn kills_lose_nothing_accepted() {
    // One after the other: each load wants the machine for itself.
    kill_in_a_loop(KillSink::Null, kills(0), 7);
    kill_in_a_loop(KillSink::File, kills(1), 8);
    kill_in_a_loop(KillSink::Stalled, kills(2), 9);
}

#[test]
fn a_spool_directory_that_vanishes_is_made_again() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    wire.publish("LOG", b"before");
    wire.flush();
    std::fs::remove_dir_all(daemon.home().join("spool")).unwrap();
    until("a new spool", || daemon.home().join("spool/spool.meta").exists());
    wire.publish("LOG", b"after");
    wire.flush();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
}

#[test]
fn garbage_on_the_port_harms_no_neighbour() {
    let daemon = Daemon::start(FILES);
    let mut good = daemon.connect();
    let mut idle = Vec::new();
    for n in 0..1000 {
        let mut bad = TcpStream::connect(daemon.nats()).unwrap();
        match n % 4 {
            0 => drop(bad.write_all(b"GET / HTTP/1.1\r\n\r\n")),
            1 => drop(bad.write_all(&[0xff; 512])),
            2 => drop(bad.write_all(b"CONNECT {}\r\nPUB LOG 1048576\r\nx")),
            _ => {}
        }
        idle.push(bad);
        if n % 100 == 0 {
            good.publish("LOG", format!("line {n}").as_bytes());
            good.flush();
        }
    }
    until("ten lines", || daemon.metric("cim_records_delivered_total") >= 10.0);
    assert!(daemon.books_balance());
}

#[test]
fn a_full_event_class_holds_back_neither_logs_nor_config() {
    let daemon = Daemon::start(
        "spool.dir = \"{home}/spool\"\nspool.events.max_bytes = \"64KiB\"\n[sinks.files]\ntype = \"file\"\n\
         dir = \"{home}/logs\"\n[sinks.stuck]\ntype = \"file\"\ndir = \"/proc/cim-cannot-write-here\"\n\
         [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"stuck\"\n",
    );
    let mut events = daemon.connect();
    let event = format!("{{\"eventName\":\"{}\",\"eventTime\":1}}", "x".repeat(4000));
    for _ in 0..400 {
        events.publish("EVENT", event.as_bytes());
    }
    let mut logs = daemon.connect();
    for n in 0..100 {
        logs.publish("LOG", format!("line {n}").as_bytes());
    }
    logs.publish("CONFIG", b"{\"change-set-key\":\"a\"}");
    logs.flush();
    until("the logs", || daemon.metric("cim_records_delivered_total") >= 100.0);
    until("CONFIG", || {
        daemon.get("/metrics").unwrap_or_default().contains("cim_nats_CONFIG_message_count{pod=\"pod-1\"} 1")
    });
    let waiting = daemon.metric("cim_records_held{route=\"events\"");
    assert!((1.0..400.0).contains(&waiting), "the class was to be full: {waiting} events held");
    assert!(daemon.metric("cim_records_dropped_total") < 0.5, "an event was dropped");
    assert!(daemon.books_balance());
}
