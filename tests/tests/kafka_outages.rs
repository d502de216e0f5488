//! A broker that is away, silent, late or old, each time followed by the five invariants of `cim_tests::rig`. What happens on
//! the way to it is in `kafka_network`. All but one wait: they run with `CIM_LONG=1` (`make test-kafka`).
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
use cim_tests::load::{Load, Plan};
use cim_tests::rig::{Rig, Settled, Topics, settings};
use cim_tests::{Daemon, has_time, until};

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
    let load = Load::start(daemon.nats(), Plan::default());
    load.run_for(Duration::from_secs(5));
    kafka.broker(0).restart();
    Settled::assert_after(load, &kafka, daemon, topics, Duration::from_secs(60));
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
    let load = Load::start(daemon.nats(), Plan { rate: 100, ..Plan::GENTLE });
    until("delivery", || daemon.metric("cim_records_delivered_total") > 100.0);
    kafka.broker(0).kill();
    until("the outage to be noticed", || daemon.get("/readyz").unwrap().contains("degraded"));
    let (before, began) = (processor_time(&daemon), Instant::now());
    load.run_for(Duration::from_secs(5));
    let share = (processor_time(&daemon) - before) / began.elapsed().as_secs_f64();
    assert!(share < 0.15, "{share:.2} of a processor; the original took 0.69");
    kafka.broker(0).restart();
    Settled::assert_after(load, &kafka, daemon, topics, Duration::from_secs(60));
}
