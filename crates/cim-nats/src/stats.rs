//! What the listener counts.
//!
//! Owns plain counters for the thread that counts and their published copies for everybody else. Leaves out metric
//! names. Invariant: counting touches no shared memory; copies are refreshed at the end of each turn of the loop.

use crate::intake::Target;
use crate::parser::Fault;
use cim_wire::Class;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Subjects that are counted apart: LOG, EVENT, CONFIG, TEST, then all others.
pub const ROUTES: [&str; 5] = ["LOG", "EVENT", "CONFIG", "TEST", "other"];
/// Size buckets: 0, up to 500, up to 1000, … up to 9500, larger.
pub const SIZE_BUCKETS: usize = 21;
/// Upper bounds of the buckets in bytes; the last bucket has none.
pub const SIZE_BOUNDS: [u64; SIZE_BUCKETS - 1] = [
    0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000, 4500, 5000, 5500, 6000, 6500, 7000, 7500, 8000, 8500,
    9000, 9500,
];

impl Target {
    const fn index(self) -> usize {
        match self {
            Self::Class(Class::Log) => 0,
            Self::Class(Class::Event) => 1,
            Self::Config => 2,
            Self::Test => 3,
            Self::Answer | Self::Broker => 4,
        }
    }
}

/// Messages of one route.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct RouteCounts {
    /// Messages received.
    pub messages: u64,
    /// Their payload bytes, headers not included.
    pub bytes: u64,
    /// Messages by payload size, see [`SIZE_BOUNDS`].
    pub sizes: [u64; SIZE_BUCKETS],
}

/// All counts of a listener at one moment.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ListenerCounts {
    /// Connections open now.
    pub connections: u64,
    /// Connections accepted so far.
    pub accepted: u64,
    /// Connections closed at once because of `max_connections`.
    pub refused: u64,
    /// Bytes read from clients.
    pub read_bytes: u64,
    /// Subscriptions now.
    pub subscriptions: u64,
    /// Received messages, in the order of [`ROUTES`].
    pub received: [RouteCounts; 5],
    /// Messages of LOG, EVENT or CONFIG that the engine refused.
    pub refused_messages: u64,
    /// Messages written to subscribers.
    pub sent_messages: u64,
    /// Payload bytes written to subscribers.
    pub sent_bytes: u64,
    /// Subscribers cut because they did not read.
    pub slow_consumers: u64,
    /// Protocol errors, in the order of [`Fault::ALL`].
    pub faults: [u64; Fault::ALL.len()],
    /// Publishes and subscriptions with an unusable subject.
    pub invalid_subjects: u64,
    /// Clients with wrong or late credentials.
    pub auth_failures: u64,
    /// Publishers closed because their class stayed full or no memory was left for a started payload.
    pub backpressure_closes: u64,
    /// Times a publisher was held back because its class was full.
    pub holds: u64,
    /// Connections that ended inside a frame.
    pub broken_frames: u64,
    /// PINGs received.
    pub pings: u64,
    /// Clients closed because they answered no PING.
    pub stale: u64,
}

impl ListenerCounts {
    #[inline]
    pub(crate) fn receive(&mut self, target: Target, bytes: usize) {
        if let Some(route) = self.received.get_mut(target.index()) {
            route.messages += 1;
            route.bytes += bytes as u64;
            if let Some(bucket) = route.sizes.get_mut(bytes.div_ceil(500).min(SIZE_BUCKETS - 1)) {
                *bucket += 1;
            }
        }
    }

    pub(crate) fn fault(&mut self, fault: Fault) {
        if let Some(count) = self.faults.get_mut(fault.index()) {
            *count += 1;
        }
    }

    /// Calls `each` for every number, always in the same order.
    fn visit(&mut self, mut each: impl FnMut(&mut u64)) {
        for count in [
            &mut self.connections,
            &mut self.accepted,
            &mut self.refused,
            &mut self.read_bytes,
            &mut self.subscriptions,
            &mut self.refused_messages,
            &mut self.sent_messages,
            &mut self.sent_bytes,
            &mut self.slow_consumers,
            &mut self.invalid_subjects,
            &mut self.auth_failures,
            &mut self.backpressure_closes,
            &mut self.holds,
            &mut self.broken_frames,
            &mut self.pings,
            &mut self.stale,
        ] {
            each(count);
        }
        self.faults.iter_mut().for_each(&mut each);
        for route in &mut self.received {
            each(&mut route.messages);
            each(&mut route.bytes);
            route.sizes.iter_mut().for_each(&mut each);
        }
    }
}

const NUMBERS: usize = 16 + Fault::ALL.len() + ROUTES.len() * (2 + SIZE_BUCKETS);

/// The published copy; read it from any thread with [`ListenerStats::snapshot`].
#[derive(Debug)]
pub struct ListenerStats {
    numbers: [AtomicU64; NUMBERS],
}

impl Default for ListenerStats {
    fn default() -> Self {
        Self { numbers: [const { AtomicU64::new(0) }; NUMBERS] }
    }
}

impl ListenerStats {
    /// The counts as of the last turn of the loop. Each number is exact; two of them may be one turn apart.
    #[must_use]
    pub fn snapshot(&self) -> ListenerCounts {
        let mut counts = ListenerCounts::default();
        let mut numbers = self.numbers.iter();
        counts.visit(|count| *count = numbers.next().map_or(0, |number| number.load(Relaxed)));
        counts
    }

    pub(crate) fn publish(&self, counts: &mut ListenerCounts) {
        let mut numbers = self.numbers.iter();
        counts.visit(|count| {
            if let Some(number) = numbers.next() {
                number.store(*count, Relaxed);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_is_published_and_sizes_fall_into_their_buckets() {
        let mut counts = ListenerCounts::default();
        let mut next = 0;
        counts.visit(|count| {
            next += 1;
            *count = next;
        });
        assert_eq!(next as usize, NUMBERS);
        let stats = ListenerStats::default();
        stats.publish(&mut counts);
        assert_eq!(stats.snapshot(), counts);

        let mut counts = ListenerCounts::default();
        for size in [0, 1, 500, 501, 9_500, 9_501, 1 << 20] {
            counts.receive(Target::Config, size);
        }
        let sizes = counts.received[2].sizes;
        assert_eq!((sizes[0], sizes[1], sizes[2], sizes[19], sizes[20]), (1, 2, 1, 1, 2));
        assert_eq!((SIZE_BOUNDS[0], SIZE_BOUNDS[1], SIZE_BOUNDS[19]), (0, 500, 9_500));
    }
}
