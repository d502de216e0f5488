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
}

impl Library {
    /// The name it gives itself in CONNECT.
    fn name(self) -> &'static str {
        match self {
            Self::Go => "go",
            Self::GoOld => "go-old",
            Self::Java(_) => "java",
        }
    }

    fn command(self, daemon: &Daemon, arguments: &[&str]) -> Option<Command> {
        let mut command = match self {
            Self::Go | Self::GoOld => Command::new(tool(&format!("bin/cim-{}-client", self.name()))),
            Self::Java(_) => Command::new("java"),
        };
        let present = match self {
            Self::Go | Self::GoOld => Path::new(command.get_program()).exists(),
            Self::Java(version) => {
                let home = tool(&format!("jnats-{version}"));
                // A small heap and the quick compiler: the machine is shared with the daemon under test.
                command.args(["-Xmx64m", "-XX:TieredStopAtLevel=1", "-cp"]);
                command.arg(format!("{0}:{0}/*", home.display())).arg("Client");
                home.join("Client.class").exists()
            }
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
    let (mut next, mut again) = (0, 0);
    for line in text.lines() {
        let n: usize = line.strip_prefix("line ").unwrap().parse().unwrap();
        assert!(n <= next, "line {next} is missing before {line:?}");
        again += usize::from(n < next);
        next = next.max(n + 1);
    }
    assert_eq!(next, lines);
    // Delivered again after the restart: at most the batch in flight, and the line whose PONG was cut off.
    assert!(again <= 64, "{again} lines twice");
    assert!(daemon.books_balance());
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
