//! Plain counters of the way in, read by the metrics page.
//!
//! Atomics with relaxed order: each is written by few threads and read on scrape.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use cim_wire::Class;

use crate::books::RefusedReason;

/// Upper bounds of the size histogram, bytes (wire contract §10.2); one more bucket for everything above.
pub const SIZE_BOUNDS: [u64; 20] = [
    0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 6000, 6500, 7000, 7500, 8000, 8500,
    9000, 9500,
];

/// Stands for a latency that is not known.
const NO_LATENCY: i64 = i64::MIN;

/// Messages of one class, as offered (refused ones included).
#[derive(Debug, Default)]
pub struct ClassCounts {
    messages: AtomicU64,
    bytes: AtomicU64,
    last_size: AtomicU64,
    /// The latency with its sign bit turned over, so that 0 is [`NO_LATENCY`].
    latency: AtomicI64,
    sizes: [AtomicU64; SIZE_BOUNDS.len() + 1],
    refused: [AtomicU64; RefusedReason::ALL.len()],
}

/// A copy of [`ClassCounts`] at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ClassTotals {
    /// Messages offered.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Payload bytes of the last one.
    pub last_size: u64,
    /// Milliseconds from the time in the last event of a turn to its arrival; negative when the clock of the one who
    /// wrote it is ahead. `None` before the first event with a time, and for other classes.
    pub latency_ms: Option<i64>,
    /// Messages per size bucket, not cumulative.
    pub sizes: [u64; SIZE_BOUNDS.len() + 1],
    /// Messages refused, in the order of [`RefusedReason::ALL`].
    pub refused: [u64; RefusedReason::ALL.len()],
}

/// Counts gathered by a lane within one turn, published at its end.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    messages: u64,
    bytes: u64,
    last_size: u64,
    sizes: [u64; SIZE_BOUNDS.len() + 1],
}

impl Turn {
    pub(crate) fn note(&mut self, size: usize) {
        self.messages += 1;
        self.bytes += size as u64;
        self.last_size = size as u64;
        let bucket = size.div_ceil(500).min(SIZE_BOUNDS.len());
        if let Some(count) = self.sizes.get_mut(bucket) {
            *count += 1;
        }
    }
}

impl ClassCounts {
    pub(crate) fn publish(&self, turn: &mut Turn) {
        if turn.messages == 0 {
            return;
        }
        self.messages.fetch_add(turn.messages, Ordering::Relaxed);
        self.bytes.fetch_add(turn.bytes, Ordering::Relaxed);
        self.last_size.store(turn.last_size, Ordering::Relaxed);
        for (total, count) in self.sizes.iter().zip(turn.sizes) {
            if count > 0 {
                total.fetch_add(count, Ordering::Relaxed);
            }
        }
        *turn = Turn::default();
    }

    pub(crate) fn refuse(&self, reason: RefusedReason, messages: u64) {
        if let Some(count) = self.refused.get(reason as usize) {
            count.fetch_add(messages, Ordering::Relaxed);
        }
    }

    pub(crate) fn set_latency(&self, ms: i64) {
        self.latency.store(ms ^ NO_LATENCY, Ordering::Relaxed);
    }

    /// The counts now.
    #[must_use]
    pub fn totals(&self) -> ClassTotals {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        ClassTotals {
            messages: load(&self.messages),
            bytes: load(&self.bytes),
            last_size: load(&self.last_size),
            latency_ms: Some(self.latency.load(Ordering::Relaxed) ^ NO_LATENCY)
                .filter(|latency| *latency != NO_LATENCY),
            sizes: std::array::from_fn(|i| self.sizes.get(i).map_or(0, load)),
            refused: std::array::from_fn(|i| self.refused.get(i).map_or(0, load)),
        }
    }
}

/// Counts of everything that was offered.
#[derive(Debug, Default)]
pub struct IntakeCounts {
    /// Subject LOG.
    pub logs: ClassCounts,
    /// Subject EVENT.
    pub events: ClassCounts,
    /// Subject CONFIG.
    pub config: ClassCounts,
    /// Subject TEST.
    pub test: ClassCounts,
}

impl IntakeCounts {
    pub(crate) fn class(&self, class: Class) -> &ClassCounts {
        match class {
            Class::Log => &self.logs,
            Class::Event => &self.events,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_fall_into_the_bucket_of_their_bound() {
        let counts = ClassCounts::default();
        let mut turn = Turn::default();
        for size in [0, 1, 500, 501, 9500, 9501, 1 << 20] {
            turn.note(size);
        }
        counts.publish(&mut turn);
        let totals = counts.totals();
        assert_eq!((totals.sizes[0], totals.sizes[1], totals.sizes[2]), (1, 2, 1));
        assert_eq!((totals.sizes[19], totals.sizes[20]), (1, 2));
        assert_eq!(totals.messages, 7);
        assert_eq!(totals.last_size, 1 << 20);
    }

    #[test]
    fn a_latency_is_unknown_until_it_is_set() {
        let counts = ClassCounts::default();
        assert_eq!(counts.totals().latency_ms, None);
        for ms in [0, -1, 1, i64::MAX, i64::MIN + 1] {
            counts.set_latency(ms);
            assert_eq!(counts.totals().latency_ms, Some(ms));
        }
    }
}
