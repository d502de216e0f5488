//! Deadlines of all connections, as one timeout for the poller.
//!
//! Owns the order of wake-ups. Leaves out what is due. Invariants: one entry per connection at most; an idle listener
//! sleeps until the earliest of them.

use crate::client::Key;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// The wake-ups.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    entries: BTreeSet<(Instant, usize, u64)>,
}

impl Timers {
    /// Moves the wake-up of a connection from `old` to `new`.
    pub(crate) fn set(&mut self, key: Key, old: Option<Instant>, new: Option<Instant>) {
        if let Some(at) = old {
            self.entries.remove(&(at, key.slot, key.id));
        }
        if let Some(at) = new {
            self.entries.insert((at, key.slot, key.id));
        }
    }

    /// The next wake-up that is due at `now`.
    pub(crate) fn due(&mut self, now: Instant) -> Option<(Instant, Key)> {
        let (at, slot, id) = *self.entries.first()?;
        if at > now {
            return None;
        }
        self.entries.pop_first();
        Some((at, Key { slot, id }))
    }

    /// Time until the next wake-up.
    pub(crate) fn next(&self, now: Instant) -> Option<Duration> {
        self.entries.first().map(|(at, ..)| at.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_per_connection_in_order() {
        let start = Instant::now();
        let at = |ms| start + Duration::from_millis(ms);
        let key = |id| Key { slot: 0, id };
        let mut timers = Timers::default();
        timers.set(key(1), None, Some(at(50)));
        timers.set(key(2), None, Some(at(20)));
        timers.set(key(1), Some(at(50)), Some(at(10)));
        assert_eq!(timers.next(start), Some(Duration::from_millis(10)));
        assert_eq!(timers.due(start), None);
        assert_eq!(timers.due(at(60)), Some((at(10), key(1))));
        assert_eq!(timers.due(at(60)), Some((at(20), key(2))));
        assert_eq!((timers.due(at(60)), timers.next(start)), (None, None));
    }
}
