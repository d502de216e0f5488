//! What can be seen of a lane.

use std::time::Duration;

use super::{Change, Lane};
use crate::contract::ChangeStatus;

impl Lane {
    /// Highest revision with a result; zero before the first.
    #[must_use]
    pub fn settled(&self) -> i32 {
        self.record.settled()
    }

    /// How many changes wait for a result.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.pending.len()
    }

    /// When the oldest of them was received, milliseconds since the Unix epoch.
    #[must_use]
    pub fn waiting_since(&self) -> Option<u64> {
        self.pending.values().map(|change| change.status.received_ms).min()
    }

    /// The story of the change at work, or of the last one.
    #[must_use]
    pub fn status(&self) -> Option<&ChangeStatus> {
        self.pending.values().next().map(|change| &change.status).or(self.record.last())
    }

    /// The story of the last change with a result.
    #[must_use]
    pub fn last(&self) -> Option<&ChangeStatus> {
        self.record.last()
    }

    /// When the change at work has to be settled.
    #[must_use]
    pub fn deadline(&self) -> Option<Duration> {
        self.pending.values().next()?.deadline
    }

    /// Whether the next change with a result is the first of a new count.
    #[must_use]
    pub fn is_at_new_count(&self) -> bool {
        self.record.is_new_count()
    }

    /// Revisions that wait for a result, ascending.
    pub fn revisions(&self) -> impl Iterator<Item = i32> {
        self.pending.keys().copied()
    }

    /// Whether a change waits for its result.
    #[must_use]
    pub fn waits(&self, revision: i32) -> bool {
        self.pending.contains_key(&revision)
    }

    /// Whether nothing is being done with a change.
    #[must_use]
    pub fn is_at_rest(&self) -> bool {
        let is_begun = |change: &Change| change.status.attempts > 0;
        self.calling.is_none()
            && self.abandoned.is_none()
            && self.storing == 0
            && !self.pending.values().next().is_some_and(is_begun)
    }
}
