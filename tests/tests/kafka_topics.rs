//! A topic that goes, grows or refuses records, each time followed by the five invariants of `cim_tests::rig`, as far as they
//! can hold. All of them wait: they run with `CIM_LONG=1` (`make test-kafka`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::time::Duration;

use cim_services::Kafka;
use cim_tests::check::Findings;
use cim_tests::invariants::{Vigil, letters};
use cim_tests::load::{Plan, Published};
use cim_tests::rig::{LOG_PARTITIONS, Outcome, Rig, Topics, assert_clean, settings};
use cim_tests::{Daemon, has_time, until, verdict};

/// K8: what was delivered before goes with the topic; nothing that came after does.
#[test]
fn a_topic_deleted_and_made_again_loses_only_what_was_in_it() {
    if !has_time("a topic is away for 10 s") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.delete_topic(&rig.topics.logs);
    let events = rig.daemon.metric("cim_records_delivered_total{route=\"events\"");
    rig.run_for(10);
    rig.wait_degraded(Duration::from_secs(30));
    let events_meanwhile = rig.daemon.metric("cim_records_delivered_total{route=\"events\"") - events;
    assert!(events_meanwhile > 100.0, "the other topic was held up: {events_meanwhile} events in 10 s");
    // The broker acknowledges records for a moment after it has said that the topic is gone.
    let before = rig.daemon.metric("cim_records_delivered_total{route=\"logs\"") as usize;
    kafka.create_topic(&rig.topics.logs, LOG_PARTITIONS);
    rig.wait_delivered(10_000);
    let settled = rig.patience(Duration::from_secs(120)).settle();
    settled.assert_nothing_left_out();
    let mut outcome = settled.read();
    let lost = std::mem::take(&mut outcome.logs.lost);
    assert!(lost.iter().all(|line| *line < before), "{before} were delivered before, {lost:?} are not there");
    assert_clean(&settled.daemon, &outcome);
    settled.assert_only_logs_missing(&outcome, lost.len(), 0);
    let told = settled.daemon.stderr();
    let is_told = |line: &&str| line.contains("delivery failed") && line.contains("route=logs");
    let told: Vec<_> = told.lines().filter(is_told).collect();
    assert_eq!(told.len(), 1, "an absent topic is told once: {told:#?}");
}

/// K8.
#[test]
fn a_topic_that_gets_more_partitions_is_used_in_full() {
    if !has_time("new partitions are noticed within a minute") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start_with(
        &kafka,
        Plan::GENTLE,
        &kafka.bootstrap(),
        "properties = { \"topic.metadata.refresh.interval.ms\" = 1000 }\n",
    );
    kafka.grow_topic(&rig.topics.logs, LOG_PARTITIONS + 4);
    let logs = rig.topics.logs.clone();
    let used = || kafka.records(&logs).iter().any(|record| record.partition >= LOG_PARTITIONS);
    cim_services::until("a record in a new partition", Duration::from_secs(90), used);
    let _ = rig.finish();
}

/// K7: one record that the broker refuses, among thousands that it takes.
#[test]
fn a_record_that_the_broker_refuses_is_set_aside_and_its_neighbours_pass() {
    if !has_time("records are isolated") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.alter_topic(&rig.topics.logs, &[("max.message.bytes", "100000")]);
    rig.run_for(1);
    let mut wire = rig.daemon.connect();
    for _ in 0..3 {
        wire.publish("LOG", "y".repeat(200_000).as_bytes());
        wire.flush();
        rig.run_for(1);
    }
    cim_services::until("three dead letters", Duration::from_secs(60), || {
        rig.daemon.metric("cim_dead_letters") > 2.5
    });
    rig.wait_delivered(4_000);
    let settled = rig.settle();
    assert_eq!(settled.daemon.metric("cim_records_dead_lettered_total") as usize, 3);
    assert!(settled.daemon.metric("cim_records_dropped_total") < 0.5);
    for (reason, error) in letters(&settled.daemon) {
        assert_eq!(reason, "too_large", "{error}");
        assert!(error.contains("Message size too large"), "{error}");
    }
    let outcome = settled.read();
    assert_clean(&settled.daemon, &outcome);
    settled.assert_only_logs_missing(&outcome, 3, 3);
}

/// K7: INVALID_RECORD; a compacted topic takes no record without a key, as lines are.
#[test]
fn records_that_the_broker_finds_invalid_go_to_the_dead_letters_with_its_reason() {
    if !has_time("records are isolated one by one") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    kafka.alter_topic(&topics.logs, &[("cleanup.policy", "compact")]);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let mut wire = daemon.connect();
    // Numbered as those of a load, of which line 0 is left out.
    let plan = Plan { event_every: 1, sources: 1, ..Plan::GENTLE };
    let published = Published { plan, lines: 6, uncertain: std::iter::once(0..1).collect() };
    let event = |n: usize| format!("{{\"eventName\":\"E{n:08}\",\"eventTime\":1}}").into_bytes();
    wire.publish("EVENT", &event(0));
    wire.flush();
    until("the first event", || daemon.metric("cim_records_delivered_total{route=\"events\"") > 0.5);
    // The connection that asks PING, and the file of the dead letters.
    let vigil = Vigil::over(&daemon).with(2, 0);
    for n in 1..6 {
        wire.publish("LOG", format!("{{\"container_name\":\"app-0\",\"log\":\"{n:08} x\"}}").as_bytes());
        wire.publish("EVENT", &event(n));
    }
    wire.flush();
    // Nothing follows the last refusal, and the broker is well.
    vigil.assert_held(&daemon, Duration::from_secs(120));
    assert_eq!(daemon.metric("cim_records_dead_lettered_total") as usize, 5);
    let letters = letters(&daemon);
    assert_eq!(letters.len(), 5);
    for (reason, error) in letters {
        assert_eq!(reason, "rejected", "{error}");
        assert!(error.contains("InvalidRecord"), "{error}");
    }
    // What was refused is not in the topic, and everything else is, once and in order.
    let mut logs = Findings::logs(&kafka.records(&topics.logs), &published);
    assert_eq!((std::mem::take(&mut logs.lost), logs.found), (vec![1, 2, 3, 4, 5], 0));
    let events = Findings::events(&kafka.records(&topics.events), &published);
    assert_eq!(events.found, 6);
    let records = events.found + events.marked_duplicates;
    assert_clean(&daemon, &Outcome { published, logs, events });
    let of_logs = verdict::verify(&["kafka", "--brokers", &kafka.bootstrap(), "--topic", &topics.logs]);
    assert_eq!(of_logs.1["faults"], serde_json::json!(["empty"]), "{of_logs:?}");
    verdict::assert_clean(&kafka.bootstrap(), &topics.events, records);
}
