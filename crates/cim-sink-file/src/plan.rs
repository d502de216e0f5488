//! A batch, arranged by file.
//!
//! Owns the grouping and the one buffer with the bytes to write. Left out: files. Invariant: within a file the
//! records keep their order; the buffers are used again, so that a record costs no allocation.

use std::collections::HashMap;

use cim_core::{Batch, LogRecord};
use cim_wire::log_file_name;

use crate::open_file::Run;

/// Most containers whose file name is remembered between batches.
const MAX_NAMES: usize = 1_024;

/// Capacity that the buffer keeps between batches; what a larger batch needed is given back.
const KEPT_BYTES: usize = 2 << 20;

/// How many containers are recognised by a look at one place, before a hash of the whole name is needed.
const RECENT: usize = 64;

/// A container met before in this batch.
#[derive(Debug, Clone, Copy, Default)]
struct Recent<'b> {
    is_set: bool,
    name: &'b [u8],
    id: &'b [u8],
    group: usize,
}

/// The place in the table of recent containers: cheap, and only a guess. Names differ at their ends mostly.
fn spot(name: &[u8], id: &[u8]) -> usize {
    let end = |bytes: &[u8]| bytes.last_chunk::<4>().map_or(0, |chunk| u32::from_le_bytes(*chunk));
    let length = u32::try_from(name.len()).unwrap_or(0);
    let mixed = (end(name) ^ end(id).rotate_left(16) ^ length).wrapping_mul(0x9e37_79b1);
    usize::try_from(mixed >> 26).unwrap_or(0)
}

/// The records of one file.
#[derive(Debug, Clone, Copy)]
struct Group {
    /// Position of its name in `names`.
    name: usize,
    /// How many records.
    records: usize,
}

/// The buffers of a batch.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// Known containers: name, NUL, id; and where the file name stands in `names`.
    known: HashMap<Box<[u8]>, usize>,
    names: Vec<String>,
    /// For each known name, its group in this batch.
    group_of_name: Vec<Option<usize>>,
    groups: Vec<Group>,
    /// For each record of the batch, its group.
    group_of_record: Vec<usize>,
    /// Positions in the batch, ordered by group.
    order: Vec<usize>,
    /// Where each record of `order` ends in `data`.
    ends: Vec<usize>,
    data: Vec<u8>,
    key: Vec<u8>,
}

impl Plan {
    /// Arranges log records: raw payload and newline each (wire contract §8.2, FILE).
    pub(crate) fn fill_logs(&mut self, batch: &Batch<LogRecord<'_>>, pod: &str, namespace: &str) {
        self.clear();
        let mut recent = [Recent::default(); RECENT];
        for record in batch {
            let (name, id) = (record.log.container_name.as_ref(), record.log.container_id.as_ref());
            let mut none = Recent::default();
            let seen = recent.get_mut(spot(name, id)).unwrap_or(&mut none);
            let group = if seen.is_set && seen.name == name && seen.id == id {
                seen.group
            } else {
                let group = self.group_of_container(pod, namespace, name, id);
                *seen = Recent { is_set: true, name, id, group };
                group
            };
            self.group_of_record.push(group);
            if let Some(group) = self.groups.get_mut(group) {
                group.records += 1;
            }
        }
        self.sort();
        self.data.reserve(batch.bytes());
        let records = batch.records();
        for position in &self.order {
            if let Some(record) = records.get(*position) {
                self.data.extend_from_slice(record.log.text());
                self.data.push(b'\n');
                self.ends.push(self.data.len());
            }
        }
    }

    /// Arranges records that all go to one file; `encode` appends one record without its newline.
    pub(crate) fn fill_one<R>(
        &mut self,
        name: &str,
        batch: &Batch<R>,
        mut encode: impl FnMut(&R, &mut Vec<u8>),
    ) {
        self.clear();
        let group = self.group_of_key(name.as_bytes(), || name.to_owned());
        if let Some(group) = self.groups.get_mut(group) {
            group.records = batch.len();
        }
        self.data.reserve(batch.bytes());
        for (position, record) in batch.iter().enumerate() {
            encode(record, &mut self.data);
            self.data.push(b'\n');
            self.ends.push(self.data.len());
            self.order.push(position);
        }
    }

    /// The files of this batch: name, records, and their positions in the batch.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, Run<'_>, &[usize])> {
        let mut first = 0;
        self.groups.iter().filter_map(move |group| {
            let range = first..first + group.records;
            let start = first.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
            first = range.end;
            let run = Run { data: &self.data, start, ends: self.ends.get(range.clone())? };
            Some((self.names.get(group.name)?.as_str(), run, self.order.get(range)?))
        })
    }

    fn clear(&mut self) {
        for group in self.groups.drain(..) {
            if let Some(slot) = self.group_of_name.get_mut(group.name) {
                *slot = None;
            }
        }
        if self.names.len() > MAX_NAMES {
            self.known.clear();
            self.names.clear();
            self.group_of_name.clear();
        }
        self.group_of_record.clear();
        self.order.clear();
        self.ends.clear();
        self.data.clear();
        self.data.shrink_to(KEPT_BYTES);
    }

    fn group_of_container(&mut self, pod: &str, namespace: &str, name: &[u8], id: &[u8]) -> usize {
        let mut key = std::mem::take(&mut self.key);
        key.clear();
        key.extend_from_slice(&name.len().to_le_bytes());
        key.extend_from_slice(name);
        key.extend_from_slice(id);
        let group = self.group_of_key(&key, || log_file_name(pod, namespace, name, id));
        self.key = key;
        group
    }

    fn group_of_key(&mut self, key: &[u8], file_name: impl FnOnce() -> String) -> usize {
        let name = match self.known.get(key) {
            Some(name) => *name,
            None => {
                let name = self.names.len();
                self.names.push(file_name());
                self.group_of_name.push(None);
                self.known.insert(key.into(), name);
                name
            }
        };
        match self.group_of_name.get_mut(name) {
            Some(Some(group)) => *group,
            slot => {
                let group = self.groups.len();
                self.groups.push(Group { name, records: 0 });
                if let Some(slot) = slot {
                    *slot = Some(group);
                }
                group
            }
        }
    }

    /// Orders the positions by group, and within a group as they came.
    fn sort(&mut self) {
        if self.groups.len() == 1 {
            self.order.extend(0..self.group_of_record.len());
            return;
        }
        let mut next: Vec<usize> = Vec::with_capacity(self.groups.len());
        let mut first = 0;
        for group in &self.groups {
            next.push(first);
            first += group.records;
        }
        self.order.resize(self.group_of_record.len(), 0);
        for (position, group) in self.group_of_record.iter().enumerate() {
            if let Some(at) = next.get_mut(*group) {
                if let Some(slot) = self.order.get_mut(*at) {
                    *slot = position;
                }
                *at += 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_core::Meta;
    use cim_wire::Log;
    use proptest::prelude::*;

    fn record<'a>(container: &'a [u8], text: &'a [u8]) -> LogRecord<'a> {
        LogRecord {
            meta: Meta { seq: 1, epoch: 1, arrived_ms: 0, redelivered: false },
            headers: None,
            log: Log {
                container_id: b"id".into(),
                container_name: container.into(),
                payload: Some(text.into()),
            },
        }
    }

    fn arranged(plan: &mut Plan, records: &[(u8, Vec<u8>)]) -> Vec<(String, Vec<u8>, Vec<usize>)> {
        let names: Vec<_> = records.iter().map(|(container, _)| [b'a' + container]).collect();
        let records = names.iter().zip(records).map(|(name, (_, text))| record(name, text)).collect();
        plan.fill_logs(&Batch::new(records, 0), "p", "n");
        plan.files()
            .map(|(name, run, positions)| {
                let bytes = run.data[run.start..*run.ends.last().unwrap()].to_vec();
                assert_eq!(run.ends.len(), positions.len());
                (name.to_owned(), bytes, positions.to_vec())
            })
            .collect()
    }

    proptest! {
        #[test]
        fn each_file_gets_its_records_in_order(
            batches in prop::collection::vec(
                prop::collection::vec((0..5_u8, prop::collection::vec(any::<u8>(), 0..9)), 0..40), 1..4,
            )
        ) {
            let mut plan = Plan::default();
            for records in batches {
                let files = arranged(&mut plan, &records);
                let mut seen = 0;
                for (name, bytes, positions) in files {
                    prop_assert!(positions.is_sorted());
                    seen += positions.len();
                    let mut expected = Vec::new();
                    for position in positions {
                        let (container, text) = &records[position];
                        prop_assert_eq!(&name, &format!("p_n_{}-id.log", char::from(b'a' + container)));
                        expected.extend_from_slice(text);
                        expected.push(b'\n');
                    }
                    prop_assert_eq!(bytes, expected);
                }
                prop_assert_eq!(seen, records.len());
            }
        }
    }

    #[test]
    fn many_containers_do_not_grow_it_for_ever() {
        let mut plan = Plan::default();
        for container in 0..5_000_u32 {
            plan.fill_logs(&Batch::new(vec![record(&container.to_le_bytes(), b"x")], 1), "p", "n");
            assert_eq!(plan.files().count(), 1);
        }
        assert!(plan.names.len() <= MAX_NAMES + 1, "{}", plan.names.len());
    }
}
