//! The acknowledged framing: a receiver that is killed, and a program that is.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use cim_bench::server::free_port;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE};
use serde_json::Value;

use crate::peers::receiver::Receiver;
use crate::{drained, publish_both, tcp, vigil};

const STEP: usize = 5_000;
const KILLS: usize = 5;
/// Logs, and as many events, with a step before, between and behind the kills.
const RECORDS: usize = (KILLS + 1) * STEP;

/// The acknowledged mode: the receiver is killed again and again under load, and nothing is lost.
#[test]
fn forward_loses_nothing_when_the_receiver_is_killed() {
    let address = free_port().unwrap();
    let daemon = Daemon::start(&forward(&address.to_string()));
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
    received.assert_nothing_lost();
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
    let mut daemon = Daemon::start(&forward(&address.to_string()));
    let file = daemon.home().join("received");
    let Some(_receiver) = Receiver::forward(address, &file) else { return };
    for number in 0..KILLS {
        publish_both(&mut daemon.connect(), number * STEP..(number + 1) * STEP);
        daemon.kill_and_restart();
    }
    publish_both(&mut daemon.connect(), KILLS * STEP..RECORDS);
    drained(&daemon);
    Received::of(&[file], daemon.home()).assert_nothing_lost();
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") < 0.5);
}

fn forward(address: &str) -> String {
    tcp(&format!("address = \"{address}\"\nframing = \"forward\"\nack_timeout = \"5s\""))
}

/// What Forward receivers have printed.
struct Received {
    logs: Vec<Value>,
    events: Vec<Value>,
    dir: PathBuf,
}

impl Received {
    fn of(files: &[PathBuf], dir: &Path) -> Self {
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

    /// Every number is there, in order, at most a window of them twice after each kill.
    fn assert_nothing_lost(&self) {
        let logs = Capture::of(&[self.capture("logs", &self.logs)]);
        logs.assert_only(&["unmarked_duplicates"], RECORDS);
        // Some have no number: that of a test, and what CIM says itself of a receiver that is away.
        let own =
            |event: &&Value| event["eventName"] == "Forwarded" || event["eventName"] == "LmaasTCPFailure";
        let events = Capture::of_events(&[self.capture("events", &self.events)]);
        events.assert_events(&["unmarked_duplicates", "foreign"], RECORDS);
        assert_eq!(events.foreign as usize, self.events.iter().filter(own).count(), "{events:?}");
        for capture in [logs, events] {
            assert!(capture.gaps == 0 && capture.twice <= (KILLS * 8_192) as u64, "{capture:?}");
        }
    }

    fn capture(&self, name: &str, records: &[Value]) -> PathBuf {
        let file = self.dir.join(name);
        std::fs::write(&file, records.iter().map(|record| format!("{record}\n")).collect::<String>())
            .unwrap();
        file
    }
}
