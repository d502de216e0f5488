//! A broker, the program and an application, for tests that make one of them fail.
//!
//! Owns the end of every test of a fault: the invariants about the program (`invariants`), and the two about what arrived, in
//! order per source, with duplicates only where allowed, and marked. Left out: the fault.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use cim_services::kafka::Listener;
use cim_services::{Kafka, Record};

use crate::Daemon;
use crate::check::Findings;
use crate::invariants::{self, Footprint};
use crate::load::{Load, Plan, Published};
use crate::verdict;

/// Partitions of the topic of logs.
pub const LOG_PARTITIONS: usize = 10;
/// Partitions of the topic of events.
pub const EVENT_PARTITIONS: usize = 5;
/// Records of a class that may be on their way to a broker at once: five batches of so many.
pub const WINDOW: usize = 5 * 2_048;
/// Deliveries go on within this after a fault, unless a test knows better.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long the cluster may take to agree on a new leader, on a busy machine.
const ELECTION: Duration = Duration::from_secs(60);

/// Topics of one test.
#[derive(Debug, Clone)]
pub struct Topics {
    /// Where logs go.
    pub logs: String,
    /// Where events go.
    pub events: String,
}

impl Topics {
    /// Makes two topics that no other test uses.
    #[must_use]
    pub fn create(kafka: &Kafka) -> Self {
        let topics = Self::unused();
        kafka.create_topic(&topics.logs, LOG_PARTITIONS);
        kafka.create_topic(&topics.events, EVENT_PARTITIONS);
        topics
    }

    /// Names that no other test uses.
    #[must_use]
    pub fn unused() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        Self { logs: format!("logs-{number}"), events: format!("events-{number}") }
    }
}

/// Settings of a program with a spool, whose logs and events go to these brokers; `more` are keys of the sink.
#[must_use]
pub fn settings(brokers: &str, topics: &Topics, more: &str) -> String {
    let brokers = brokers.replace(',', "\", \"");
    let Topics { logs, events } = topics;
    format!(
        "spool.dir = \"{{home}}/spool\"\n[routes.logs]\nsink = \"broker\"\n[routes.events]\nsink = \"broker\"\n\
         [sinks.broker]\ntype = \"kafka\"\nbrokers = [\"{brokers}\"]\nlogs_topic = \"{logs}\"\n\
         events_topic = \"{events}\"\n{more}"
    )
}

/// What the topics held in the end.
#[derive(Debug)]
pub struct Outcome {
    /// What was published.
    pub published: Published,
    /// In the topic of logs.
    pub logs: Findings,
    /// In the topic of events.
    pub events: Findings,
}

impl Outcome {
    /// Copies beyond the first.
    #[must_use]
    pub fn duplicates(&self) -> usize {
        self.logs.marked_duplicates + self.events.marked_duplicates
    }
}

/// The parts of a test after its load: everything accepted has left the program.
pub struct Settled<'k> {
    /// The cluster.
    pub kafka: &'k Kafka,
    /// The program.
    pub daemon: Daemon,
    /// Where it delivered to.
    pub topics: Topics,
    /// What was published.
    pub published: Published,
}

impl<'k> Settled<'k> {
    /// Nothing was left out, and what the topics hold is clean, in the eyes of `cim verify` as well.
    pub fn assert_all_clean(&self) -> Outcome {
        self.assert_nothing_left_out();
        let outcome = self.read();
        assert_clean(&self.daemon, &outcome);
        self.assert_verified(&outcome);
        outcome
    }

    /// `cim verify` calls both topics clean, and has read what the own reader of the tests has found there.
    pub fn assert_verified(&self, outcome: &Outcome) {
        for (topic, findings) in [(&self.topics.logs, &outcome.logs), (&self.topics.events, &outcome.events)]
        {
            let records = findings.found + findings.marked_duplicates;
            verdict::assert_clean(&self.kafka.bootstrap(), topic, records);
        }
    }

    /// `cim verify` misses exactly so many of the lines that were published, or that the test has added, and no event; nothing else
    /// is wrong with either topic.
    pub fn assert_only_logs_missing(&self, outcome: &Outcome, missing: usize, added: usize) {
        let (logs, events) = (&outcome.logs, &outcome.events);
        let brokers = self.kafka.bootstrap();
        let records = logs.found + logs.marked_duplicates;
        let given = outcome.published.lines + added;
        verdict::assert_only_missing(&brokers, &self.topics.logs, records, missing, given);
        verdict::assert_clean(&brokers, &self.topics.events, events.found + events.marked_duplicates);
    }

    /// What the topics hold.
    #[must_use]
    pub fn read(&self) -> Outcome {
        self.outcome_of(&self.kafka.records(&self.topics.logs), &self.kafka.records(&self.topics.events))
    }

    /// What these records say of what was published.
    #[must_use]
    pub fn outcome_of(&self, logs: &[Record], events: &[Record]) -> Outcome {
        Outcome {
            logs: Findings::logs(logs, &self.published),
            events: Findings::events(events, &self.published),
            published: self.published.clone(),
        }
    }

    /// Nothing was given up or refused.
    pub fn assert_nothing_left_out(&self) {
        for reason in ["dropped", "refused", "dead_lettered"] {
            let count = self.daemon.metric(&format!("cim_records_{reason}_total"));
            assert!(count < 0.5, "{count} records were {reason}");
        }
    }
}

/// The parts of a test whose load has ended: what is held may still be on its way.
pub struct Quiet<'k> {
    kafka: &'k Kafka,
    /// The program.
    pub daemon: Daemon,
    topics: Topics,
    published: Published,
    before: Footprint,
    slowest: Duration,
    patience: Duration,
}

impl<'k> Quiet<'k> {
    /// Waits until everything has left the program, and checks the invariants about the program itself.
    #[must_use]
    pub fn settle(self) -> Settled<'k> {
        let Self { kafka, daemon, topics, published, before, slowest, patience } = self;
        invariants::assert_held(&daemon, before, slowest, patience);
        Settled { kafka, daemon, topics, published }
    }
}

/// The parts of one test.
pub struct Rig<'k> {
    /// The cluster.
    pub kafka: &'k Kafka,
    /// The program.
    pub daemon: Daemon,
    /// Where it delivers to.
    pub topics: Topics,
    /// The application.
    pub load: Load,
    before: Footprint,
    /// How long everything may take to be delivered after the last message.
    patience: Duration,
}

impl<'k> Rig<'k> {
    /// Starts the program and an application against the plain listeners, and waits until records are delivered.
    #[must_use]
    pub fn start(kafka: &'k Kafka) -> Self {
        Self::start_with(kafka, Plan::default(), &kafka.addresses(Listener::Plain), "")
    }

    /// As [`Rig::start`], with another load, other addresses and further keys of the sink.
    #[must_use]
    pub fn start_with(kafka: &'k Kafka, plan: Plan, brokers: &str, more: &str) -> Self {
        let topics = Topics::create(kafka);
        let daemon = Daemon::start(&settings(brokers, &topics, more));
        Self::over(kafka, daemon, topics, plan)
    }

    /// The same over a program that runs already.
    #[must_use]
    pub fn over(kafka: &'k Kafka, daemon: Daemon, topics: Topics, plan: Plan) -> Self {
        let started = Footprint::of(&daemon);
        let load = Load::start(daemon.nats(), plan);
        let mut rig = Self::around(kafka, daemon, topics, load, started);
        // It has all it needs before the fault.
        rig.before = Footprint::of(&rig.daemon).bootstrapped_again(kafka.brokers().len());
        rig
    }

    /// The same over a program that could not deliver so far what an application has published: it heals now. `started`: what
    /// it used before the application came.
    #[must_use]
    pub fn around(kafka: &'k Kafka, daemon: Daemon, topics: Topics, load: Load, started: Footprint) -> Self {
        let before = started.delivering_to_kafka().bootstrapped_again(kafka.brokers().len());
        let rig = Self { kafka, daemon, topics, load, before, patience: PATIENCE };
        rig.wait_delivered(1_000);
        rig
    }

    /// With so many descriptors more: files that the program opens from here on, and keeps.
    #[must_use]
    pub fn with_descriptors(mut self, more: usize) -> Self {
        self.before.descriptors += more;
        self
    }

    /// As it is, with more time for the backlog.
    #[must_use]
    pub fn patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Lets the load run on for so long.
    pub fn run_for(&self, seconds: u64) {
        self.load.run_for(Duration::from_secs(seconds));
    }

    /// Waits until so many more records are delivered.
    pub fn wait_delivered(&self, records: u32) {
        wait_delivered(&self.daemon, records, self.patience);
    }

    /// Waits until the program says that deliveries are held up.
    pub fn wait_degraded(&self, limit: Duration) {
        let degraded = || self.daemon.get("/readyz").is_some_and(|page| page.contains("degraded"));
        cim_services::until("readiness to tell of the outage", limit, degraded);
    }

    /// Ends the load.
    #[must_use]
    pub fn quiet(self) -> Quiet<'k> {
        let Self { kafka, daemon, topics, load, before, patience } = self;
        let slowest = load.slowest_pong();
        Quiet { kafka, daemon, topics, published: load.stop(), before, slowest, patience }
    }

    /// Ends the load, waits until everything has left the program, and checks the invariants about the program itself.
    #[must_use]
    pub fn settle(self) -> Settled<'k> {
        self.quiet().settle()
    }

    /// As [`Rig::settle`]; then everything must be in the topics, in order, and every duplicate marked and explained.
    #[must_use]
    pub fn finish(self) -> Outcome {
        self.settle().assert_all_clean()
    }
}

/// Index of the broker that leads a partition of the topic.
#[must_use]
pub fn leader(kafka: &Kafka, topic: &str, partition: usize) -> usize {
    let mut found = None;
    cim_services::until("a leader", ELECTION, || {
        found = kafka.partitions(topic)[partition].leader;
        found.is_some()
    });
    found.unwrap()
}

/// Waits until every partition of the topic has three replicas in sync again.
pub fn in_sync(kafka: &Kafka, topic: &str) {
    let whole = || kafka.partitions(topic).iter().all(|partition| partition.in_sync == 3);
    cim_services::until("three replicas in sync", ELECTION, whole);
}

/// Waits until so many more records are delivered.
pub fn wait_delivered(daemon: &Daemon, records: u32, patience: Duration) {
    let delivered = || daemon.metric("cim_records_delivered_total");
    let target = delivered() + f64::from(records);
    cim_services::until(&format!("{records} more deliveries"), patience, || delivered() >= target);
}

/// Third and fourth invariant: nothing lost, nothing out of order; a duplicate is marked, and was announced by the program or
/// may have been on its way when the life before was killed.
pub fn assert_clean(daemon: &Daemon, outcome: &Outcome) {
    assert_clean_but(outcome, explained_duplicates(daemon));
}

/// The same, with so many duplicates at most.
pub fn assert_clean_but(outcome: &Outcome, explained: f64) {
    assert_eq!(outcome.logs.faults(), None, "logs");
    assert_eq!(outcome.events.faults(), None, "events");
    let found = outcome.duplicates() as f64;
    assert!(found <= explained, "{found} duplicates, {explained} explained");
}

/// Duplicates that the program has announced, and what was on its way to the broker when the life before was killed: a window
/// per class at most, however much more it held. A stop explains none.
#[must_use]
pub fn explained_duplicates(daemon: &Daemon) -> f64 {
    let announced = daemon.metric("cim_kafka_possible_duplicates_total");
    let recovered = |route: &str| daemon.metric(&format!("cim_records_recovered_total{{route=\"{route}\""));
    let of_kill = |route| if daemon.was_killed() { recovered(route).min(WINDOW as f64) } else { 0.0 };
    announced + of_kill("logs") + of_kill("events")
}
