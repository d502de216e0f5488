//! Putting the changes of several watchers in order.
//!
//! The parts of a scope are watched by a watcher each, on one stream. A server tells watchers that are up to date of a
//! change in the order of revisions; those that have to catch up are served by a loop of its own, one after the other. So
//! changes are held until every watcher is up to date, and sorted. Pure. Invariants: changes of one revision that come in
//! several pieces are handed on together; what is held is bounded.

use std::collections::HashMap;
use std::time::Duration;

use cim_core::ConfigUpdate;
use tokio::time::Instant;

use crate::ledger::Change;

/// Most bytes of values that are held. Beyond, changes are handed on in the order of their coming; one that then comes too
/// late is noticed.
const MOST_HELD: usize = 64 << 20;

/// What is being put in order.
#[derive(Debug)]
pub(crate) struct Settling {
    /// First revision of interest.
    start: u64,
    /// Watchers that were not heard of yet.
    missing: usize,
    /// Watchers that have to catch up, with the revision up to which.
    behind: HashMap<i64, u64>,
    settle: Duration,
    /// When the last word of a watcher that is behind came.
    last: Instant,
    over: bool,
    /// The revision of which more may follow.
    open: Option<u64>,
    held: Vec<Change>,
    bytes: usize,
}

impl Settling {
    /// So many watchers begin at revision `start`.
    pub(crate) fn new(start: u64, watchers: usize, settle: Duration, now: Instant) -> Self {
        let behind = HashMap::new();
        let (over, open, held, bytes) = (false, None, Vec::new(), 0);
        Self { start, missing: watchers, behind, settle, last: now, over, open, held, bytes }
    }

    /// A watcher was made when the store was at `revision`.
    pub(crate) fn created(&mut self, watcher: i64, revision: u64, now: Instant) {
        self.missing = self.missing.saturating_sub(1);
        self.last = now;
        if revision >= self.start {
            self.behind.insert(watcher, revision);
        }
    }

    /// Changes of a watcher came, in order; `partly` when more of the last revision may follow. What can be handed on is
    /// appended to `ready`.
    pub(crate) fn take(
        &mut self,
        watcher: i64,
        changes: Vec<Change>,
        partly: bool,
        now: Instant,
        ready: &mut impl Extend<Change>,
    ) {
        let through = changes.last().map(|change| change.place().0).unwrap_or_default();
        if let Some(target) = self.behind.get(&watcher) {
            self.last = now;
            if through >= *target && !partly {
                self.behind.remove(&watcher);
            }
        }
        self.bytes += changes.iter().map(size).sum::<usize>();
        self.held.extend(changes);
        self.open = partly.then_some(through);
        self.flush(now, ready);
    }

    /// When [`Settling::flush`] may have something to hand on although nothing came.
    pub(crate) fn wake(&self) -> Option<Instant> {
        (!self.over && self.missing == 0).then(|| self.last + self.settle)
    }

    /// Hands on what is in order and complete.
    pub(crate) fn flush(&mut self, now: Instant, ready: &mut impl Extend<Change>) {
        let quiet = now >= self.last + self.settle;
        if self.missing == 0 && (self.behind.is_empty() || quiet) {
            self.over = true;
        }
        if !self.over && self.bytes < MOST_HELD {
            return;
        }
        let mut held = std::mem::take(&mut self.held);
        held.sort_by(|a, b| a.order().cmp(&b.order()));
        self.held = held.extract_if(.., |change| self.open == Some(change.place().0)).collect();
        self.bytes = self.held.iter().map(size).sum();
        ready.extend(held);
    }
}

fn size(change: &Change) -> usize {
    match &change.update {
        ConfigUpdate::Put(entry) => entry.value.len(),
        ConfigUpdate::Delete { .. } | ConfigUpdate::Reset { .. } => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_core::{ConfigEntry, Revision};

    const SETTLE: Duration = Duration::from_millis(250);

    fn put(key: &str, revision: u64) -> Change {
        sized(key, revision, 0)
    }

    fn sized(key: &str, revision: u64, size: usize) -> Change {
        let value = vec![0; size].into();
        let entry = ConfigEntry { key: key.into(), value, revision: Revision(revision), lease: None };
        Change { update: ConfigUpdate::Put(entry), previous: None }
    }

    fn take(
        settling: &mut Settling,
        watcher: i64,
        changes: &[Change],
        partly: bool,
        now: Instant,
    ) -> Vec<u64> {
        let mut ready = Vec::new();
        settling.take(watcher, changes.to_vec(), partly, now, &mut ready);
        ready.iter().map(|change| change.place().0).collect()
    }

    #[test]
    fn changes_of_watchers_that_are_up_to_date_pass() {
        let now = Instant::now();
        let mut settling = Settling::new(11, 2, SETTLE, now);
        settling.created(0, 10, now);
        settling.created(1, 10, now);
        assert_eq!(take(&mut settling, 0, &[put("a", 11)], false, now), [11]);
        assert_eq!(settling.wake(), None);
    }

    #[test]
    fn changes_wait_for_the_watchers_that_catch_up_and_come_sorted() {
        let now = Instant::now();
        let mut settling = Settling::new(11, 2, SETTLE, now);
        settling.created(0, 14, now);
        settling.created(1, 14, now);
        assert_eq!(take(&mut settling, 0, &[put("a", 11), put("a", 14)], false, now), Vec::<u64>::new());
        assert_eq!(take(&mut settling, 1, &[put("b", 12)], false, now), Vec::<u64>::new());
        assert_eq!(take(&mut settling, 1, &[put("b", 15)], false, now), [11, 12, 14, 15]);
        assert_eq!(take(&mut settling, 0, &[put("a", 16)], false, now), [16]);
    }

    #[test]
    fn a_watcher_without_changes_is_not_waited_for_longer_than_the_settling_time() {
        let now = Instant::now();
        let mut settling = Settling::new(11, 2, SETTLE, now);
        settling.created(0, 14, now);
        settling.created(1, 14, now);
        take(&mut settling, 0, &[put("a", 13)], false, now);
        assert_eq!(settling.wake(), Some(now + SETTLE));
        let mut ready = Vec::new();
        settling.flush(now + SETTLE, &mut ready);
        assert_eq!(ready, [put("a", 13)]);
    }

    #[test]
    fn the_pieces_of_a_revision_stay_together() {
        let now = Instant::now();
        let mut settling = Settling::new(11, 1, SETTLE, now);
        settling.created(0, 10, now);
        assert_eq!(take(&mut settling, 0, &[put("a", 11), put("b", 12)], true, now), [11]);
        assert_eq!(take(&mut settling, 0, &[put("c", 12)], true, now), Vec::<u64>::new());
        assert_eq!(take(&mut settling, 0, &[put("d", 12), put("a", 13)], false, now), [12, 12, 12, 13]);
    }

    #[test]
    fn what_is_held_is_bounded() {
        let now = Instant::now();
        let mut settling = Settling::new(11, 2, SETTLE, now);
        settling.created(0, 14, now);
        assert_eq!(take(&mut settling, 0, &[sized("a", 11, MOST_HELD - 1)], false, now), Vec::<u64>::new());
        assert_eq!(take(&mut settling, 0, &[sized("a", 12, 1)], false, now), [11, 12]);
    }

    #[test]
    fn changes_of_one_transaction_come_in_the_order_of_their_numbers() {
        let now = Instant::now();
        let mut settling = Settling::new(11, 1, SETTLE, now);
        settling.created(1, 10, now);
        let mut ready = Vec::new();
        let changes = ["ms/a/1000", "ms/a/999", "ms/a/1001"].map(|key| put(key, 12));
        settling.take(1, changes.to_vec(), false, now, &mut ready);
        let keys: Vec<_> = ready.iter().map(|change| change.place().1).collect();
        assert_eq!(keys, [b"ms/a/999".as_slice(), b"ms/a/1000", b"ms/a/1001"]);
    }
}
