//! Sink `kafka`: log records and events on topics of a Kafka cluster.
//!
//! | | |
//! |---|---|
//! | log record | topic `logs_topic`, no key, value as the route's `format` says (wire contract §8.2), spread over the partitions |
//! | event | topic `events_topic`, key `md5(nfType:xgvelaId:nfId)`, value its JSON (wire contract §7.1), the original's partition |
//! | time of a record | when its batch begins to enter the client, so that retention counts from there even after an outage |
//!
//! The spool decides, never the client: librdkafka keeps what it was given for as long as an outage lasts, with its
//! sequence numbers, and `deliver` only waits. It gives up after a bounded time, but takes nothing back; when the engine
//! offers the same record again, it is recognised and waited for, so the broker sees each record once. What a producer
//! had not delivered when it had to be replaced is sent again and counted (`cim_kafka_possible_duplicates_total`).
//!
//! [`FEED`] reads the events that applications subscribe to from a topic of the same cluster; [`read_back()`] reads a topic again, for `cim verify`.
//!
//! Left out: retry, batching and queueing (the engine's), creating topics. Invariant: per partition, records are in the
//! order they were offered in; a record that `deliver` does not report is acknowledged by all in-sync replicas.

mod ahead;
mod client_config;
mod delivery;
mod destination;
mod entering;
pub mod error_table;
mod feed;
mod flush;
mod header_list;
mod headers;
mod keeper;
mod ledger;
mod link;
mod openings;
mod outgoing;
mod partition;
mod presets;
pub mod properties;
mod read_back;
mod read_headers;
mod reports;
mod settings;
mod shared;
mod sink;
mod statistics;
mod stored;
mod topic;

use std::sync::Arc;

use cim_core::{LogFormat, Problem, Sink, SinkContext, SinkKind};

pub use feed::{FEED, KafkaFeed};
pub use partition::Partitioning;
pub use read_back::{ReadBack, ReadBackError, TopicRecord, read_back};
pub use settings::{Compression, KafkaSettings, Mechanism, SaslSettings, TlsSettings};
pub use sink::KafkaSink;

/// The registry entry.
pub const KIND: SinkKind = SinkKind {
    name: "kafka",
    summary: "log records and events on topics of a Kafka cluster",
    schema: || serde_json::Value::from(schemars::schema_for!(KafkaSettings)),
    validate,
    build,
};

fn validate(table: &serde_json::Value, _: LogFormat) -> Vec<Problem> {
    match KafkaSettings::read(table) {
        Ok(settings) => settings.problems(),
        Err(problem) => vec![problem],
    }
}

fn build(context: SinkContext, table: &serde_json::Value) -> Result<Sink, Problem> {
    let settings = KafkaSettings::read(table)?;
    Ok(Sink::both(Arc::new(KafkaSink::new(&context, &settings))))
}
