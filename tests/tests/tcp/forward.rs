//! The acknowledged framing, against a receiver that is killed.

use std::path::Path;

use cim_bench::server::free_port;
use cim_tests::Daemon;

use crate::peers::receiver::Receiver;
use crate::{drained, publish, tcp};

/// The acknowledged mode: the receiver is killed again and again under load, and nothing is lost.
#[test]
fn forward_loses_nothing_when_the_receiver_is_killed() {
    const LINES: usize = 30_000;
    const STEP: usize = LINES / 6;
    let address = free_port().unwrap();
    let keys = format!("address = \"{address}\"\nframing = \"forward\"\nack_timeout = \"5s\"");
    let daemon = Daemon::start(&tcp(&keys));
    let file = daemon.home().join("received");
    let Some(mut receiver) = Receiver::forward(address, &file) else { return };
    let mut wire = daemon.connect();
    for start in (0..LINES).step_by(STEP) {
        publish(&mut wire, start..start + STEP);
        if start > 0 {
            receiver.kill();
            receiver = Receiver::forward(address, &file).unwrap();
        }
    }
    wire.publish("EVENT", b"{\"eventName\":\"Forwarded\",\"eventTime\":1600000000005}");
    wire.flush();
    drained(&daemon);
    let records = forwarded(&file);
    let (events, logs): (Vec<_>, Vec<_>) =
        records.iter().partition(|record| record["fluent.tag"] == "cim.events");
    assert_eq!(events.last().unwrap()["eventName"], "Forwarded");
    assert_eq!(events.last().unwrap()["time_ns"], 1_600_000_000_005_000_000_u64);
    let place = serde_json::json!({ "namespace_name": "ns1", "pod_name": "pod-1" });
    assert!(logs.iter().all(|log| log["fluent.tag"] == "cim.logs" && log["kubernetes"] == place));
    let number = |log: &&serde_json::Value| log["log"].as_str()?.get(5..11)?.parse::<usize>().ok();
    let seen: Vec<_> = logs.iter().map(|log| number(log).unwrap()).collect();
    // A repetition goes back to the beginning of a chunk, never forward over a gap.
    let (mut next, mut repeated) = (0, 0);
    for n in &seen {
        assert!(*n <= next, "line {next} is missing before {n}");
        repeated += usize::from(*n < next);
        next = next.max(n + 1);
    }
    assert_eq!(next, LINES);
    assert!(repeated <= 5 * 8_192, "{repeated} lines twice");
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") < 0.5);
    drop(receiver);
}

/// What the Forward receiver has printed.
fn forwarded(file: &Path) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(file).unwrap();
    // A kill may have cut a line: it was not acknowledged.
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}
