//! Which partition a record goes to.
//!
//! Owns the hash of the original (FNV-1a) for records with a key (wire contract §7) and the two ways for records without one. Left out: how
//! many partitions there are. Invariant: a partition is at least 0 and below the number of partitions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How log records, which have no key, are spread over the partitions.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// Evenly, whatever the containers send. The order of a container holds within a partition.
    #[default]
    Spread,
    /// All records of a container in one partition, in order.
    BySource,
}

/// Records that go to one partition before the next one has its turn: enough for requests that carry many records, few enough
/// that a window of large ones (7.5 MiB) still reaches several partitions and their brokers.
const RUN: u64 = 256;

/// A record key and its hash, which is the same for all records of a pod.
#[derive(Debug)]
pub(crate) struct Key {
    text: String,
    hash: u32,
}

impl Key {
    pub(crate) fn new(text: String) -> Self {
        Self { hash: fnv1a([text.as_bytes()]), text }
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The partition of a record with this key (wire contract §8.5).
    pub(crate) fn partition(&self, partitions: i32) -> i32 {
        of_hash(self.hash, partitions)
    }
}

/// The partition of all records of a source.
pub(crate) fn of_source(name: &[u8], id: &[u8], partitions: i32) -> i32 {
    // A zero byte between the two: no pair of names can be mistaken for another.
    of_hash(fnv1a([name, &[0], id]), partitions)
}

/// The hash as a signed number, remainder, absolute value.
fn of_hash(hash: u32, partitions: i32) -> i32 {
    // The only overflow, i32::MIN % -1, needs a negative number of partitions.
    (hash.cast_signed() % partitions.max(1)).abs()
}

fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// The partition of a record that is spread: turns of [`RUN`] records.
///
/// It follows from the number of the record alone. A record that is sent again, by the next producer or after a restart of the
/// program, thus goes where its first copy went; anywhere else it would come behind later records of its source.
pub(crate) fn of_number(seq: u64, partitions: i32) -> i32 {
    let count = u64::try_from(partitions).unwrap_or(1).max(1);
    i32::try_from(seq / RUN % count).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Known keys, and the recorded partitions of the original.
    #[test]
    fn keys_go_where_the_original_sends_them() {
        let (nf, amf) = ("7fc42234253dc713734010915cfa3fe6", "e5c437c4b15eb82bf5d21c2e4c53cdd2");
        for (key, of_five, of_three) in [(nf, 0, 1), (amf, 2, 2), ("EVENT", 2, 1)] {
            let of = Key::new(key.to_owned());
            assert_eq!((of.partition(5), of.partition(3)), (of_five, of_three), "{key}");
        }
        assert_eq!(fnv1a([&b"EVENT"[..]]), 0x0e1c_ebff);
    }

    #[test]
    fn spread_records_take_turns_of_a_run() {
        let turns: Vec<i32> = (0..7 * RUN).map(|seq| of_number(seq, 3)).collect();
        assert!(turns.chunks(256).map(|run| run[0]).eq([0, 1, 2, 0, 1, 2, 0]));
        assert!(turns.chunks(256).all(|run| run.iter().all(|partition| *partition == run[0])));
    }

    proptest! {
        #[test]
        fn a_partition_is_always_one_of_them(key: String, id: Vec<u8>, seq: u64, partitions in 1..2_000_i32) {
            prop_assert!((0..partitions).contains(&of_source(key.as_bytes(), &id, partitions)));
            prop_assert!((0..partitions).contains(&Key::new(key).partition(partitions)));
            prop_assert!((0..partitions).contains(&of_number(seq, partitions)));
        }
    }
}
