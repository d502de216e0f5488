//! The program and an application over a null broker, for what no real broker does wrong on request.
//!
//! Owns the end of such a test: the invariants are those of `rig`, judged by what the null broker has kept; it checks the
//! sequences of every batch. Left out: the fault.

use std::time::Duration;

use cim_services::Record;
use cim_testkit::null_broker::{KeptRecord, NullBroker};

use crate::Daemon;
use crate::check::Findings;
use crate::invariants::{Footprint, assert_held};
use crate::load::{Load, Plan};
use crate::rig::{EVENT_PARTITIONS, LOG_PARTITIONS, Outcome, Topics, assert_clean, settings, wait_delivered};

/// Deliveries go on within this after a fault.
const PATIENCE: Duration = Duration::from_secs(60);

/// The parts of one test.
pub struct NullRig {
    /// The broker.
    pub broker: NullBroker,
    /// The program.
    pub daemon: Daemon,
    /// The application.
    pub load: Load,
    topics: Topics,
    before: Footprint,
}

impl NullRig {
    /// Starts all three, and waits until records are delivered; `more` are keys of the sink.
    #[must_use]
    pub fn start(more: &str) -> Self {
        let topics = Topics::unused();
        let partitions = [(topics.logs.as_str(), LOG_PARTITIONS), (topics.events.as_str(), EVENT_PARTITIONS)];
        let broker = NullBroker::start(&partitions).unwrap();
        broker.keep_records();
        let daemon = Daemon::start(&settings(&broker.address().to_string(), &topics, more));
        let load = Load::start(daemon.nats(), Plan::default());
        wait_delivered(&daemon, 1_000, PATIENCE);
        let before = Footprint::of(&daemon).bootstrapped_again(1);
        Self { broker, daemon, load, topics, before }
    }

    /// Waits until every fault was made, and so many more records are delivered.
    pub fn wait_delivered(&self, records: u32) {
        cim_services::until("every fault to be made", PATIENCE, || self.broker.faults_waiting() == 0);
        wait_delivered(&self.daemon, records, PATIENCE);
    }

    /// Ends the load; then every invariant has to hold.
    #[must_use]
    pub fn finish(self) -> Outcome {
        self.finish_without(&[])
    }

    /// The same, with lines that the broker refuses: these and no others are dead letters, and not in the topic.
    #[must_use]
    pub fn finish_without(self, refused: &[usize]) -> Outcome {
        let Self { broker, daemon, load, topics, mut before } = self;
        load.wait_for(2_000);
        let slowest = load.slowest_pong();
        let mut published = load.stop();
        published.uncertain.extend(refused.iter().map(|line| *line..line + 1));
        // The store of dead letters keeps its file.
        before.descriptors += usize::from(!refused.is_empty());
        assert_held(&daemon, before, slowest, PATIENCE);
        assert_eq!(broker.faults_waiting(), 0);
        let records = |topic: &str| broker.records(topic).into_iter().map(record).collect::<Vec<_>>();
        let logs = Findings::logs(&records(&topics.logs), &published);
        let events = Findings::events(&records(&topics.events), &published);
        assert!(refused.iter().all(|line| !logs.numbers.contains(line)), "what was refused is there");
        assert_eq!(daemon.metric("cim_records_dead_lettered_total") as usize, refused.len());
        let outcome = Outcome { published, logs, events };
        assert_clean(&daemon, &outcome);
        outcome
    }
}

/// As other readers have it.
fn record(kept: KeptRecord) -> Record {
    let text = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
    Record {
        partition: usize::try_from(kept.partition).unwrap(),
        offset: u64::try_from(kept.offset).unwrap(),
        time: 0,
        key: kept.key,
        value: kept.value,
        headers: kept.headers.into_iter().map(|(name, value)| (name, text(value))).collect(),
    }
}
