//! Three brokers, three replicas, two of them in sync for an acknowledgement: what dies is replaced, and nothing is lost.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cim_services::{Kafka, KafkaPlan, Record, Version, free_port};
use cim_testkit::ChaosProxy;
use cim_tests::load::Plan;
use cim_tests::rig::{EVENT_PARTITIONS, LOG_PARTITIONS, Rig, assert_clean, in_sync, leader};
use cim_tests::succession::{Succession, assert_outages, stamped_events};
use cim_tests::{has_time, verdict};

#[test]
fn the_leader_is_killed_under_load() {
    let Some(kafka) = Kafka::cluster(3) else { return };
    let rig = Rig::start(&kafka);
    let (topic, partition) = stamped_events(&rig);
    let (_, succession) = Succession::of(&kafka, &topic, partition, |leader| kafka.broker(leader).kill());
    rig.wait_delivered(6_000);
    rig.load.wait_for(2_000);
    let outcome = rig.finish();
    assert!(outcome.logs.found >= 6_000);
    assert_outages(&kafka.records(&topic), &[succession]);
}

/// K1. `CIM_KAFKA_LOOP_SECONDS` changes the ten minutes. In the first half the victim leads one partition of logs after the other,
/// so that it is each broker. In the second half it leads the events of the pod, of which ten come with every tenth of a second, and
/// the outage is timed: logs have turns of 256 lines, whose pauses would hide it.
#[test]
fn leaders_are_killed_in_a_loop() {
    if !has_time("a loop of broker kills takes ten minutes") {
        return;
    }
    let seconds =
        std::env::var("CIM_KAFKA_LOOP_SECONDS").ok().and_then(|text| text.parse().ok()).unwrap_or(600);
    let Some(kafka) = Kafka::cluster(3) else { return };
    let plan = Plan { rate: 1_000, event_every: 10, ..Plan::default() };
    let rig = Rig::start_with(&kafka, plan, &kafka.bootstrap(), "");
    let (topic, partition) = stamped_events(&rig);
    let (begun, mut round) = (Instant::now(), 0);
    let (mut successions, mut victims) = (Vec::new(), BTreeSet::new());
    while begun.elapsed() < Duration::from_secs(seconds) {
        // Every third one leaves cleanly: its partitions move while it still answers.
        let end =
            |broker| if round % 3 == 2 { kafka.broker(broker).stop() } else { kafka.broker(broker).kill() };
        let victim = if begun.elapsed() < Duration::from_secs(seconds / 2) {
            let victim = leader(&kafka, &rig.topics.logs, round % LOG_PARTITIONS);
            end(victim);
            victim
        } else {
            let (victim, succession) = Succession::of(&kafka, &topic, partition, end);
            successions.push(succession);
            victim
        };
        victims.insert(victim);
        round += 1;
        rig.load.wait_for(1_000);
        kafka.broker(victim).restart();
        in_sync(&kafka, &rig.topics.logs);
        in_sync(&kafka, &rig.topics.events);
    }
    let outcome = rig.patience(Duration::from_secs(120)).finish();
    let (found, duplicates) = (outcome.logs.found + outcome.events.found, outcome.duplicates());
    eprintln!(
        "{round} leaders of {} brokers killed or stopped, {found} records, 0 lost, 0 out of order, {duplicates} marked duplicates",
        victims.len()
    );
    assert_outages(&kafka.records(&topic), &successions);
}

/// K6.
#[test]
fn too_few_replicas_hold_delivery_up_until_there_are_enough() {
    if !has_time("two of three brokers are away for 15 s") {
        return;
    }
    let Some(kafka) = Kafka::cluster(3) else { return };
    let rig = Rig::start(&kafka);
    // Frozen, not dead: the third stays in touch with nobody, and keeps its leaders.
    let away = [leader(&kafka, &rig.topics.logs, 0), leader(&kafka, &rig.topics.logs, 1)];
    let away = if away[0] == away[1] { [away[0], (away[0] + 1) % 3] } else { away };
    away.iter().for_each(|broker| kafka.broker(*broker).pause());
    rig.load.wait_for(30_000);
    rig.wait_degraded(Duration::from_secs(20));
    away.iter().for_each(|broker| kafka.broker(*broker).resume());
    rig.wait_delivered(10_000);
    let _ = rig.patience(Duration::from_secs(120)).finish();
}

/// The same, by the topic's own rule: the broker answers NOT_ENOUGH_REPLICAS.
#[test]
fn a_topic_that_wants_more_replicas_than_there_are_is_waited_for() {
    if !has_time("a topic refuses records for 15 s") {
        return;
    }
    let Some(kafka) = Kafka::cluster(3) else { return };
    let rig = Rig::start(&kafka);
    kafka.alter_topic(&rig.topics.logs, &[("min.insync.replicas", "3")]);
    let killed = (leader(&kafka, &rig.topics.events, 2) + 1) % 3;
    kafka.broker(killed).kill();
    rig.load.wait_for(20_000);
    // The others have leaders for every partition, and would take them all.
    let held = || rig.daemon.metric("cim_records_held{route=\"logs\"");
    let before = held();
    assert!(before > 5_000.0, "only {before} lines of 20,000 wait for the third replica");
    rig.load.wait_for(2_000);
    assert!(held() > before, "they do not wait: {before} lines were held, and now {}", held());
    kafka.alter_topic(&rig.topics.logs, &[("min.insync.replicas", "2")]);
    rig.wait_delivered(10_000);
    let _ = rig.patience(Duration::from_secs(120)).finish();
}

/// Every broker is gone for good, and others stand behind the same name.
#[test]
fn all_brokers_are_replaced() {
    if !has_time("a second cluster is started") {
        return;
    }
    let Some(old) = Kafka::single() else { return };
    let proxy = ChaosProxy::start_at(
        free_port().unwrap(),
        old.broker(0).address(cim_services::kafka::Listener::Plain),
        1,
    )
    .unwrap();
    let rig = Rig::start_with(&old, Plan::default(), &proxy.address().to_string(), "");
    old.kill_all();
    let Some(new) = KafkaPlan::new().another_cluster().start() else { return };
    new.create_topic(&rig.topics.logs, LOG_PARTITIONS);
    new.create_topic(&rig.topics.events, EVENT_PARTITIONS);
    rig.load.wait_for(4_000);
    proxy.aim(new.broker(0).address(cim_services::kafka::Listener::Plain));
    rig.wait_delivered(4_000);
    let settled = rig.settle();
    let said = settled.daemon.stderr().matches("the brokers belong to another cluster now").count();
    assert_eq!(said, 1, "{}", settled.daemon.stderr());
    settled.assert_nothing_left_out();
    // The old cluster is read where it was; together they hold everything.
    old.restart_all();
    let both = [&settled.topics.logs, &settled.topics.events].map(|topic| {
        let (before, after) = (old.records(topic), new.records(topic));
        assert_only_complements(&old, topic, &before, &after);
        assert_only_complements(&new, topic, &after, &before);
        [before, after].concat()
    });
    assert_clean(&settled.daemon, &settled.outcome_of(&both[0], &both[1]));
}

/// `cim verify` misses in the topic of one cluster what `others` have, those of the other, and finds nothing else.
fn assert_only_complements(kafka: &Kafka, topic: &str, records: &[Record], others: &[Record]) {
    let numbers = |records: &[Record]| -> BTreeSet<usize> {
        records.iter().map(|record| record.header("cim-seq").unwrap().parse().unwrap()).collect()
    };
    let (here, there) = (numbers(records), numbers(others));
    let missing = there.difference(&here).count();
    let given = *here.last().max(there.last()).unwrap();
    verdict::assert_only_missing(&kafka.bootstrap(), topic, records.len(), missing, given);
}

/// K14: one broker after the other comes back as the version that follows.
#[test]
fn a_cluster_is_upgraded_broker_by_broker_under_load() {
    if !has_time("three brokers are upgraded") {
        return;
    }
    let Some(kafka) = KafkaPlan::new().version(Version::Oldest).brokers(3).start() else { return };
    let rig = Rig::start_with(&kafka, Plan { rate: 1_000, ..Plan::default() }, &kafka.bootstrap(), "");
    for broker in kafka.brokers() {
        broker.restart_as(Version::Current);
        in_sync(&kafka, &rig.topics.logs);
        in_sync(&kafka, &rig.topics.events);
        rig.wait_delivered(2_000);
    }
    let outcome = rig.patience(Duration::from_secs(120)).finish();
    assert!(outcome.logs.found >= 6_000);
}
