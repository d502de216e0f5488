//! The intervals that wait to be fetched.
//!
//! Owns how many are kept, and that their bytes are part of the budget of the process. Left out: what is in a page. Invariants: the
//! oldest is dropped first, and counted; no two have the same tick; what a scraper has taken and not received comes back.

use std::collections::VecDeque;
use std::sync::Arc;

use cim_core::budget::Budget;

/// A page as an exporter gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// The port it came from.
    pub port: u16,
    /// The page; it can be read.
    pub text: String,
}

/// What was read at one tick.
#[derive(Debug)]
pub struct Bucket {
    /// The tick, milliseconds since the Unix epoch.
    pub tick_ms: u64,
    /// The pages, in the order of the ports.
    pub sources: Vec<Source>,
    reserved: Reserved,
}

/// Bytes of the budget, given back at the end.
#[derive(Debug)]
struct Reserved {
    budget: Budget,
    bytes: usize,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}

/// Intervals that nobody fetched in time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Because more than the retention came after them.
    pub retention: u64,
    /// Because there was no memory for them.
    pub memory: u64,
}

/// The intervals that wait, oldest first.
#[derive(Debug)]
pub struct Ring {
    retention: usize,
    max_bytes: usize,
    budget: Budget,
    buckets: VecDeque<Arc<Bucket>>,
    dropped: Dropped,
}

impl Ring {
    /// An empty ring of at most that many intervals and bytes.
    #[must_use]
    pub fn new(retention: usize, max_bytes: usize, budget: Budget) -> Self {
        Self { retention, max_bytes, budget, buckets: VecDeque::new(), dropped: Dropped::default() }
    }

    /// Keeps what was read at a tick. What was read at the same tick of a clock that has been set back since is replaced.
    pub fn put(&mut self, tick_ms: u64, sources: Vec<Source>) {
        let bytes = sources.iter().map(|source| source.text.capacity()).sum();
        self.buckets.retain(|bucket| bucket.tick_ms != tick_ms);
        while self.buckets.len() >= self.retention && self.buckets.pop_front().is_some() {
            self.dropped.retention += 1;
        }
        while bytes > self.max_bytes.saturating_sub(self.bytes()) || !self.budget.try_reserve(bytes) {
            self.dropped.memory += 1;
            // With nothing left to drop it is the new one that there is no room for.
            if self.buckets.pop_front().is_none() {
                return;
            }
        }
        let reserved = Reserved { budget: self.budget.clone(), bytes };
        self.buckets.push_back(Arc::new(Bucket { tick_ms, sources, reserved }));
    }

    /// What waits, oldest first; it goes on waiting.
    #[must_use]
    pub fn seen(&self) -> Vec<Arc<Bucket>> {
        self.buckets.iter().cloned().collect()
    }

    /// Takes everything that waits, oldest first.
    pub fn take(&mut self) -> Vec<Arc<Bucket>> {
        self.buckets.drain(..).collect()
    }

    /// What was taken and did not arrive waits again, before what came in the meantime.
    pub fn give_back(&mut self, taken: Vec<Arc<Bucket>>) {
        for bucket in taken.into_iter().rev() {
            if self.buckets.iter().any(|newer| newer.tick_ms == bucket.tick_ms) {
                continue;
            }
            if self.buckets.len() >= self.retention {
                self.dropped.retention += 1;
            } else if self.bytes() + bucket.reserved.bytes > self.max_bytes {
                self.dropped.memory += 1;
            } else {
                self.buckets.push_front(bucket);
            }
        }
    }

    /// How many intervals wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.buckets.len()
    }

    /// Whether none waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }

    /// Bytes of what waits.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.buckets.iter().map(|bucket| bucket.reserved.bytes).sum()
    }

    /// What nobody fetched in time.
    #[must_use]
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn source(bytes: usize) -> Vec<Source> {
        vec![Source { port: 1, text: "x".repeat(bytes) }]
    }

    fn waiting(ring: &Ring) -> Vec<u64> {
        ring.seen().iter().map(|bucket| bucket.tick_ms).collect()
    }

    #[test]
    fn the_oldest_interval_is_dropped_first_and_counted() {
        let budget = Budget::new(1_000);
        let mut ring = Ring::new(3, 1_000, budget.clone());
        (1..=5).for_each(|tick| ring.put(tick, source(10)));
        assert_eq!(waiting(&ring), [3, 4, 5]);
        assert_eq!(ring.dropped(), Dropped { retention: 2, memory: 0 });
        assert_eq!((ring.bytes(), budget.used()), (30, 30));
    }

    #[test]
    fn bytes_are_bounded_by_the_ring_and_by_the_budget_of_the_process() {
        let budget = Budget::new(1_000);
        let mut ring = Ring::new(10, 100, budget.clone());
        ring.put(1, source(60));
        ring.put(2, source(60));
        assert_eq!(waiting(&ring), [2]);
        ring.put(3, source(101));
        assert_eq!(
            (waiting(&ring).len(), ring.dropped().memory),
            (0, 3),
            "what never fits is dropped itself"
        );
        assert!(budget.try_reserve(950));
        ring.put(4, source(60));
        assert_eq!((ring.len(), ring.dropped().memory), (0, 4));
        budget.release(950);
        ring.put(5, source(60));
        assert_eq!((ring.len(), budget.used()), (1, 60));
    }

    #[test]
    fn looking_takes_nothing_and_taking_takes_all_once() {
        let budget = Budget::new(1_000);
        let mut ring = Ring::new(3, 1_000, budget.clone());
        ring.put(1, source(5));
        assert_eq!((ring.seen().len(), ring.seen().len()), (1, 1));
        let taken = ring.take();
        assert_eq!((taken.len(), ring.take().len(), budget.used()), (1, 0, 5));
        drop(taken);
        assert_eq!(budget.used(), 0);
    }

    #[test]
    fn what_did_not_arrive_waits_again_in_its_order_and_makes_no_room() {
        let mut ring = Ring::new(3, 1_000, Budget::new(1_000));
        (1..=3).for_each(|tick| ring.put(tick, source(1)));
        let taken = ring.take();
        (4..=5).for_each(|tick| ring.put(tick, source(1)));
        ring.give_back(taken);
        assert_eq!(waiting(&ring), [3, 4, 5]);
        assert_eq!(ring.dropped().retention, 2);
    }

    #[test]
    fn a_tick_that_comes_again_after_the_clock_was_set_back_replaces_the_first() {
        let mut ring = Ring::new(3, 1_000, Budget::new(1_000));
        for (tick, bytes) in [(10, 1), (20, 2), (10, 3)] {
            ring.put(tick, source(bytes));
        }
        assert_eq!(waiting(&ring), [20, 10]);
        assert_eq!(ring.seen()[1].sources[0].text.len(), 3);
    }

    proptest! {
        #[test]
        fn no_interval_is_served_twice_or_lost_without_being_counted(
            steps in prop::collection::vec((0u8..4, 0usize..40), 1..80), retention in 1usize..6
        ) {
            let budget = Budget::new(200);
            let mut ring = Ring::new(retention, 100, budget.clone());
            let (mut put, mut served, mut taken) = (0u64, 0u64, Vec::new());
            for (step, bytes) in steps {
                match step {
                    0 | 1 => { put += 1; ring.put(put, source(bytes)); }
                    2 => { served += taken.len() as u64; taken = ring.take(); }
                    _ => ring.give_back(std::mem::take(&mut taken)),
                }
                let waiting = waiting(&ring);
                prop_assert!(waiting.windows(2).all(|pair| pair[0] < pair[1]));
                prop_assert!(waiting.len() <= retention && ring.bytes() <= 100);
                let dropped = ring.dropped();
                let known = served + taken.len() as u64 + waiting.len() as u64;
                prop_assert_eq!(known + dropped.retention + dropped.memory, put);
            }
            drop((ring, taken));
            prop_assert_eq!(budget.used(), 0);
        }
    }
}
