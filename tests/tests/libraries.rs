//! The client libraries applications are built with, oldest and current, as real programs against the running one.
//!
//! The programs stand in `tests/clients`; `scripts/tools` builds them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use cim_tests::invariants::first_copies;
use cim_tests::{Daemon, skip, tool, until};

const FILES: &str = "spool.dir = \"{home}/spool\"\n[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n\
    [routes.logs]\nsink = \"files\"\n[routes.events]\nsink = \"files\"\n";

/// A program of `tests/clients`.
#[derive(Clone, Copy)]
enum Library {
    /// nats.go, current.
    Go,
    /// go-nats v1.7.2: the last one under the old name.
    GoOld,
    /// jnats of that version.
    Java(&'static str),
    /// `@nats-io/transport-node`, current.
    JavaScript,
    /// nats-py, current.
    Python,
    /// async-nats, current.
    Rust,
}

impl Library {
    /// The name it gives itself in CONNECT.
    fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::GoOld => "go-old",
            Self::Java(_) => "java",
            Self::JavaScript => "js",
            Self::Python => "python",
            Self::Rust => "rust",
        }
    }

    fn command(self, daemon: &Daemon, arguments: &[&str]) -> Option<Command> {
        let (mut command, present) = match self {
            Self::Go | Self::GoOld => {
                let program = tool(&format!("bin/cim-{}-client", self.name()));
                let present = program.exists();
                (Command::new(program), present)
            }
            Self::Java(version) => {
                let home = tool(&format!("jnats-{version}"));
                let mut command = Command::new("java");
                // A small heap and the quick compiler: the machine is shared with the daemon under test.
                command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp"]);
                command.arg(format!("{0}:{0}/*", home.display())).arg("Client");
                (command, home.join("Client.class").exists())
            }
            Self::JavaScript => {
                let mut command = Command::new("node");
                command.arg(tool("js-client/client.mjs"));
                (command, tool("js-client/node_modules/.package-lock.json").exists())
            }
            Self::Python => {
                let python = tool("venv/bin/python");
                let present = python.exists();
                let mut command = Command::new(python);
                command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/client.py"));
                (command, present)
            }
            Self::Rust => (Command::new(env!("CARGO_BIN_EXE_async-nats-client")), true),
        };
        if !present {
            let version = if let Self::Java(version) = self { version } else { "" };
            skip(&format!("the client {} {version} is not built (no toolchain or no registry)", self.name()));
            return None;
        }
        command.arg(format!("nats://{}", daemon.nats())).args(arguments);
        Some(command)
    }
}

/// Input and expected file text of a recorded case.
fn recorded(file: &str, case: &str) -> (String, serde_json::Value) {
    let text = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file));
    let vectors: serde_json::Value = serde_json::from_str(&text.unwrap()).unwrap();
    let case = vectors["cases"].as_array().unwrap().iter().find(|found| found["name"] == case).unwrap();
    (case["input"]["hex"].as_str().unwrap().to_owned(), case["expected"].clone())
}

/// FlatBuffers and plain messages, flush, subscribe, request, reply, queue group, acknowledgement.
fn exchange(library: Library) {
    let daemon = Daemon::start(FILES);
    let (log, expected) = recorded("log.json", "guide format");
    let (event, _) = recorded("event.json", "vesgw style 8 slots");
    let messages = [format!("LOG={log}"), "LOG=706c61696e".to_owned(), format!("EVENT={event}")];
    let arguments = [&["exchange"][..], &messages.each_ref().map(String::as_str)].concat();
    let Some(mut client) = library.command(&daemon, &arguments) else { return };
    let output = client.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    // Two logs, the event, and the one whose acknowledgement was asked for.
    until("delivery", || daemon.metric("cim_records_delivered_total") > 3.5);
    let read = |name: &str| std::fs::read_to_string(daemon.home().join("logs").join(name)).unwrap();
    assert_eq!(read(expected["file_name"]["text"].as_str().unwrap()), expected["file"]["text"]);
    assert_eq!(read(&format!("pod-1_ns1_{}-.log", library.name())), "plain\n");
    let events = read("pod-1_ns1_events.jsonl");
    assert!(events.contains("\"CollectorDown\"") && events.contains("\"Acknowledged\""), "{events}");
    assert!(daemon.metric("cim_records_refused_total") < 0.5);
    assert!(daemon.books_balance());
}

/// CIM is killed while the client publishes; the client comes back by itself, and no accepted line is lost.
fn reconnect(library: Library, lines: usize) {
    let mut daemon = Daemon::start(FILES);
    let Some(mut client) = library.command(&daemon, &["publish", &lines.to_string()]) else { return };
    let mut client = client.stdout(Stdio::piped()).spawn().unwrap();
    let mut accepted = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
    for n in 0..lines {
        assert_eq!(accepted.next(), Some(n.to_string()));
        if n == lines / 10 {
            daemon.kill_and_restart();
        }
    }
    // Old clients also count a connection that the dying process took and never greeted.
    let reconnects = accepted.next().unwrap();
    assert!(
        reconnects.starts_with("reconnects: ") && reconnects != "reconnects: 0",
        "{reconnects}: too late a kill"
    );
    assert!(client.wait().unwrap().success());
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    let file = format!("logs/pod-1_ns1_{}-.log", library.name());
    let text = std::fs::read_to_string(daemon.home().join(file)).unwrap();
    let numbers = text.lines().map(|line| line.strip_prefix("line ").unwrap().parse().unwrap());
    assert_eq!(first_copies(numbers), (0..lines).collect::<Vec<_>>());
    // Delivered again after the restart: at most the batch in flight, and the line whose PONG was cut off.
    let again = text.lines().count() - lines;
    assert!(again <= 64, "{again} lines twice");
    assert!(daemon.books_balance());
}

/// 10,000 lines with one flush (or the answer to the last, where the flush of a library is no barrier) arrive once and in
/// order; a subscription is served again after CIM was killed.
fn survive(library: Library) {
    let mut daemon = Daemon::start(FILES);
    let Some(mut command) = library.command(&daemon, &["survive", "10000"]) else { return };
    let mut client = Ended(command.stdout(Stdio::piped()).spawn().unwrap());
    let mut said = BufReader::new(client.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert_eq!(said.next().as_deref(), Some("flushed"));
    // Flushed means accepted: it is counted already.
    assert!(daemon.metric("cim_records_accepted_total") > 9_999.5);
    assert!(said.next().is_some_and(|line| line.starts_with("heard ")));
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    daemon.kill_and_restart();
    let connected = || daemon.metric("cim_nats_connections") > 0.5;
    until("the client is back", connected);
    // What it heard before the kill may still be unread; what it hears on the new connection comes after that.
    until("the subscription is served", || daemon.metric("cim_nats_messages_out_total") > 0.5);
    assert!(said.next().is_some_and(|line| line.starts_with("heard ")));
    let file = daemon.home().join(format!("logs/pod-1_ns1_{}-.log", library.name()));
    let text = std::fs::read_to_string(file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert!(lines.len() >= 10_000, "{} lines", lines.len());
    for (number, line) in lines.iter().take(10_000).enumerate() {
        assert_eq!(*line, format!("line {number}"));
    }
    assert!(daemon.books_balance());
}

/// A client that is killed at the end of its test.
struct Ended(std::process::Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn the_go_client_comes_back_after_a_kill_and_loses_no_accepted_line() {
    reconnect(Library::Go, 10_000);
}

#[test]
fn the_oldest_go_client_finds_a_broker() {
    exchange(Library::GoOld);
}

#[test]
fn the_oldest_go_client_comes_back_after_a_kill_and_loses_no_accepted_line() {
    reconnect(Library::GoOld, 10_000);
}

#[test]
fn the_oldest_java_client_finds_a_broker() {
    exchange(Library::Java("2.5.2"));
}

#[test]
fn the_oldest_java_client_comes_back_after_a_kill_and_loses_no_accepted_line() {
    reconnect(Library::Java("2.5.2"), 2_000);
}

#[test]
fn the_current_java_client_finds_a_broker() {
    exchange(Library::Java("2.26.2"));
}

#[test]
fn the_current_java_client_comes_back_after_a_kill_and_loses_no_accepted_line() {
    reconnect(Library::Java("2.26.2"), 2_000);
}

#[test]
fn the_go_client_finds_a_broker() {
    exchange(Library::Go);
}

#[test]
fn the_javascript_client_finds_a_broker() {
    exchange(Library::JavaScript);
}

#[test]
fn the_javascript_client_comes_back_after_a_kill_and_loses_no_accepted_line() {
    reconnect(Library::JavaScript, 10_000);
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_go_client_survive_a_kill() {
    survive(Library::Go);
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_oldest_go_client_survive_a_kill() {
    survive(Library::GoOld);
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_current_java_client_survive_a_kill() {
    survive(Library::Java("2.26.2"));
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_oldest_java_client_survive_a_kill() {
    survive(Library::Java("2.5.2"));
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_javascript_client_survive_a_kill() {
    survive(Library::JavaScript);
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_python_client_survive_a_kill() {
    survive(Library::Python);
}

#[test]
fn ten_thousand_lines_and_a_subscription_of_the_rust_client_survive_a_kill() {
    survive(Library::Rust);
}
