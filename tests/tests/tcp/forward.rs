//! The acknowledged framing, against a receiver that is killed.

use std::path::Path;

use cim_bench::server::free_port;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE};

use crate::peers::receiver::Receiver;
use crate::{drained, publish, tcp, vigil};

/// The acknowledged mode: the receiver is killed again and again under load, and nothing is lost.
#[test]
fn forward_loses_nothing_when_the_receiver_is_killed() {
    const LINES: usize = 30_000;
    const STEP: usize = LINES / 6;
    let address = free_port().unwrap();
    let keys = format!("address = \"{address}\"\nframing = \"forward\"\nack_timeout = \"5s\"");
    let daemon = Daemon::start(&tcp(&keys));
    // A file for each receiver: what a killed one has of its last line is not to stand before the first line of the next one.
    let files: Vec<_> = (0..6).map(|number| daemon.home().join(format!("received-{number}"))).collect();
    let Some(mut receiver) = Receiver::forward(address, &files[0]) else { return };
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    for (number, file) in files.iter().enumerate() {
        publish(&mut wire, number * STEP..(number + 1) * STEP);
        if number > 0 {
            receiver.kill();
            receiver = Receiver::forward(address, file).unwrap();
        }
    }
    wire.publish("EVENT", b"{\"eventName\":\"Forwarded\",\"eventTime\":1600000000005}");
    wire.flush();
    drained(&daemon);
    let records: Vec<_> = files.iter().flat_map(|file| forwarded(file)).collect();
    let (events, logs): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["fluent.tag"] == "cim.events");
    // Beside it there may be what CIM says itself of a receiver that is away.
    let event = events.iter().find(|event| event["eventName"] == "Forwarded").unwrap();
    assert_eq!(event["time_ns"], 1_600_000_000_005_000_000_u64);
    assert!(
        events
            .iter()
            .all(|event| event["eventName"] == "Forwarded" || event["eventName"] == "LmaasTCPFailure")
    );
    let place = serde_json::json!({ "namespace_name": "ns1", "pod_name": "pod-1" });
    assert!(logs.iter().all(|log| log["fluent.tag"] == "cim.logs" && log["kubernetes"] == place));
    // A kill may have cut a line of the receiver: it was not acknowledged, and comes again. The event has no number.
    let capture = Capture::of(&files);
    capture.assert_only(&["unmarked_duplicates", "torn", "foreign"], LINES);
    assert!(capture.gaps == 0 && capture.twice <= 5 * 8_192 && capture.foreign <= 5, "{capture:?}");
    vigil.assert_held(&daemon, PATIENCE);
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") < 0.5);
    drop(receiver);
}

/// What the Forward receiver has printed.
fn forwarded(file: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap();
    // A kill may have cut a line: it was not acknowledged.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
