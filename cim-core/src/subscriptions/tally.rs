//! What people see of the subscriptions that want answers.
//!
//! Owns the counts by subscription, and what keeps a notification from its end. Left out: metrics of all of them together.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde::Serialize;

/// The counts of one subscription.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Notifications that are not settled.
    pub pending: u64,
    /// Deliveries after the first, since the start.
    pub redelivered: u64,
    /// Notifications that became dead letters, since the start.
    pub dead: u64,
}

/// The counts of all of them.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    by_id: Mutex<BTreeMap<Arc<str>, Tally>>,
    trouble: Mutex<Option<String>>,
}

impl Tallies {
    /// Changes the counts of a subscription.
    pub(super) fn of(&self, subscription: &Arc<str>, change: impl FnOnce(&mut Tally)) {
        change(self.lock().entry(Arc::clone(subscription)).or_default());
    }

    /// A new reader begins: what was pending comes again.
    pub(super) fn nothing_pending(&self) {
        self.lock().values_mut().for_each(|tally| tally.pending = 0);
    }

    /// Forgets those that fail the test and have nothing pending.
    pub(super) fn retain(&self, is_known: impl Fn(&str) -> bool) {
        self.lock().retain(|id, tally| tally.pending > 0 || is_known(id));
    }

    /// All of them, by id.
    pub(super) fn all(&self) -> BTreeMap<String, Tally> {
        self.lock().iter().map(|(id, tally)| (id.to_string(), *tally)).collect()
    }

    /// What keeps notifications from their end; `None`: nothing.
    pub(super) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    pub(super) fn trouble(&self) -> Option<String> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Arc<str>, Tally>> {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
