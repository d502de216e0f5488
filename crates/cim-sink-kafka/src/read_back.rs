//! Reads a topic from one offset to another, once, without a consumer group.
//!
//! Owns partitions, offsets and the headers of [`headers`](crate::headers). Left out: what the records should be.
//! Invariant: every record between the ends of a partition is handed out once, in order, whatever its bytes are, or there is an error.

use std::time::{Duration, Instant};

use rdkafka::Message;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use crate::read_headers;

/// How long a broker may take for one answer, and the next record to arrive.
const PATIENCE: Duration = Duration::from_secs(30);
/// One wait for a record.
const POLL: Duration = Duration::from_millis(100);

/// What to read.
#[derive(Debug, Clone, Default)]
pub struct ReadBack {
    /// Brokers to ask first, `host:port`.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// First offset, of one partition or (None) of all others. Default: the oldest record.
    pub from: Vec<(Option<i32>, i64)>,
    /// Offset behind the last, of one partition or (None) of all others. Default: the end at the time of the call.
    pub to: Vec<(Option<i32>, i64)>,
    /// Properties of the client library, secrets included. The last of a name wins.
    pub properties: Vec<(String, String)>,
}

/// One record of a topic.
#[derive(Debug, Clone, Copy)]
pub struct TopicRecord<'a> {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Header `cim-epoch`, if it is one.
    pub epoch: Option<u64>,
    /// Header `cim-seq`, if it is one.
    pub seq: Option<u64>,
    /// Header `cim-id`; empty without it.
    pub id: &'a str,
    /// Its value; empty for a null one.
    pub value: &'a [u8],
}

/// A topic could not be read whole.
#[derive(Debug, thiserror::Error)]
pub enum ReadBackError {
    /// The client library refuses the properties.
    #[error("make a consumer of these properties")]
    Properties(#[source] KafkaError),
    /// No broker told about the topic.
    #[error("ask the brokers about topic {topic}")]
    Topic {
        /// About what.
        topic: String,
        /// Why not.
        #[source]
        source: KafkaError,
    },
    /// The topic does not exist.
    #[error("there is no topic {0}")]
    Unknown(String),
    /// A partition could not be read.
    #[error("read partition {partition} at offset {offset}")]
    Partition {
        /// The partition.
        partition: i32,
        /// Where it stopped.
        offset: i64,
        /// Why.
        #[source]
        source: KafkaError,
    },
    /// A partition gives no more records before its end.
    #[error("partition {partition} gave no record at offset {offset} of {end} for {} s", PATIENCE.as_secs())]
    Silent {
        /// The partition.
        partition: i32,
        /// Where it stopped.
        offset: i64,
        /// Where it should end.
        end: i64,
    },
}

/// Hands out every record of the topic, partition by partition. Blocks; for a command line or a test.
///
/// # Errors
/// The topic could not be read to its end; what was read before has been handed out.
pub fn read_back(request: &ReadBack, mut found: impl FnMut(TopicRecord<'_>)) -> Result<(), ReadBackError> {
    let consumer = consumer(request).map_err(ReadBackError::Properties)?;
    for partition in partitions(&consumer, request)? {
        let (oldest, newest) = consumer
            .fetch_watermarks(&request.topic, partition, PATIENCE)
            .map_err(|source| ReadBackError::Partition { partition, offset: 0, source })?;
        let from = limit(&request.from, partition).map_or(oldest, |from| from.max(oldest));
        let end = limit(&request.to, partition).map_or(newest, |to| to.min(newest));
        if from < end {
            read_partition(&consumer, &request.topic, partition, from..end, &mut found)?;
        }
    }
    Ok(())
}

fn consumer(request: &ReadBack) -> Result<BaseConsumer, KafkaError> {
    let mut config = ClientConfig::new();
    config.set_log_level(RDKafkaLogLevel::Error);
    config.set("bootstrap.servers", request.brokers.join(","));
    // Required by the library; nothing is ever committed under it.
    config.set("group.id", "cim-verify");
    for (name, value) in &request.properties {
        config.set(name, value);
    }
    config.set("enable.auto.commit", "false").set("enable.partition.eof", "true").set("check.crcs", "true");
    // What the topic has dropped since the question for its ends must not be jumped over.
    config.set("auto.offset.reset", "error");
    config.create()
}

fn partitions(consumer: &BaseConsumer, request: &ReadBack) -> Result<Vec<i32>, ReadBackError> {
    let topic = || request.topic.clone();
    let asked = |source| ReadBackError::Topic { topic: topic(), source };
    let metadata = consumer.fetch_metadata(Some(&request.topic), PATIENCE).map_err(asked)?;
    let known = metadata.topics().iter().find(|known| known.name() == request.topic);
    let known = known.ok_or_else(|| ReadBackError::Unknown(topic()))?;
    if let Some(error) = known.error() {
        let code = RDKafkaErrorCode::from(error);
        if code == RDKafkaErrorCode::UnknownTopicOrPartition {
            return Err(ReadBackError::Unknown(topic()));
        }
        return Err(asked(KafkaError::MetadataFetch(code)));
    }
    Ok(known.partitions().iter().map(|partition| partition.id()).collect())
}

/// The offset given for a partition, else that for all.
fn limit(given: &[(Option<i32>, i64)], partition: i32) -> Option<i64> {
    let of =
        |wanted: Option<i32>| given.iter().rev().find(|(at, _)| *at == wanted).map(|(_, offset)| *offset);
    of(Some(partition)).or_else(|| of(None))
}

fn read_partition(
    consumer: &BaseConsumer,
    topic: &str,
    partition: i32,
    range: std::ops::Range<i64>,
    found: &mut impl FnMut(TopicRecord<'_>),
) -> Result<(), ReadBackError> {
    let mut next = range.start;
    let failed = |offset| move |source| ReadBackError::Partition { partition, offset, source };
    let mut assignment = TopicPartitionList::new();
    assignment
        .add_partition_offset(topic, partition, Offset::Offset(next))
        .and_then(|()| consumer.assign(&assignment))
        .map_err(failed(next))?;
    let mut last = Instant::now();
    while next < range.end {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                // What the partition before this one still had in its queue is not of this one.
                if message.partition() != partition {
                    continue;
                }
                if message.offset() >= range.end {
                    break;
                }
                next = message.offset().saturating_add(1);
                found(record(&message));
                last = Instant::now();
            }
            // The marks of transactions take offsets and are no records: the end may come before its number.
            Some(Err(KafkaError::PartitionEOF(at))) if at == partition => break,
            // Lost connections are repaired by the library; only silence is the end.
            Some(Err(error)) if is_fatal(&error) => return Err(failed(next)(error)),
            Some(Err(_)) | None if last.elapsed() > PATIENCE => {
                return Err(ReadBackError::Silent { partition, offset: next, end: range.end });
            }
            Some(Err(_)) | None => {}
        }
    }
    Ok(())
}

/// Whether waiting cannot help.
fn is_fatal(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        Authentication, AutoOffsetReset, Fatal, TopicAuthorizationFailed, UnknownTopicOrPartition,
    };
    let code = error.rdkafka_error_code();
    code.is_some_and(|code| {
        matches!(
            code,
            Authentication | AutoOffsetReset | Fatal | TopicAuthorizationFailed | UnknownTopicOrPartition
        )
    })
}

fn record<'m>(message: &'m BorrowedMessage<'_>) -> TopicRecord<'m> {
    let (mut epoch, mut seq, mut id) = (None, None, None);
    for (name, value) in read_headers::of(message) {
        let header = match name {
            "cim-epoch" => &mut epoch,
            "cim-seq" => &mut seq,
            "cim-id" => &mut id,
            _ => continue,
        };
        // The first of a name counts.
        header.get_or_insert(value);
    }
    let text = |value: Option<&'m [u8]>| value.and_then(|value| std::str::from_utf8(value).ok());
    TopicRecord {
        partition: message.partition(),
        offset: message.offset(),
        epoch: text(epoch).and_then(|hex| u64::from_str_radix(hex, 16).ok()),
        seq: text(seq).and_then(|decimal| decimal.parse().ok()),
        id: text(id).unwrap_or_default(),
        value: message.payload().unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::limit;

    #[test]
    fn an_offset_of_one_partition_comes_before_that_of_all() {
        let given = [(None, 10), (Some(1), 5), (None, 20)];
        assert_eq!((limit(&given, 1), limit(&given, 2), limit(&[], 2)), (Some(5), Some(20), None));
    }
}
