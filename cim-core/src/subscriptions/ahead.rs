//! What was read and is not taken yet, and what may be committed.
//!
//! Owns the bound on waiting bytes. The invariant: a position is committed only after every notification before it was
//! taken, and every one that asks for an answer is settled.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::lane::Lane;
use crate::contract::FeedPosition;

/// Bytes of notifications that may wait for the application before reading rests.
pub(super) const MOST_WAITING: usize = 4 << 20;
/// Two commits are at least so far apart: while much is read, one speaks for many records.
const COMMIT_EVERY: Duration = Duration::from_millis(200);

/// Notifications that were handed over together.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) values: usize,
    pub(super) bytes: usize,
    reached: Vec<FeedPosition>,
    taken: oneshot::Receiver<()>,
}

/// What waits for the application.
#[derive(Debug, Default)]
pub(super) struct Ahead {
    parcels: VecDeque<Parcel>,
    bytes: usize,
    is_full: bool,
}

impl Ahead {
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether reading has to rest: from the bound on, until half of it is free again.
    pub(super) fn is_full(&mut self) -> bool {
        let limit = if self.is_full { MOST_WAITING / 2 } else { MOST_WAITING };
        self.is_full = self.bytes >= limit;
        self.is_full
    }

    pub(super) fn push(
        &mut self,
        values: usize,
        bytes: usize,
        reached: Vec<FeedPosition>,
        taken: oneshot::Receiver<()>,
    ) {
        self.bytes += bytes;
        self.parcels.push_back(Parcel { values, bytes, reached, taken });
    }

    /// Records that nobody wanted, read after all that wait: they are done with when those are.
    pub(super) fn skip(&mut self, reached: Vec<FeedPosition>, ledger: &mut Ledger) {
        match self.parcels.back_mut() {
            Some(parcel) => parcel.reached.extend(reached),
            None => ledger.settle(reached),
        }
    }

    /// The first parcel, once it was taken; `None`: it never will be. Waits for ever when there is none.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn taken(&mut self, ledger: &mut Ledger) -> Option<Parcel> {
        let Some(first) = self.parcels.front_mut() else { return std::future::pending().await };
        (&mut first.taken).await.ok()?;
        let mut parcel = self.parcels.pop_front()?;
        self.bytes -= parcel.bytes;
        ledger.settle(std::mem::take(&mut parcel.reached));
        Some(parcel)
    }
}

/// What is done with, and what of it is committed.
#[derive(Debug)]
pub(super) struct Ledger {
    lanes: BTreeMap<i32, Lane>,
    not_before: Instant,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self { lanes: BTreeMap::new(), not_before: Instant::now() }
    }

    fn settle(&mut self, reached: Vec<FeedPosition>) {
        for FeedPosition { lane, next } in reached {
            self.lanes.entry(lane).or_default().reach(next);
        }
    }

    /// A record is not done with before it was released as often.
    pub(super) fn hold(&mut self, lane: i32, record: i64) {
        self.lanes.entry(lane).or_default().hold(record);
    }

    /// One of those who hold a record is done with it.
    pub(super) fn release(&mut self, lane: i32, record: i64) {
        if let Some(lane) = self.lanes.get_mut(&lane) {
            lane.release(record);
        }
    }

    /// Waits until something is to be committed.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn due(not_before: Option<Instant>) {
        match not_before {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// When to commit; `None`: there is nothing.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.lanes.values().any(|lane| lane.news().is_some()).then_some(self.not_before)
    }

    /// The positions to commit.
    pub(super) fn positions(&self) -> Vec<FeedPosition> {
        let news = self.lanes.iter().filter_map(|(lane, state)| Some((*lane, state.news()?)));
        news.map(|(lane, next)| FeedPosition { lane, next }).collect()
    }

    /// An attempt to commit these was made.
    pub(super) fn attempted(&mut self, positions: &[FeedPosition], is_done: bool) {
        self.not_before = Instant::now() + COMMIT_EVERY;
        for FeedPosition { lane, next } in positions.iter().filter(|_| is_done) {
            if let Some(lane) = self.lanes.get_mut(lane) {
                lane.noted(*next);
            }
        }
    }
}
