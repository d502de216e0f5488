//! Where reading begins that never began before.
//!
//! Owns the offsets of partitions for which the group has none: they are committed before anything is read. The invariant: from
//! then on a record that is added will be read, whatever happens to this process.

use std::time::Duration;

use cim_core::{SourceError, clock};
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};

use super::context::Consumer;
use super::source::failure;

/// How long the cluster may take for one answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where to begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beginning {
    /// With the next record.
    Next,
    /// So long before now.
    Ago(Duration),
    /// With the oldest record that there is.
    Oldest,
}

/// Fixes the places that are not fixed yet; `false`: there is no such topic. Blocks.
///
/// # Errors
/// The cluster cannot be asked.
pub(super) fn fix(consumer: &Consumer, topic: &str, beginning: Beginning) -> Result<bool, SourceError> {
    let Some(partitions) = partitions(consumer, topic)? else { return Ok(false) };
    let known = committed(consumer, partitions)?;
    let unknown = known.elements().into_iter().filter(|element| element.offset() == Offset::Invalid);
    let unknown: Vec<i32> = unknown.map(|element| element.partition()).collect();
    if unknown.is_empty() {
        return Ok(true);
    }
    let mut places = match beginning {
        Beginning::Ago(span) => at_time(consumer, topic, &unknown, span)?,
        Beginning::Next | Beginning::Oldest => TopicPartitionList::new(),
    };
    for partition in unknown {
        let given = places.find_partition(topic, partition).map(|place| place.offset());
        if let Some(Offset::Offset(_)) = given {
            continue;
        }
        let ends = consumer.fetch_watermarks(topic, partition, PATIENCE);
        let (oldest, next) = ends.map_err(|error| failure("ask for the ends of the topic", error))?;
        let place = if beginning == Beginning::Oldest { oldest } else { next };
        let set = match given {
            Some(_) => places.set_partition_offset(topic, partition, Offset::Offset(place)),
            None => places.add_partition_offset(topic, partition, Offset::Offset(place)),
        };
        set.map_err(|error| failure("name the place to begin at", error))?;
    }
    let done = consumer.commit(&places, CommitMode::Sync);
    done.map(|()| true).map_err(|error| failure("commit the place to begin at", error))
}

/// `None`: there is no such topic.
fn partitions(consumer: &Consumer, topic: &str) -> Result<Option<TopicPartitionList>, SourceError> {
    let metadata = consumer.fetch_metadata(Some(topic), PATIENCE);
    let metadata = metadata.map_err(|error| failure("ask for the topic", error))?;
    let found = metadata.topics().iter().find(|known| known.name() == topic);
    let mut list = TopicPartitionList::new();
    for partition in found.into_iter().flat_map(|topic| topic.partitions()) {
        list.add_partition(topic, partition.id());
    }
    match found.and_then(|topic| topic.error()).map(RDKafkaErrorCode::from) {
        None if list.count() > 0 => Ok(Some(list)),
        None | Some(RDKafkaErrorCode::UnknownTopicOrPartition) => Ok(None),
        Some(code) => Err(failure("ask for the topic", KafkaError::MetadataFetch(code))),
    }
}

fn committed(consumer: &Consumer, list: TopicPartitionList) -> Result<TopicPartitionList, SourceError> {
    let known = consumer.committed_offsets(list, PATIENCE);
    known.map_err(|error| failure("ask how far the topic was read", error))
}

/// The first records not older than that; a partition without one has no offset here.
fn at_time(
    consumer: &Consumer,
    topic: &str,
    partitions: &[i32],
    span: Duration,
) -> Result<TopicPartitionList, SourceError> {
    let span = u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let time = i64::try_from(clock::now_ms().saturating_sub(span)).unwrap_or(i64::MAX);
    let mut times = TopicPartitionList::new();
    for partition in partitions {
        let added = times.add_partition_offset(topic, *partition, Offset::Offset(time));
        added.map_err(|error| failure("name a time", error))?;
    }
    let found = consumer.offsets_for_times(times, PATIENCE);
    found.map_err(|error| failure("ask for the records of a time", error))
}
