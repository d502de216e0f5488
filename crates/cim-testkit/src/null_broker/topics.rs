//! Partitions of the null broker: offsets, sequences of producers, and records where they are kept.
//!
//! Left out: the protocol. Invariant: a batch is appended once: what a producer repeats is found by its sequence and answered
//! with the offset it has.

use std::collections::{BTreeMap, HashMap, VecDeque};

use super::batch::{Batch, Record, Refused};
use super::code;

/// Batches of a producer that a real broker remembers to recognise repetitions.
const REMEMBERED: usize = 5;

/// A record that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptRecord {
    /// Its partition.
    pub partition: i32,
    /// Its offset there.
    pub offset: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, in order.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// What a partition knows of one producer.
#[derive(Debug)]
struct Producer {
    epoch: i16,
    next: i32,
    /// First sequence and offset of the last batches.
    recent: VecDeque<(i32, i64)>,
}

#[derive(Debug, Default)]
struct Partition {
    end: i64,
    producers: HashMap<i64, Producer>,
    records: Vec<KeptRecord>,
}

/// All topics.
#[derive(Debug, Default)]
pub(super) struct Topics {
    topics: BTreeMap<String, Vec<Partition>>,
    pub(super) keeps_records: bool,
    poison: Vec<(Vec<u8>, i16)>,
}

impl Topics {
    pub(super) fn create(&mut self, name: &str, partitions: usize) {
        let topic = self.topics.entry(name.to_owned()).or_default();
        topic.resize_with(partitions.max(topic.len()), Partition::default);
    }

    pub(super) fn delete(&mut self, name: &str) {
        self.topics.remove(name);
    }

    pub(super) fn poison(&mut self, text: &[u8], error: i16) {
        self.poison.push((text.to_vec(), error));
    }

    /// Forgets all producers, as a broker does that lost their state.
    pub(super) fn forget_producers(&mut self) {
        for partition in self.topics.values_mut().flatten() {
            partition.producers.clear();
        }
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.topics.keys().cloned().collect()
    }

    /// None for a topic that does not exist.
    pub(super) fn partitions(&self, name: &str) -> Option<usize> {
        self.topics.get(name).map(Vec::len)
    }

    pub(super) fn end_offsets(&self, name: &str) -> Vec<i64> {
        self.topics.get(name).into_iter().flatten().map(|partition| partition.end).collect()
    }

    pub(super) fn records(&self, name: &str) -> Vec<KeptRecord> {
        self.topics.get(name).into_iter().flatten().flat_map(|partition| partition.records.clone()).collect()
    }

    /// Whether batches have to be looked into.
    pub(super) fn reads_records(&self) -> bool {
        self.keeps_records || !self.poison.is_empty()
    }

    /// Appends a batch; its offset, or the error code of the broker.
    pub(super) fn append(
        &mut self,
        topic: &str,
        partition: i32,
        batch: Result<(Batch<'_>, Vec<Record<'_>>), Refused>,
    ) -> Result<i64, i16> {
        let (batch, records) = batch.map_err(|refused| match refused {
            Refused::Corrupt => code::CORRUPT_MESSAGE,
            Refused::Invalid => code::INVALID_RECORD,
        })?;
        let place = usize::try_from(partition).ok();
        let found = self.topics.get_mut(topic).and_then(|topic| topic.get_mut(place?));
        let kept = found.ok_or(code::UNKNOWN_TOPIC_OR_PARTITION)?;
        for record in &records {
            let value = record.value.unwrap_or_default();
            let hit = self.poison.iter().find(|(text, _)| memchr::memmem::find(value, text).is_some());
            hit.map_or(Ok(()), |(_, error)| Err(*error))?;
        }
        if let Some(offset) = kept.repeated(&batch)? {
            return Ok(offset);
        }
        let offset = kept.end;
        kept.end = offset.saturating_add(i64::from(batch.count));
        if self.keeps_records {
            kept.keep(partition, offset, &records);
        }
        Ok(offset)
    }
}

impl Partition {
    /// Checks the sequence; the offset of a batch that is here already.
    fn repeated(&mut self, batch: &Batch<'_>) -> Result<Option<i64>, i16> {
        if batch.producer_id < 0 {
            return Ok(None);
        }
        let end = self.end;
        let fresh = Producer { epoch: batch.producer_epoch, next: 0, recent: VecDeque::new() };
        let known = self.producers.contains_key(&batch.producer_id);
        if !known && batch.first_sequence != 0 {
            return Err(code::UNKNOWN_PRODUCER_ID);
        }
        let producer = self.producers.entry(batch.producer_id).or_insert(fresh);
        if batch.producer_epoch < producer.epoch {
            return Err(code::INVALID_PRODUCER_EPOCH);
        }
        if batch.producer_epoch > producer.epoch {
            *producer = Producer { epoch: batch.producer_epoch, next: 0, recent: VecDeque::new() };
        }
        if let Some((_, offset)) = producer.recent.iter().find(|(first, _)| *first == batch.first_sequence) {
            return Ok(Some(*offset));
        }
        if batch.first_sequence != producer.next {
            return Err(code::OUT_OF_ORDER_SEQUENCE);
        }
        producer.next = batch.next_sequence();
        producer.recent.push_back((batch.first_sequence, end));
        if producer.recent.len() > REMEMBERED {
            producer.recent.pop_front();
        }
        Ok(None)
    }

    fn keep(&mut self, partition: i32, first: i64, records: &[Record<'_>]) {
        for (offset, record) in (first..).zip(records) {
            self.records.push(KeptRecord {
                partition,
                offset,
                key: record.key.map(<[u8]>::to_vec),
                value: record.value.map(<[u8]>::to_vec),
                headers: record.headers.clone(),
            });
        }
    }
}
