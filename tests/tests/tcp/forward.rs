//! The acknowledged framing: a receiver that is killed, and a program that is.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cim_bench::server::free_port;
use cim_tests::receiver::Receiver;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE};
use serde_json::Value;

use crate::{RECORD, assert_repeats, drained, number, publish_both, tcp, vigil};

/// Most records of a chunk, by its bytes (`SinkProfile`).
const CHUNK: usize = (1 << 20) / RECORD;
/// More than that: what should not come again is there to come again.
const STEP: usize = CHUNK + 2_000;
const KILLS: usize = 5;
const ACK_TIMEOUT: &str = "5s";
/// Logs, and as many events, with a step before, between and behind the kills.
const RECORDS: usize = (KILLS + 1) * STEP;

/// The acknowledged mode: the receiver is killed again and again under load, and nothing is lost.
#[test]
fn forward_loses_nothing_when_the_receiver_is_killed() {
    let address = free_port().unwrap();
    let daemon = Daemon::start(&tcp(&keys(address, ACK_TIMEOUT)));
    let files: Vec<_> = (0..=KILLS).map(|number| daemon.home().join(format!("received-{number}"))).collect();
    let Some(mut receiver) = Receiver::forward(address, &files[0]) else { return };
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    for (number, file) in files.iter().enumerate() {
        publish_both(&mut wire, number * STEP..(number + 1) * STEP);
        if number > 0 {
            receiver.kill();
            receiver = Receiver::forward(address, file).unwrap();
        }
    }
    wire.publish("EVENT", b"{\"eventName\":\"Forwarded\",\"eventTime\":1600000000005}");
    wire.flush();
    drained(&daemon);
    let received = Received::of(&files, daemon.home());
    received.assert_kills_repeat_a_chunk();
    let event = received.events.iter().find(|event| event["eventName"] == "Forwarded").unwrap();
    assert_eq!(event["time_ns"], 1_600_000_000_005_000_000_u64);
    let place = serde_json::json!({ "namespace_name": "ns1", "pod_name": "pod-1" });
    assert!(received.logs.iter().all(|log| log["kubernetes"] == place));
    vigil.assert_held(&daemon, PATIENCE);
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") < 0.5);
    drop(receiver);
}

/// What was sent and not acknowledged when the program is killed comes again from its spool.
#[test]
fn forward_loses_nothing_when_the_program_is_killed() {
    let address = free_port().unwrap();
    let mut daemon = Daemon::start(&tcp(&keys(address, ACK_TIMEOUT)));
    let file = daemon.home().join("received");
    let Some(_receiver) = Receiver::forward(address, &file) else { return };
    let vigil = vigil(&daemon);
    for number in 0..KILLS {
        publish_both(&mut daemon.connect(), number * STEP..(number + 1) * STEP);
        vigil.kill_and_restart(&mut daemon);
    }
    publish_both(&mut daemon.connect(), KILLS * STEP..RECORDS);
    drained(&daemon);
    Received::of(&[file], daemon.home()).assert_kills_repeat_a_chunk();
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") < 0.5);
    vigil.assert_held(&daemon, PATIENCE);
}

/// Keys of a sink for that receiver.
pub fn keys(address: SocketAddr, ack_timeout: &str) -> String {
    format!("address = \"{address}\"\nframing = \"forward\"\nack_timeout = \"{ack_timeout}\"")
}

/// What Forward receivers have printed.
pub struct Received {
    logs: Vec<Value>,
    events: Vec<Value>,
    dir: PathBuf,
}

impl Received {
    pub fn of(files: &[PathBuf], dir: &Path) -> Self {
        let mut by_tag = BTreeMap::<String, Vec<Value>>::new();
        for file in files {
            let text = std::fs::read_to_string(file).unwrap();
            // A kill may have cut a line: it was not acknowledged, and comes again.
            for record in text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()) {
                by_tag.entry(record["fluent.tag"].as_str().unwrap().to_owned()).or_default().push(record);
            }
        }
        let mut of = |tag| by_tag.remove(tag).unwrap_or_default();
        let received = Self { logs: of("cim.logs"), events: of("cim.events"), dir: dir.to_owned() };
        assert!(by_tag.is_empty(), "other tags: {:?}", by_tag.keys());
        received
    }

    /// Every number is there, in order, and at most a chunk of them came again after each kill.
    fn assert_kills_repeat_a_chunk(&self) {
        self.assert_logs(RECORDS);
        self.assert_events(RECORDS);
        for records in [&self.logs, &self.events] {
            assert_repeats(&numbers(records), KILLS, CHUNK);
        }
    }

    /// So many logs are there, in order; which of them came again.
    pub fn assert_logs(&self, records: usize) -> BTreeSet<usize> {
        let logs = Capture::of(&[self.capture("logs", &self.logs)]);
        logs.assert_only(&["unmarked_duplicates"], records);
        assert_eq!(logs.gaps, 0, "{logs:?}");
        again(&numbers(&self.logs))
    }

    /// The same of events.
    pub fn assert_events(&self, records: usize) -> BTreeSet<usize> {
        // Some have no number: that of a test, and what CIM says itself of a receiver that is away.
        let own =
            |event: &&Value| event["eventName"] == "Forwarded" || event["eventName"] == "LmaasTCPFailure";
        let events = Capture::of_events(&[self.capture("events", &self.events)]);
        events.assert_events(&["unmarked_duplicates", "foreign"], records);
        assert_eq!(events.gaps, 0, "{events:?}");
        assert_eq!(events.foreign as usize, self.events.iter().filter(own).count(), "{events:?}");
        again(&numbers(&self.events))
    }

    fn capture(&self, name: &str, records: &[Value]) -> PathBuf {
        let file = self.dir.join(name);
        std::fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>())
            .unwrap();
        file
    }
}

/// The numbers of those that have one, in their order.
fn numbers(records: &[Value]) -> Vec<usize> {
    records.iter().filter_map(|record| number(&record.to_string())).collect()
}

/// The numbers that came more than once.
fn again(numbers: &[usize]) -> BTreeSet<usize> {
    let mut seen = BTreeSet::new();
    numbers.iter().copied().filter(|number| !seen.insert(*number)).collect()
}
