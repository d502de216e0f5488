//! Which partition a record goes to.
//!
//! Owns the hash of the original for records with a key (C §7) and the two ways for records without one. Left out: how
//! many partitions there are. Invariant: a partition is at least 0 and below the number of partitions.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How log records, which have no key, are spread over the partitions.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// Evenly in bytes, whatever the containers send. The order of a container holds within a partition.
    #[default]
    Spread,
    /// All records of a container in one partition, in order.
    BySource,
}

/// Bytes that go to one partition before the next one has its turn: small enough to be even, large enough for requests
/// that carry many records.
const RUN_BYTES: u64 = 64 << 10;

/// The partition of a record with a key: FNV-1a as a signed number, remainder, absolute value (C §7, §14.4).
pub(crate) fn of_key(key: &[u8], partitions: i32) -> i32 {
    // The only overflow, i32::MIN % -1, needs a negative number of partitions.
    (fnv1a([key]).cast_signed() % partitions.max(1)).abs()
}

/// The partition of all records of a source.
pub(crate) fn of_source(name: &[u8], id: &[u8], partitions: i32) -> i32 {
    // A zero byte between the two: no pair of names can be mistaken for another.
    (fnv1a([name, &[0], id]).cast_signed() % partitions.max(1)).abs()
}

fn fnv1a<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u32 {
    let bytes = parts.into_iter().flatten();
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193))
}

/// Even spreading: the partition that has had the fewest bytes is next. With one record at a time that is the original's
/// strict turn; under load each partition gets runs, so that requests stay large.
#[derive(Debug, Default)]
pub(crate) struct Spread {
    given: Vec<u64>,
    current: usize,
    /// Bytes the current partition may still get.
    left: u64,
}

impl Spread {
    /// A batch begins: the next partition has its turn.
    pub(crate) fn turn(&mut self) {
        self.left = 0;
    }

    /// The partition of a record of that many bytes.
    pub(crate) fn next(&mut self, bytes: usize, partitions: i32) -> i32 {
        let count = usize::try_from(partitions).unwrap_or(1).max(1);
        if self.given.len() != count {
            self.given = vec![0; count];
            self.left = 0;
        }
        if self.left == 0 {
            // The first of several equals after the current one, so that equals take turns.
            let after = (1..=count).map(|step| (self.current + step) % count);
            self.current = after.min_by_key(|at| self.given.get(*at)).unwrap_or(0);
            self.left = RUN_BYTES;
        }
        // A record counts with what it costs beside its bytes, so that empty ones take turns, too.
        let weight = bytes as u64 + 64;
        self.left = self.left.saturating_sub(weight);
        if let Some(given) = self.given.get_mut(self.current) {
            *given += weight;
        }
        i32::try_from(self.current).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The vectors of C §14.4, and the recorded partitions of the original.
    #[test]
    fn keys_go_where_the_original_sends_them() {
        let (nf, amf) = (b"7fc42234253dc713734010915cfa3fe6", b"e5c437c4b15eb82bf5d21c2e4c53cdd2");
        for (key, of_five, of_three) in [(&nf[..], 0, 1), (&amf[..], 2, 2), (&b"EVENT"[..], 2, 1)] {
            assert_eq!((of_key(key, 5), of_key(key, 3)), (of_five, of_three), "{}", key.escape_ascii());
        }
        assert_eq!(fnv1a([&b"EVENT"[..]]), 0x0e1c_ebff);
    }

    #[test]
    fn single_records_take_strict_turns() {
        let mut spread = Spread::default();
        let mut seen = Vec::new();
        for _ in 0..6 {
            spread.turn();
            seen.push(spread.next(100, 3));
        }
        assert_eq!(seen, [1, 2, 0, 1, 2, 0]);
    }

    proptest! {
        #[test]
        fn a_partition_is_always_one_of_them(key: Vec<u8>, id: Vec<u8>, partitions in 1..2_000_i32) {
            prop_assert!((0..partitions).contains(&of_key(&key, partitions)));
            prop_assert!((0..partitions).contains(&of_source(&key, &id, partitions)));
        }

        /// No partition is ever more than one run and one record ahead of another.
        #[test]
        fn partitions_stay_even(sizes in proptest::collection::vec((0..20_000_usize, any::<bool>()), 1..600), partitions in 1..17_i32) {
            let mut spread = Spread::default();
            for (size, turn) in sizes {
                if turn {
                    spread.turn();
                }
                let partition = spread.next(size, partitions);
                prop_assert!((0..partitions).contains(&partition));
            }
            let most = spread.given.iter().max().copied().unwrap_or(0);
            let least = spread.given.iter().min().copied().unwrap_or(0);
            prop_assert!(most - least <= RUN_BYTES + 20_064, "{:?}", spread.given);
        }
    }
}
