//! How long a partition stood still when its leader went, against how long the cluster took to name another one.
//!
//! Owns both clocks: metadata that kcat asks of the brokers that are left, and the times that brokers gave to the records of the
//! partition. Left out: how the leader goes. Invariant: no part of the program under test is asked for either.

use std::process::Command;
use std::time::{Duration, Instant, SystemTime};

use cim_services::kafka::Listener;
use cim_services::{Kafka, Record};
use serde_json::Value;

use crate::rig::{Rig, leader};

/// How long the cluster may take to name another leader, on a busy machine.
const ELECTION: Duration = Duration::from_secs(60);
/// What an outage may take beside twice the election:
///
/// - 1 s until a request that a new leader refused, or a question for leaders that brought none, is sent again: `retry.backoff.ms`
///   doubles from 0.1 s up to `retry.backoff.max.ms`, 1 s, in librdkafka;
/// - 1 s until the library looks again which partitions lack a leader: its timer for topics, once a second;
/// - 0.1 s between two messages of the application, of which each ends one gap and begins the next.
///
/// Waking up on two cores beside three brokers is small against that, and has no part of its own.
const BESIDE_THE_ELECTION: Duration = Duration::from_millis(2_100);

/// One change of the leader of a partition.
#[derive(Debug, Clone, Copy)]
pub struct Succession {
    partition: usize,
    /// When the old leader was told to go, milliseconds since 1970, as brokers count.
    began: i64,
    /// From then until the metadata named another one.
    election: Duration,
}

/// Lets brokers stamp the events of a rig when they append them, and not the program when it sends them. The topic, and the
/// partition that has them all: each has the key of the pod.
#[must_use]
pub fn stamped_events(rig: &Rig<'_>) -> (String, usize) {
    let (kafka, topic) = (rig.kafka, rig.topics.events.clone());
    kafka.alter_topic(&topic, &[("message.timestamp.type", "LogAppendTime")]);
    let brokers = kafka.bootstrap();
    let first = ["-C", "-q", "-o", "beginning", "-c", "1", "-f", "%p", "-b", &brokers, "-t", &topic];
    let output = Command::new("kcat").args(first).output().unwrap();
    let partition = String::from_utf8_lossy(&output.stdout).parse().expect("a first event");
    (topic, partition)
}

impl Succession {
    /// Lets `go` end the broker that leads the partition, and watches the metadata until another one does. Returns the broker
    /// that went, as [`Kafka::broker`] takes it.
    pub fn of(kafka: &Kafka, topic: &str, partition: usize, go: impl FnOnce(usize)) -> (usize, Self) {
        let victim = leader(kafka, topic, partition);
        let others = kafka.brokers().iter().filter(|broker| usize::from(broker.id()) != victim + 1);
        let others: Vec<_> = others.map(|broker| broker.address(Listener::Plain).to_string()).collect();
        let others = others.join(",");
        let (began, started) = (now(), Instant::now());
        let election = std::thread::scope(|scope| {
            // Beside it: a broker that leaves cleanly is followed before it has ended.
            let watch = scope.spawn(|| {
                cim_services::until("another leader", ELECTION, || {
                    leader_told_by(&others, topic, partition).is_some_and(|found| found != victim)
                });
                started.elapsed()
            });
            go(victim);
            watch.join().expect("another leader")
        });
        (victim, Self { partition, began, election })
    }

    /// The longest time between two neighbours in the partition, from here on until `end`, and how long after the old leader was
    /// told to go it began.
    fn outage(&self, records: &[Record], end: i64) -> Outage {
        let mut times = Vec::from_iter(records.iter().filter(|record| record.partition == self.partition));
        times.sort_by_key(|record| record.offset);
        let pairs = times.windows(2).map(|pair| (pair[0].time, pair[1].time));
        // What ends after `end` is the next outage.
        let pairs = pairs.filter(|(_, after)| (self.began..=end).contains(after));
        let longest = pairs.max_by_key(|(before, after)| after - before);
        let (before, after) = longest.expect("records on both sides of the outage");
        let seconds = |milliseconds: i64| milliseconds as f64 / 1_000.0;
        Outage {
            election: self.election.as_secs_f64(),
            length: seconds(after - before),
            began: seconds(before - self.began),
        }
    }
}

/// One outage, in seconds.
#[derive(Debug, Clone, Copy)]
struct Outage {
    election: f64,
    length: f64,
    began: f64,
}

/// K1: no partition stood still for longer than twice the election of its leader, and what is beside that. `records` are those of
/// the topic, stamped on arrival.
pub fn assert_outages(records: &[Record], successions: &[Succession]) {
    let ends = successions.iter().skip(1).map(|next| next.began).chain([i64::MAX]);
    let outages: Vec<_> = successions.iter().zip(ends).map(|(each, end)| each.outage(records, end)).collect();
    for Outage { election, length, began } in &outages {
        eprintln!(
            "another leader after {election:.2} s; the partition stood still for {length:.2} s, {began:+.2} s from the end of the old one"
        );
    }
    let longer: Vec<_> = outages
        .iter()
        .filter(|each| each.length > 2.0 * each.election + BESIDE_THE_ELECTION.as_secs_f64())
        .collect();
    assert!(longer.is_empty(), "longer than twice the election: {longer:.2?}");
}

/// Index of the leader of a partition, as these brokers tell it; `None` when they know of none.
fn leader_told_by(brokers: &str, topic: &str, partition: usize) -> Option<usize> {
    let output =
        Command::new("kcat").args(["-L", "-J", "-m", "2", "-b", brokers, "-t", topic]).output().unwrap();
    let told: Value = serde_json::from_slice(&output.stdout).ok()?;
    let partitions = told["topics"][0]["partitions"].as_array()?;
    let found = partitions.iter().find(|each| each["partition"].as_u64() == Some(partition as u64))?;
    // −1: nobody leads it.
    usize::try_from(found["leader"].as_i64()?).ok()?.checked_sub(1)
}

/// Milliseconds since 1970.
fn now() -> i64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
    i64::try_from(since.as_millis()).unwrap()
}
