//! Ratio benches: CIM and its yardstick in one run, in paired slices A B B A A B B A.
//!
//! Leaves out the floors' own code and the servers. Invariant: a line with a figure comes only from slices that were
//! verified message by message or byte by byte; a slice that was not clean voids its line and says why.

mod barrier;
mod broker;
mod configuration;
mod configured;
mod file_sink;
mod ingest;
mod kafka;
mod kafka_service;
mod line;
mod output;
mod pair;
mod process;
mod rig;
mod spool;
mod subscribed;
mod tcp;

pub use line::{Goal, Line, Spread};
pub use pair::{Pairing, Sample, paired};
pub use rig::{KafkaRig, Rig};

use crate::error::Result;

/// A bench by name: what it is called, what it measures, how to run it.
pub struct Bench {
    /// Name on the command line.
    pub name: &'static str,
    /// One line about it.
    pub about: &'static str,
    /// Runs it, giving each line as soon as it is known.
    pub run: fn(&Rig, &mut dyn FnMut(Line)) -> Result<()>,
}

/// Every bench, in the order of `all`.
pub const BENCHES: &[Bench] = &[
    Bench {
        name: "ingest",
        about: "LOG ingest at level written, sink null, against 1:1 of nats-server",
        run: ingest::spooled,
    },
    Bench {
        name: "ingest-memory",
        about: "LOG ingest without spool, against nats-server without subscriber",
        run: ingest::in_memory,
    },
    Bench { name: "file", about: "LOG to files, against the original", run: output::file },
    Bench { name: "stdout", about: "LOG to a pipe, against the original", run: output::stdout },
    Bench { name: "barrier", about: "publish one line, PING, wait for PONG", run: barrier::run },
    Bench { name: "broker", about: "other subjects, 1:1 and 1:4", run: broker::run },
    Bench { name: "spool", about: "spool append against copy, CRC32C and write", run: spool::run },
    Bench { name: "file-sink", about: "file sink against a write loop", run: file_sink::run },
    Bench { name: "tcp", about: "TCP sink, JSON lines, against a write loop", run: tcp::speed },
    Bench {
        name: "tcp-delay",
        about: "publish to readable at a TCP receiver, against a bare relay",
        run: tcp::delay,
    },
    Bench { name: "start", about: "exec to first INFO byte; start with a backlog", run: process::start },
    Bench {
        name: "footprint",
        about: "memory idle and under a dead sink, CPU when idle",
        run: process::footprint,
    },
];

/// Benches of Kafka delivery, in the order of `all-kafka`; the `cim` program needs its Kafka sink for them.
pub const KAFKA_BENCHES: &[Bench] = &[
    Bench { name: "kafka", about: "LOG to Kafka, against librdkafka alone", run: kafka::logs },
    Bench { name: "kafka-events", about: "EVENT to Kafka, against librdkafka alone", run: kafka::events },
    Bench { name: "kafka-latency", about: "one event on an idle system", run: kafka_service::latency },
    Bench { name: "kafka-footprint", about: "memory at 100,000 msg/s", run: kafka_service::footprint },
    Bench { name: "kafka-backlog", about: "drain of a backlog under load", run: kafka_service::backlog },
];

/// Benches of subscribed events, in the order of `all-subscriptions`; the `cim` program needs its Kafka sink for them, and a real
/// Kafka has to be named.
pub const SUBSCRIPTION_BENCHES: &[Bench] = &[Bench {
    name: "subscriptions",
    about: "subscribed events from Kafka to NATS, against a bare consumer",
    run: subscribed::run,
}];

/// Benches of configuration, in the order of `all-configuration`; the `cim` program needs its etcd source for them, and etcd
/// has to be installed.
pub const CONFIGURATION_BENCHES: &[Bench] = &[
    Bench {
        name: "configuration",
        about: "a put in etcd to the body of the call, against a bare watch and a bare call",
        run: configuration::propagation,
    },
    Bench {
        name: "configuration-burst",
        about: "10,000 changes at once: order, rate, memory while they wait",
        run: configuration::burst,
    },
    Bench {
        name: "configuration-register",
        about: "registration of an application that is known",
        run: configuration::registration,
    },
    Bench {
        name: "configuration-idle",
        about: "wakeups and reads of etcd when idle",
        run: configuration::idle,
    },
];
