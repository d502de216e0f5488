//! CIM's own messages in the whole program: their level, floods of them, and copies among the logs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::PathBuf;

use cim_tests::{Daemon, until};

const FILES: &str = "log.copy_to_logs = true\nspool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

fn put_level(daemon: &Daemon, body: &str) -> String {
    let length = body.len();
    let head = format!(
        "PUT /loglevel HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    let answer = daemon.exchange(head.as_bytes());
    answer.rsplit("\r\n\r\n").next().unwrap().to_owned()
}

/// Makes the server say something at level `debug`, in one place of its code.
fn provoke(daemon: &Daemon, times: usize) {
    for _ in 0..times {
        let _ = daemon.exchange(b"garbage\r\n\r\n");
    }
}

fn said(daemon: &Daemon) -> usize {
    daemon.stderr().matches("HTTP connection ended").count()
}

/// Files with lines of container `cim`.
fn copies(daemon: &Daemon) -> String {
    let Ok(files) = std::fs::read_dir(daemon.home().join("logs")) else { return String::new() };
    let files = files.map(|file| file.unwrap().path());
    let own = |file: &PathBuf| file.file_name().unwrap().to_str().unwrap().starts_with("pod-1_ns1_cim-");
    files.filter(own).map(|file| std::fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn the_level_is_changed_over_http_and_by_the_command_and_has_its_effect_at_once() {
    for spool in ["", "spool.dir = \"{home}/spool\"\n"] {
        let daemon = Daemon::start(spool);
        provoke(&daemon, 1);
        assert_eq!((said(&daemon), daemon.cim(&["log-level"])), (0, "info\n".to_owned()));
        assert_eq!(put_level(&daemon, "debug"), "{\"level\":\"debug\"}\n");
        provoke(&daemon, 1);
        until("a word at level debug", || said(&daemon) == 1);
        assert_eq!(daemon.cim(&["log-level", "ERROR"]), "error\n");
        assert!(daemon.get("/loglevel").unwrap().ends_with("{\"level\":\"error\"}\n"));
        provoke(&daemon, 1);
        assert_eq!(put_level(&daemon, "{\"level\":\"info\"}"), "{\"level\":\"info\"}\n");
        until("the changes are said", || daemon.stderr().matches("the log level changed").count() == 3);
        assert_eq!(said(&daemon), 1);
        let refused = daemon.cim(&["log-level", "loud"]);
        assert!(
            refused.contains("`loud` is no level; there are: error, warn, info, debug, trace"),
            "{refused}"
        );
        assert!(daemon.stdout().is_empty(), "never on standard output");
    }
}

#[test]
fn a_flood_from_one_place_is_held_back_counted_and_told_and_other_places_are_heard() {
    let daemon = Daemon::start("log.level = \"debug\"\n");
    provoke(&daemon, 300);
    let held_back = daemon.metric("cim_diagnostics_suppressed_total{level=\"debug\"}");
    assert!((240.0..=280.0).contains(&held_back), "{held_back}");
    assert!((20..=60).contains(&said(&daemon)), "{}", said(&daemon));
    assert_eq!(put_level(&daemon, "info"), "{\"level\":\"info\"}\n");
    until("another place", || daemon.stderr().contains("the log level changed"));
    until("what was held back is told", || daemon.stderr().contains("held back of cim_api::connection"));
    assert!(daemon.stderr().lines().count() < 120);
}

#[test]
fn copies_are_lines_of_container_cim_in_the_recorded_form_and_count_as_nobody_elses() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    put_level(&daemon, "debug");
    until("the copy", || copies(&daemon).contains("the log level changed from=info to=debug]"));
    for line in copies(&daemon).lines() {
        let (level, rest) = line.split_once("] : ").expect(line);
        assert!(["[INFO", "[WARNING", "[ERROR", "[DEBUG"].contains(&level), "{line}");
        let (time, parts) = rest.split_once(" -> [").expect(line);
        assert!(time.len() == "2026-11-22T22:12:36.823713788".len() && parts.ends_with(']'), "{line}");
    }
    assert!((daemon.metric("cim_total_messages_counter") - 1.0).abs() < 0.5, "one message on LOG");
    until("everything is delivered", || daemon.metric("cim_records_held{route=\"logs\"") < 0.5);
    assert!(daemon.books_balance());
    assert!(daemon.stdout().is_empty());
    daemon.edit("log.copy_to_logs = true", "log.copy_to_logs = false");
    until("the reload", || daemon.stderr().contains("was read again"));
    let before = copies(&daemon);
    put_level(&daemon, "info");
    until("the change is said", || daemon.stderr().contains("from=\"debug\" to=\"info\""));
    assert_eq!(copies(&daemon).contains("from=debug to=info"), before.contains("from=debug to=info"));
}

#[test]
fn copies_that_cannot_be_delivered_lead_to_no_further_copies() {
    // A port that nobody listens on.
    let daemon = Daemon::start(
        "log.copy_to_logs = true\nlog.level = \"trace\"\nspool.dir = \"{home}/spool\"\n\
         [sinks.agent]\ntype = \"tcp\"\naddress = \"127.0.0.1:9\"\n[routes.logs]\nsink = \"agent\"\n",
    );
    put_level(&daemon, "trace");
    let taken = || daemon.metric("cim_diagnostics_copies_total{result=\"taken\"}");
    let attempts = || -> u64 {
        let page = daemon.get("/statusz").unwrap();
        let counts = page.split("\"attempts\": ").skip(1);
        let digits = counts.map(|rest| rest.split(|c: char| !c.is_ascii_digit()).next().unwrap());
        digits.map(|digits| digits.parse().unwrap()).max().unwrap_or(0)
    };
    until("retries", || attempts() >= 4);
    let (before, seen) = (taken(), attempts());
    until("more retries", || attempts() >= seen + 2);
    assert!((taken() - before).abs() < 0.5, "{before} and then {}", taken());
    assert!(before > 0.5);
}

#[test]
fn a_spool_that_is_nearly_full_refuses_copies_first_and_the_application_loses_nothing() {
    let small = FILES.replace("{home}/logs", "/proc/stuck").replace(
        "[sinks.files]",
        "[spool.logs]\nmax_bytes = \"4MiB\"\naccept = \"written\"\nwhen_full = \"shed_oldest\"\n[sinks.files]",
    );
    let daemon = Daemon::start(&small);
    let mut wire = daemon.connect();
    let line = "x".repeat(1000);
    until("a spool that is nearly full", || {
        for _ in 0..100 {
            wire.publish("LOG", line.as_bytes());
        }
        wire.flush();
        daemon.metric("cim_spool_bytes{class=\"logs\"}") > 3.2 * 1024.0 * 1024.0
    });
    let count = |result: &str| daemon.metric(&format!("cim_diagnostics_copies_total{{result=\"{result}\"}}"));
    let (taken, dropped) = (count("taken"), count("dropped"));
    put_level(&daemon, "debug");
    put_level(&daemon, "info");
    until("they are refused", || count("dropped") >= dropped + 2.0);
    assert!((count("taken") - taken).abs() < 0.5);
    assert!(daemon.metric("cim_records_dropped_total{route=\"logs\"") < 0.5);
    assert!(daemon.metric("cim_records_refused_total") < 0.5);
    assert!(daemon.books_balance());
}

#[test]
fn in_json_every_line_is_one_object_of_plain_values_and_standard_output_stays_empty() {
    let mut daemon = Daemon::start(
        "log.format = \"json\"\nlog.level = \"debug\"\n[sinks.bin]\ntype = \"null\"\n[routes.logs]\nsink = \"bin\"\n",
    );
    // What others send stands in a line with its quotes and line ends.
    let _ = daemon.exchange(b"GET /\"quoted\"\xff HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    daemon.connect().publish("LOG", b"a line");
    let _ = daemon.call(
        "POST",
        "/api/v1/_operations/xgvela/register",
        br#"{"container_name":"a\n\"b\"","container_id":"c"}"#,
    );
    provoke(&daemon, 300);
    assert_eq!(put_level(&daemon, "info"), "{\"level\":\"info\"}\n");
    until("what was held back is told", || daemon.stderr().contains("held back of cim_api::connection"));
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0));
    let text = daemon.stderr();
    let lines: Vec<serde_json::Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        let members = line.as_object().unwrap();
        for name in ["timestamp", "level", "target", "message"] {
            assert!(members[name].is_string(), "{name} in {line}");
        }
        // Twice the same member is no object that readers agree about.
        assert!(
            members
                .keys()
                .all(|name| text.lines().all(|line| line.matches(&format!("\"{name}\":")).count() <= 1)),
            "{line}"
        );
        assert!(members.values().all(|value| !value.is_object() && !value.is_array()), "{line}");
    }
    let ready = lines.iter().find(|line| line["message"] == "ready").unwrap();
    assert_eq!((ready["level"].as_str(), ready["version"].as_str()), (Some("INFO"), Some("0.1.0")));
    assert!(lines.iter().any(|line| line["container"] == "a\n\"b\""), "{text}");
    assert!(daemon.stdout().is_empty(), "never on standard output");
}
