//! What people and metrics see of subscriptions.
//!
//! Owns the counters and the words for the state of the feed.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use serde::Serialize;

use super::tally::Tally;

/// Counts since the start.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) read: AtomicU64,
    pub(super) matched: AtomicU64,
    pub(super) replayed: AtomicU64,
    pub(super) too_large: AtomicU64,
    pub(super) delivered: AtomicU64,
    pub(super) waiting_bytes: AtomicU64,
    pub(super) failures: AtomicU64,
}

/// What the feed is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedState {
    /// There is none.
    #[default]
    Absent,
    /// Nobody subscribed.
    Idle,
    /// It becomes a reader.
    Opening,
    /// Records are read as they come.
    Reading,
    /// Nothing is read until the application takes what waits.
    Resting,
    /// It failed, and is begun again after a pause.
    Failed,
    /// The process ends.
    Ended,
}

/// Subscriptions at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SubscriptionsView {
    /// How many there are.
    pub subscriptions: usize,
    /// What the feed is doing.
    pub feed: FeedState,
    /// What is wrong with it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trouble: Option<String>,
    /// Records read.
    pub read: u64,
    /// Of these, records that a subscription asks for.
    pub matched: u64,
    /// Records left out because they were sent before.
    pub replayed: u64,
    /// Records left out because no client could take them.
    pub too_large: u64,
    /// Notifications that the application took.
    pub delivered: u64,
    /// Bytes of notifications that wait for the application.
    pub waiting_bytes: u64,
    /// How often reading failed and was begun again.
    pub failures: u64,
    /// The subscriptions that want answers, as soon as they had a notification, by id.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub acknowledged: BTreeMap<String, Tally>,
}

impl Counts {
    pub(super) fn view(
        &self,
        subscriptions: usize,
        feed: FeedState,
        trouble: Option<String>,
        acknowledged: BTreeMap<String, Tally>,
    ) -> SubscriptionsView {
        let count = |counter: &AtomicU64| counter.load(Relaxed);
        SubscriptionsView {
            subscriptions,
            feed,
            trouble,
            read: count(&self.read),
            matched: count(&self.matched),
            replayed: count(&self.replayed),
            too_large: count(&self.too_large),
            delivered: count(&self.delivered),
            waiting_bytes: count(&self.waiting_bytes),
            failures: count(&self.failures),
            acknowledged,
        }
    }
}
