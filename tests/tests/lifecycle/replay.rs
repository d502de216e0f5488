//! What one life could not deliver, delivered by another.

use std::process::{Command, Stdio};

use cim_tests::{Daemon, binary, until};

use crate::stage::{FILES, command, delivered, end, events, numbered, publish, said, to_nobody};

fn heir() -> Daemon {
    Daemon::start(&format!("spool.dir = \"{{home}}/spool\"\n{FILES}"))
}

fn assert_replayed(heir: &Daemon, arguments: &[&str], records: usize) {
    let output = command(heir, arguments);
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains(&format!("{records} records replayed")), "{}", said(&output));
    until("delivery", || heir.metric("cim_records_held") < 0.5);
    assert!(heir.books_balance());
}

/// A life without a spool whose receivers are dead, ended: what its container wrote.
fn spilled(lifecycle: &str) -> Daemon {
    let settings = to_nobody(&format!("grace = \"3s\"\n{lifecycle}"))
        .replace("type = \"null\"", "type = \"file\"\ndir = \"/proc/stuck\"");
    let mut daemon = Daemon::start(&settings);
    publish(&daemon, 0, 50);
    let mut wire = daemon.connect();
    wire.publish("LOG", br#"{"container_name":"named","container_id":"c7","log":"in JSON"}"#);
    let log = cim_wire::Log {
        container_id: b"c8".as_slice().into(),
        container_name: b"binary".as_slice().into(),
        payload: Some(b"\xff\x00 bytes".as_slice().into()),
    };
    let mut payload = Vec::new();
    log.encode_flatbuffer(&mut payload);
    wire.publish("LOG", &payload);
    wire.publish("EVENT", br#"{"eventName":"Last","eventTime":7}"#);
    wire.flush();
    let (code, _) = end(&mut daemon, "TERM");
    assert_eq!(code, Some(3), "{}", daemon.stderr());
    daemon
}

fn assert_inherited(heir: &Daemon) {
    assert_eq!(delivered(heir, "pod-1_ns1_wire-.log"), numbered(50));
    assert_eq!(delivered(heir, "pod-1_ns1_named-c7.log"), "in JSON\n");
    let binary = std::fs::read(heir.home().join("logs/pod-1_ns1_binary-c8.log")).unwrap();
    assert_eq!(binary, b"\xff\x00 bytes\n");
    let events = events(heir);
    assert_eq!(
        (events.len(), &events[0]["eventName"], &events[0]["eventTime"]),
        (1, &"Last".into(), &7.into())
    );
}

#[test]
fn lines_that_a_life_wrote_at_its_end_are_delivered_by_another_under_the_same_names() {
    let dead = spilled("");
    let heir = heir();
    // As a container runtime keeps it, between other lines.
    let lines = dead
        .stdout()
        .lines()
        .map(|line| format!("2026-01-01T00:00:00Z stdout F {line}\n"))
        .collect::<String>();
    let file = heir.home().join("captured");
    std::fs::write(&file, format!("2026-01-01T00:00:00Z stderr F stopped\n{lines}")).unwrap();
    assert_replayed(&heir, &["replay", file.to_str().unwrap()], 53);
    assert_inherited(&heir);
}

#[test]
fn they_may_come_from_a_sink_and_through_a_pipe() {
    let dead = spilled("spill = \"saved\"\n[sinks.saved]\ntype = \"file\"\ndir = \"{home}/saved\"");
    assert!(!dead.stdout().contains("cim-spill1"));
    let saved = dead.home().join("saved/pod-1_ns1_cim-spill-.log");
    let heir = heir();
    let mut command = Command::new(binary());
    command.env_clear().env("CIM_LEGACY_ROOT", heir.home()).args(["replay", "-", "--config"]);
    command.arg(heir.home().join("cim.toml")).stdin(Stdio::from(std::fs::File::open(saved).unwrap()));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    until("delivery", || heir.metric("cim_records_held") < 0.5);
    assert_inherited(&heir);
}

#[test]
fn nothing_is_written_where_that_is_not_wanted() {
    let dead = spilled("spill = \"none\"");
    assert!(!dead.stdout().contains("cim-spill1"));
}

#[test]
fn a_line_that_was_cut_is_told_and_the_others_are_delivered() {
    let dead = spilled("");
    let heir = heir();
    let text = dead.stdout();
    let file = heir.home().join("captured");
    std::fs::write(&file, &text[..text.len() - 9]).unwrap();
    let output = command(&heir, &["replay", file.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("52 records replayed; 1 lines were cut or damaged"), "{}", said(&output));
}

#[test]
fn the_spool_of_a_pod_that_is_gone_is_delivered_once() {
    let settings = format!("spool.dir = \"{{home}}/spool\"\n{}", FILES.replace("{home}/logs", "/proc/stuck"));
    let mut dead = Daemon::start(&settings);
    publish(&dead, 0, 3000);
    let heir = heir();
    let spool = dead.home().join("spool");
    let arguments = ["replay", spool.to_str().unwrap()];
    let output = command(&heir, &arguments);
    assert_eq!(output.status.code(), Some(1), "its pod is not gone: {}", said(&output));
    dead.signal("KILL");
    let _ = dead.ended();
    assert_replayed(&heir, &arguments, 3000);
    assert_replayed(&heir, &arguments, 0);
    assert_eq!(delivered(&heir, "pod-1_ns1_wire-.log"), numbered(3000));
}
