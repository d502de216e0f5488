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

fn kill_in_a_loop(sink: KillSink, kills: u32, seed: u64) {
    let dir = tempfile::tempdir().unwrap();
    let report = kill_loop(&KillPlan::new(&binary(), dir.path(), kills, sink, seed)).unwrap();
    assert_eq!(report.verdict(), Ok(()), "{}", report.text());
    assert_eq!(report.kills, kills);
    eprintln!("{}", report.text());
}

#[test]
fn kills_lose_nothing_accepted() {
    // One after the other: each load wants the machine for itself.
    kill_in_a_loop(KillSink::Null, 34, 7);
    kill_in_a_loop(KillSink::File, 33, 8);
    kill_in_a_loop(KillSink::Stalled, 33, 9);
}

#[test]
fn a_spool_directory_that_vanishes_is_made_again() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    wire.publish("LOG", b"before");
    wire.flush();
    // A position may be written just then, and a directory that is not empty is not removed.
    until("removal", || std::fs::remove_dir_all(daemon.home().join("spool")).is_ok());
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

/// A log line as an application with FlatBuffers sends it.
fn flatbuffer(container: &[u8], text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let log = cim_wire::Log {
        container_id: b"id"[..].into(),
        container_name: container.into(),
        payload: Some(text.as_bytes().into()),
    };
    log.encode_flatbuffer(&mut out);
    out
}

/// More names than any pod has containers: descriptors and memory stay bounded, and each line is in the file of its name.
#[test]
fn ten_thousand_container_names_are_kept_apart_and_need_no_descriptor_each() {
    const NAMES: usize = 10_000;
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    let descriptors = || std::fs::read_dir(format!("/proc/{}/fd", daemon.pid())).unwrap().count();
    let (before, mut most) = (descriptors(), 0);
    for round in 0..2 {
        for name in 0..NAMES {
            wire.publish(
                "LOG",
                &flatbuffer(format!("container-{name}").as_bytes(), &format!("line {round} of {name}")),
            );
            if name % 500 == 0 {
                wire.flush();
                most = most.max(descriptors());
            }
        }
        wire.flush();
    }
    cim_services::until("delivery", std::time::Duration::from_secs(60), || {
        most = most.max(descriptors());
        daemon.metric("cim_records_held") < 0.5
    });
    assert!(most < before + 600, "{most} descriptors, {before} before");
    let memory = daemon.memory_kib("VmRSS");
    assert!(memory < 256 << 10, "{memory} KiB of memory");
    for name in (0..NAMES).step_by(7) {
        let file = daemon.home().join(format!("logs/pod-1_ns1_container-{name}-id.log"));
        let text =
            std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(text, format!("line 0 of {name}\nline 1 of {name}\n"));
    }
    assert_eq!(std::fs::read_dir(daemon.home().join("logs")).unwrap().count(), NAMES);
    assert!(daemon.books_balance());
}

#[test]
fn hostile_container_names_stay_in_the_folder_and_apart() {
    let daemon = Daemon::start(FILES);
    let mut wire = daemon.connect();
    let long = vec![b'n'; 4096];
    let names: [&[u8]; 18] = [
        b"../../etc/x",
        b"/abs",
        b"a/b",
        b"a%2Fb",
        b".",
        b"..",
        b"",
        &long,
        &long[1..],
        b"nul\0",
        b"nul",
        b"\xff\xfe",
        b"%FF%FE",
        b"-rf",
        b"new\nline",
        b"CON",
        "\u{202e}".as_bytes(),
        b"\"'$(x)",
    ];
    for (n, name) in names.iter().enumerate() {
        wire.publish("LOG", &flatbuffer(name, &format!("line {n}")));
        wire.publish("LOG", b"neighbour");
    }
    wire.flush();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    let mut texts: Vec<_> = std::fs::read_dir(daemon.home().join("logs"))
        .unwrap()
        .map(|entry| std::fs::read_to_string(entry.unwrap().path()).unwrap())
        .filter(|text| !text.starts_with("neighbour"))
        .collect();
    texts.sort();
    let mut expected: Vec<_> = (0..names.len()).map(|n| format!("line {n}\n")).collect();
    expected.sort();
    assert_eq!(texts, expected, "one file per name, in this folder");
    let neighbour = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_wire-.log")).unwrap();
    assert_eq!(neighbour, "neighbour\n".repeat(names.len()));
    assert_eq!(std::fs::read_dir(daemon.home()).unwrap().count(), 5, "something lies outside of the folders");
    assert!(daemon.books_balance());
}

#[test]
fn a_reset_connection_loses_nothing_accepted_and_leaves_nothing_half() {
    let daemon = Daemon::start(FILES);
    for n in 0..50 {
        let mut wire = daemon.connect();
        wire.publish("LOG", format!("whole {n}").as_bytes());
        wire.flush();
        // An answer that nobody reads makes the kernel send RST; the frame behind it is cut.
        wire.send(b"PING\r\nPUB LOG 100\r\nhalf");
        assert!(!wire.silent_for(cim_tests::PATIENCE));
    }
    until("fifty lines", || daemon.metric("cim_records_delivered_total") > 49.5);
    until("the connections to go", || daemon.metric("cim_nats_connections") < 0.5);
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_wire-.log")).unwrap();
    assert_eq!(text, (0..50).map(|n| format!("whole {n}\n")).collect::<String>());
    assert!(daemon.books_balance());
}

#[test]
fn a_publisher_that_never_reads_holds_back_nobody() {
    let daemon = Daemon::start(FILES);
    let mut deaf = TcpStream::connect(daemon.nats()).unwrap();
    deaf.set_write_timeout(Some(std::time::Duration::from_millis(500))).unwrap();
    deaf.write_all(b"CONNECT {\"verbose\":false,\"name\":\"deaf\"}\r\nSUB answers 1\r\n").unwrap();
    // Every message is answered, and none of the answers is read; it ends when CIM gives it up, or reads no more.
    let block = "PUB LOG answers 1\r\nx\r\nPING\r\n".repeat(1000);
    let writing = std::thread::spawn(move || {
        (0..2000).take_while(|_| deaf.write_all(block.as_bytes()).is_ok()).count();
        deaf
    });
    let mut good = daemon.connect();
    let asked = std::time::Instant::now();
    for n in 0..200 {
        good.publish("LOG", format!("line {n}").as_bytes());
        good.flush();
    }
    // A turn for the deaf one may be long, but there are few of them.
    assert!(asked.elapsed() < cim_tests::PATIENCE, "200 barriers took {:?}", asked.elapsed());
    let _deaf = writing.join().unwrap();
    until("delivery", || daemon.metric("cim_records_held") < 0.5);
    let text = std::fs::read_to_string(daemon.home().join("logs/pod-1_ns1_wire-.log")).unwrap();
    assert_eq!(text, (0..200).map(|n| format!("line {n}\n")).collect::<String>());
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
