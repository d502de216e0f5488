//! A broker that is away, silent, late or old, each time followed by the five invariants of `cim_tests::rig`. What happens on
//! the way to it is in `kafka_network`. Most wait: they run with `CIM_LONG=1` (`make test-kafka`). The three with the null broker
//! do not, nor the one about processor time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::time::{Duration, Instant};

use cim_services::{Kafka, KafkaPlan, Version};
use cim_testkit::null_broker::{Api, Fault, code};
use cim_tests::invariants::Footprint;
use cim_tests::load::{Load, Plan};
use cim_tests::null_rig::NullRig;
use cim_tests::rig::{Rig, Topics, settings};
use cim_tests::{Daemon, has_time};

/// An outage that a client which gives up after five minutes would not survive. `CIM_KAFKA_OUTAGE_SECONDS` changes it.
const OUTAGE_SECONDS: u64 = 330;

/// K2: longer than any timeout of the client.
#[test]
fn a_broker_that_is_gone_for_longer_than_five_minutes_costs_nothing() {
    if !has_time("a broker is gone for five and a half minutes") {
        return;
    }
    let seconds = std::env::var("CIM_KAFKA_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start_with(&kafka, Plan::GENTLE, &kafka.bootstrap(), "");
    kafka.broker(0).kill();
    rig.run_for(seconds.unwrap_or(OUTAGE_SECONDS));
    kafka.broker(0).restart();
    let outcome = rig.patience(Duration::from_secs(120)).finish();
    assert!(outcome.logs.found >= 1_000);
}

/// K3: alive for TCP, silent.
fn frozen(seconds: u64) {
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.broker(0).pause();
    rig.run_for(seconds);
    rig.wait_degraded(Duration::from_secs(1));
    kafka.broker(0).resume();
    rig.wait_delivered(1_000);
    rig.run_for(2);
    let _ = rig.finish();
}

#[test]
fn a_broker_that_is_frozen_for_15_seconds_costs_nothing() {
    if has_time("a broker is frozen for 15 s") {
        frozen(15);
    }
}

#[test]
fn a_broker_that_is_frozen_for_a_minute_costs_nothing() {
    if has_time("a broker is frozen for a minute") {
        frozen(60);
    }
}

/// The oldest version that is tested: the whole path, and a kill.
#[test]
fn the_oldest_broker_is_served_alike() {
    if !has_time("a broker of the oldest version is killed and started") {
        return;
    }
    let Some(kafka) = KafkaPlan::new().version(Version::Oldest).start() else { return };
    let rig = Rig::start(&kafka);
    kafka.broker(0).kill();
    rig.run_for(3);
    kafka.broker(0).restart();
    rig.wait_delivered(1_000);
    let _ = rig.finish();
}

/// K14: the protocol of Kafka 2.1, by a broker that speaks nothing newer and checks every batch. Answers are lost on the way.
#[test]
fn the_oldest_protocol_is_spoken_alike() {
    let rig = NullRig::start("");
    for _ in 0..3 {
        rig.broker.next(Api::Produce, Fault::LostAnswer);
        rig.load.wait_for(1_000);
    }
    rig.broker.disconnect();
    let _ = rig.finish();
}

/// K6: what a broker says while its cluster is not well.
#[test]
fn a_cluster_that_is_not_well_is_asked_again() {
    let told =
        [code::NOT_LEADER, code::LEADER_NOT_AVAILABLE, code::REQUEST_TIMED_OUT, code::NOT_ENOUGH_REPLICAS];
    let rig = NullRig::start("");
    for code in told {
        rig.broker.next(Api::Produce, Fault::Error(code));
        rig.load.wait_for(500);
    }
    let _ = rig.finish();
}

/// K9: what ends a producer. The next one sends again what the first had not been told of.
#[test]
fn a_producer_that_the_broker_rejects_is_replaced() {
    let rig = NullRig::start("");
    for code in [code::OUT_OF_ORDER_SEQUENCE, code::INVALID_PRODUCER_EPOCH, code::PRODUCER_FENCED] {
        rig.broker.next(Api::Produce, Fault::Error(code));
        rig.load.wait_for(500);
    }
    rig.broker.forget_producers();
    let _ = rig.finish();
}

/// Nobody is there at the start, for a while.
#[test]
fn brokers_that_are_absent_at_the_start_are_waited_for() {
    if !has_time("a broker comes 5 s after the program") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    kafka.broker(0).kill();
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let started = Footprint::of(&daemon);
    let load = Load::start(daemon.nats(), Plan::default());
    load.run_for(Duration::from_secs(5));
    kafka.broker(0).restart();
    let _ = Rig::around(&kafka, daemon, topics, load, started).finish();
}

/// Seconds of processor time of the program so far, in user mode and in the kernel.
fn processor_time(daemon: &Daemon) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", daemon.pid())).unwrap();
    // The name may hold spaces and brackets; what follows its last bracket are numbers.
    let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: f64 = fields[11..13].iter().map(|field| field.parse::<f64>().unwrap()).sum();
    ticks / 100.0
}

/// The original took 20.7 s of processor time for 30 s without a broker; that would be 3.4 s here.
#[test]
fn five_seconds_without_a_broker_take_little_processor_time() {
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let rig = Rig::over(&kafka, daemon, topics, Plan { rate: 200, ..Plan::GENTLE });
    kafka.broker(0).kill();
    rig.wait_degraded(cim_tests::PATIENCE);
    let (before, began) = (processor_time(&rig.daemon), Instant::now());
    rig.run_for(5);
    let share = (processor_time(&rig.daemon) - before) / began.elapsed().as_secs_f64();
    assert!(share < 0.15, "{share:.2} of a processor; the original took 0.69");
    kafka.broker(0).restart();
    let _ = rig.finish();
}
