//! Deadlines of all connections, as one timeout for the poller.
//!
//! Owns the order of wake-ups. Leaves out what is due. Invariant: an idle listener sleeps until the earliest of them;
//! an entry that no longer matters costs one wake-up at most.

use crate::client::Key;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

/// The wake-ups.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    heap: BinaryHeap<Reverse<(Instant, usize, u64)>>,
}

impl Timers {
    /// Asks for a call at `at`.
    pub(crate) fn set(&mut self, at: Instant, key: Key) {
        self.heap.push(Reverse((at, key.slot, key.id)));
    }

    /// The next wake-up that is due at `now`.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(Instant, Key)> {
        let Reverse((at, ..)) = self.heap.peek()?;
        if *at > now {
            return None;
        }
        self.heap.pop().map(|Reverse((at, slot, id))| (at, Key { slot, id }))
    }

    /// Time until the next wake-up.
    pub(crate) fn next(&self, now: Instant) -> Option<Duration> {
        self.heap.peek().map(|Reverse((at, ..))| at.saturating_duration_since(now))
    }
}
