//! The broker that both sides of a bench write to: the null broker in this process, or a real one.
//!
//! Left out: starting a real one. Invariant: what a side claims is compared with the offsets of the broker.

use std::time::Duration;

use cim_testkit::null_broker::NullBroker;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;

use crate::error::{BenchError, Result};

/// Longest wait for an answer of a real broker.
const PATIENCE: Duration = Duration::from_secs(10);

/// A broker with topics LOGS and EVENT.
pub enum Broker {
    /// In this process.
    Null(NullBroker),
    /// Bootstrap servers and a client that asks for offsets.
    Real(String, BaseConsumer),
}

impl Broker {
    /// A null broker, or the real one at those bootstrap servers, which must have the topics.
    ///
    /// # Errors
    /// No port, or no client.
    pub fn at(real: Option<&str>) -> Result<Self> {
        match real {
            None => NullBroker::start(&[("LOGS", 10), ("EVENT", 5)])
                .map(Self::Null)
                .map_err(BenchError::io("start the null broker")),
            Some(servers) => {
                let mut config = ClientConfig::new();
                config.set("bootstrap.servers", servers).set("group.id", "cim-bench");
                Ok(Self::Real(servers.to_owned(), config.create().map_err(asking)?))
            }
        }
    }

    /// Where to connect first.
    #[must_use]
    pub fn bootstrap(&self) -> String {
        match self {
            Self::Null(broker) => broker.address().to_string(),
            Self::Real(servers, _) => servers.clone(),
        }
    }

    /// For people.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Null(_) => "null broker",
            Self::Real(..) => "real broker",
        }
    }

    /// Records of a topic so far, over all partitions.
    ///
    /// # Errors
    /// A real broker does not answer.
    pub fn records(&self, topic: &str) -> Result<u64> {
        match self {
            Self::Null(broker) => Ok(broker.end_offsets(topic).iter().map(|end| end.unsigned_abs()).sum()),
            Self::Real(_, client) => {
                let metadata = client.fetch_metadata(Some(topic), PATIENCE).map_err(asking)?;
                let partitions =
                    metadata.topics().iter().flat_map(rdkafka::metadata::MetadataTopic::partitions);
                let mut sum = 0u64;
                for partition in partitions {
                    let ends = client.fetch_watermarks(topic, partition.id(), PATIENCE).map_err(asking)?;
                    sum = sum.saturating_add(ends.1.unsigned_abs());
                }
                Ok(sum)
            }
        }
    }
}

fn asking(source: KafkaError) -> BenchError {
    BenchError::Kafka { what: "ask the broker".into(), source }
}
