//! What arrived of one numbered sequence: counts, order, repetitions, gaps.
//!
//! A *rewind* is a number that is not newer than the one before it. A replay after a kill is one rewind however many
//! records it repeats; an *inversion* is a number that arrives for the first time after a newer one. Left out: which
//! numbers should be there at the ends. Invariant: every arrival is received or a duplicate, never both.

use crate::bitmap::{Added, Bitmap};

/// Repeated numbers kept by name; more are only counted.
const REPEATS_KEPT: usize = 1 << 20;

/// One sequence, one bit per number.
#[derive(Debug, Clone, Default)]
pub struct Sequence {
    seen: Bitmap,
    received: u64,
    repeats: Vec<u64>,
    duplicates: u64,
    inversions: u64,
    rewinds: u64,
    deepest_rewind: u64,
    first: u64,
    last: u64,
    highest: u64,
}

impl Sequence {
    /// A number arrived; says whether for the first time.
    pub fn arrived(&mut self, number: u64) -> Added {
        let added = self.seen.add(number);
        match added {
            Added::New => {
                self.first = if self.received == 0 { number } else { self.first.min(number) };
                self.received = self.received.saturating_add(1);
                if number < self.highest {
                    self.inversions = self.inversions.saturating_add(1);
                }
            }
            Added::Again => {
                self.duplicates = self.duplicates.saturating_add(1);
                if self.repeats.len() < REPEATS_KEPT {
                    self.repeats.push(number);
                }
            }
        }
        if number <= self.last {
            self.rewinds = self.rewinds.saturating_add(1);
            let depth = self.highest.saturating_sub(number).saturating_add(1);
            self.deepest_rewind = self.deepest_rewind.max(depth);
        }
        self.last = number;
        self.highest = self.highest.max(number);
        added
    }

    /// Whether that number has arrived.
    #[must_use]
    pub fn holds(&self, number: u64) -> bool {
        self.seen.holds(number)
    }

    /// Different numbers that arrived.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Arrivals that repeated an earlier one.
    #[must_use]
    pub fn duplicates(&self) -> u64 {
        self.duplicates
    }

    /// The repeated numbers in order of arrival, at most 2^20 of them.
    #[must_use]
    pub fn repeats(&self) -> &[u64] {
        &self.repeats
    }

    /// Numbers that arrived for the first time after a newer one.
    #[must_use]
    pub fn inversions(&self) -> u64 {
        self.inversions
    }

    /// Times the sequence went back.
    #[must_use]
    pub fn rewinds(&self) -> u64 {
        self.rewinds
    }

    /// Numbers the deepest of these times reached back.
    #[must_use]
    pub fn deepest_rewind(&self) -> u64 {
        self.deepest_rewind
    }

    /// Lowest number that arrived; 0 for none.
    #[must_use]
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Highest number that arrived; 0 for none.
    #[must_use]
    pub fn highest(&self) -> u64 {
        self.highest
    }

    /// Numbers missing between the first and the highest.
    #[must_use]
    pub fn gaps(&self) -> u64 {
        // In this order it holds for numbers from 0 to the highest there is, of which there is one more than a u64 can say.
        self.highest.saturating_sub(self.first).saturating_sub(self.received.saturating_sub(1))
    }

    /// The first of the missing numbers, at most `limit` of them.
    #[must_use]
    pub fn missing(&self, limit: usize) -> Vec<u64> {
        if self.gaps() == 0 {
            return Vec::new();
        }
        let missing_from = |from| self.seen.next_missing(from).filter(|number| *number < self.highest);
        let next = |number: &u64| missing_from(number.saturating_add(1));
        std::iter::successors(missing_from(self.first), next).take(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(numbers: &[u64]) -> Sequence {
        let mut sequence = Sequence::default();
        for number in numbers {
            sequence.arrived(*number);
        }
        sequence
    }

    #[test]
    fn a_dense_sequence_that_starts_anywhere_is_clean() {
        let clean = of(&[7, 8, 9, 10]);
        assert_eq!((clean.received(), clean.gaps(), clean.duplicates(), clean.inversions()), (4, 0, 0, 0));
        assert_eq!((of(&[]).gaps(), of(&[]).missing(8)), (0, vec![]));
    }

    #[test]
    fn dropped_doubled_and_swapped_are_three_different_things() {
        let dropped = of(&[1, 2, 4, 5, 8]);
        assert_eq!((dropped.gaps(), dropped.missing(2)), (3, vec![3, 6]));
        assert_eq!((dropped.duplicates(), dropped.inversions()), (0, 0));
        let doubled = of(&[1, 2, 2, 3]);
        assert_eq!((doubled.gaps(), doubled.duplicates(), doubled.inversions()), (0, 1, 0));
        let swapped = of(&[1, 3, 2, 4]);
        assert_eq!((swapped.gaps(), swapped.duplicates(), swapped.inversions()), (0, 0, 1));
    }

    #[test]
    fn a_replay_is_one_rewind() {
        let replayed = of(&[1, 2, 3, 4, 3, 4, 5]);
        assert_eq!((replayed.rewinds(), replayed.deepest_rewind(), replayed.duplicates()), (1, 2, 2));
        assert_eq!((replayed.repeats(), replayed.inversions()), (&[3, 4][..], 0));
    }
}
