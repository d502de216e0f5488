//! A topic of events as the fault management writes them, and a bare consumer of it: the yardstick of subscriptions.
//!
//! Left out: who subscribes. Invariants: record *i* of the topic is the event `E<i mod 100>`; the consumer reads the whole topic
//! once, in order, and commits nothing.

use std::time::{Duration, Instant};

use cim_testkit::notification_headers;
use rdkafka::Message;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Headers as _, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::Broker;
use crate::clock;
use crate::error::{BenchError, Result};

/// The topic; it has one partition, as in the product.
pub const TOPIC: &str = "FMAASEVENTS";
/// Names of events in the topic.
pub const NAMES: u64 = 100;
/// Bytes of a value.
const VALUE: usize = 512;
/// Longest wait for a record or an acknowledgement.
const PATIENCE: Duration = Duration::from_secs(60);

/// What reading the topic came to.
#[derive(Debug, Clone, Copy)]
pub struct Reading {
    /// Records behind the first.
    pub records: u64,
    /// From the first to the last, seconds.
    pub seconds: f64,
    /// CPU time of this process meanwhile, seconds.
    pub cpu_seconds: f64,
}

/// Adds records until the topic has that many; returns how many it has.
///
/// # Errors
/// The broker refuses, or does not answer in time.
pub fn fill(broker: &Broker, records: u64) -> Result<u64> {
    let servers = broker.bootstrap();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", &servers).set("acks", "all").set("enable.idempotence", "true");
    let producer: BaseProducer = config.create().map_err(failed("make a producer"))?;
    let value = [b'x'; VALUE];
    for number in broker.records(TOPIC)?..records {
        let name = format!("E{}", number % NAMES);
        let mut record = BaseRecord::<(), [u8]>::to(TOPIC).payload(&value).headers(headers(&name));
        while let Err((error, same)) = producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(failed("fill the topic")(error));
            }
            producer.poll(Duration::from_millis(1));
            record = same;
        }
    }
    producer.flush(PATIENCE).map_err(failed("fill the topic"))?;
    let there = broker.records(TOPIC)?;
    if there < records {
        return Err(BenchError::Unclean(format!("{there} of {records} records are in {TOPIC}")));
    }
    Ok(there)
}

fn headers(name: &str) -> OwnedHeaders {
    let pairs = notification_headers(name);
    pairs.iter().fold(OwnedHeaders::new_with_capacity(pairs.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: Some(*value) })
    })
}

/// Reads that many records with librdkafka alone, and looks at every header.
///
/// # Errors
/// The broker does not give them in time.
pub fn read(servers: &str, records: u64) -> Result<Reading> {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", servers)
        .set("group.id", "cim-bench-raw")
        .set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().map_err(failed("make a consumer"))?;
    let mut place = TopicPartitionList::new();
    place.add_partition_offset(TOPIC, 0, Offset::Beginning).map_err(failed("name the topic"))?;
    consumer.assign(&place).map_err(failed("take the topic"))?;
    let (mut begin, mut read, mut seen) = (None, 0u64, 0usize);
    while read < records {
        let missing = || BenchError::Unclean(format!("{read} of {records} records read"));
        let message = consumer.poll(PATIENCE).ok_or_else(missing)?.map_err(failed("read the topic"))?;
        begin.get_or_insert_with(|| (Instant::now(), clock::process_cpu_seconds()));
        let values = message.headers().into_iter().flat_map(|headers| headers.iter());
        seen = seen.wrapping_add(values.filter_map(|header| header.value).map(<[u8]>::len).sum());
        seen = seen.wrapping_add(message.payload().map_or(0, <[u8]>::len));
        read = read.saturating_add(1);
    }
    std::hint::black_box(seen);
    let (start, cpu) = begin.ok_or_else(|| BenchError::Unclean("no record read".into()))?;
    Ok(Reading {
        records: records.saturating_sub(1),
        seconds: start.elapsed().as_secs_f64(),
        cpu_seconds: clock::process_cpu_seconds() - cpu,
    })
}

fn failed(what: &str) -> impl FnOnce(KafkaError) -> BenchError {
    let what = format!("librdkafka: {what}");
    move |source| BenchError::Kafka { what, source }
}
