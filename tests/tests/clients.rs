//! Clients that nobody here wrote: the `nats` command line and nats-py, against the running program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::process::Command;

use cim_tests::{Daemon, skip, tool, until};

const CONSOLE: &str = "[sinks.console]\ntype = \"stdout\"\n";
const FILES: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

fn nats(daemon: &Daemon, arguments: &[&str]) -> Option<String> {
    let program = tool("bin/nats");
    if !program.exists() {
        skip("the nats command line is not installed");
        return None;
    }
    let url = format!("nats://{}", daemon.nats());
    let output = Command::new(program).args(["-s", &url, "--no-context"]).args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "nats {arguments:?}: {text}");
    Some(text)
}

#[test]
fn a_line_published_with_the_nats_command_is_printed() {
    let daemon = Daemon::start(CONSOLE);
    if nats(&daemon, &["pub", "LOG", "hello"]).is_none() {
        return;
    }
    until("the line", || daemon.stdout().contains("\"log\":\"hello\""));
    assert!(daemon.books_balance());
}

#[test]
fn a_request_on_log_is_answered_with_an_acknowledgement() {
    let daemon = Daemon::start(FILES);
    let Some(answer) = nats(&daemon, &["request", "LOG", "acknowledged"]) else { return };
    assert!(answer.contains("{\"stream\":\"LOG\",\"seq\":1,\"level\":\"written\"}"), "{answer}");
}

#[test]
fn the_nats_benchmark_delivers_every_message_it_published() {
    let daemon = Daemon::start(FILES);
    if nats(&daemon, &["bench", "pub", "LOG", "--msgs", "20000", "--size", "100", "--no-progress"]).is_none()
    {
        return;
    }
    let counted = || daemon.metric("cim_records_accepted_total") + daemon.metric("cim_records_refused_total");
    until("all messages counted", || counted() >= 20_000.0);
    until("nothing held", || daemon.metric("cim_records_held") < 0.5);
    assert!(daemon.books_balance());
}

#[test]
fn a_flatbuffer_from_nats_py_lands_under_the_original_file_name() {
    let python = tool("venv/bin/python");
    if !python.exists() {
        return skip("nats-py is not installed");
    }
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let vectors = std::fs::read_to_string(root.join("vectors/log.json")).unwrap();
    let vectors: serde_json::Value = serde_json::from_str(&vectors).unwrap();
    let case =
        vectors["cases"].as_array().unwrap().iter().find(|case| case["name"] == "guide format").unwrap();
    let expected = |name: &str| case["expected"][name]["text"].as_str().unwrap().to_owned();

    let daemon = Daemon::start(FILES);
    let message = format!("LOG={}", case["input"]["hex"].as_str().unwrap());
    let script = root.join("clients/publish.py");
    let url = format!("nats://{}", daemon.nats());
    let output = Command::new(python).arg(script).args([&url, &message]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let file = daemon.home().join("logs").join(expected("file_name"));
    until("the file", || std::fs::read_to_string(&file).is_ok_and(|text| text == expected("file")));
}
