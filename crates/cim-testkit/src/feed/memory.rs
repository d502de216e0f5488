//! A feed in memory, correct or with one flaw on purpose.
//!
//! Owns the records, what is committed, and the flaws that show that the suite bites. Invariant: apart from its flaw it is correct,
//! so that the first property it fails is the one that names the flaw.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_core::{
    Component, EventReader, EventSource, FeedBatch, FeedPosition, RecordPlace, Sift, SourceError,
    SourceErrorKind, async_trait,
};
use tokio::sync::Notify;

use super::harness::{FeedHarness, FeedRecord};
use super::property::FeedProperty;
use crate::CannotExpress;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeedFlaw {
    /// Where reading begins is found out at the first reading.
    BeginsLate,
    /// Two records that are there at the same time change places.
    SwapsRecords,
    /// A record that is there with another one is handed out twice.
    RepeatsRecords,
    /// Bytes that are not UTF-8 are replaced.
    AltersBytes,
    /// A record without headers has those of the one before.
    RemembersHeaders,
    /// A record that is not kept does not count as read.
    ForgetsLeftOut,
    /// The record after the committed ones is lost.
    ResumesLate,
    /// The last committed record is read again.
    ResumesEarly,
    /// What was handed out counts as committed.
    CommitsByItself,
    /// What comes during a rest is lost.
    LosesAtRest,
    /// There is a reader without a broker.
    OpensWithoutBroker,
    /// A lost connection ends the reader.
    EndsWithConnection,
    /// A call that is dropped loses a record.
    LosesWhenDropped,
}

impl FeedFlaw {
    /// All, and the property that names each.
    pub const ALL: [(Self, FeedProperty); 13] = [
        (Self::BeginsLate, FeedProperty::Beginning),
        (Self::SwapsRecords, FeedProperty::Order),
        (Self::RepeatsRecords, FeedProperty::Order),
        (Self::AltersBytes, FeedProperty::ExactBytes),
        (Self::RemembersHeaders, FeedProperty::ExactBytes),
        (Self::ForgetsLeftOut, FeedProperty::LeftOut),
        (Self::ResumesLate, FeedProperty::Resume),
        (Self::ResumesEarly, FeedProperty::Resume),
        (Self::CommitsByItself, FeedProperty::Uncommitted),
        (Self::LosesAtRest, FeedProperty::Rest),
        (Self::OpensWithoutBroker, FeedProperty::Absent),
        (Self::EndsWithConnection, FeedProperty::Recovery),
        (Self::LosesWhenDropped, FeedProperty::Cancellation),
    ];
}

#[derive(Debug, Default)]
struct State {
    records: Vec<FeedRecord>,
    committed: Option<usize>,
    is_absent: bool,
}

/// A feed with one lane, and the broker that has it.
#[derive(Debug, Clone, Default)]
pub struct MemoryFeed {
    state: Arc<Mutex<State>>,
    bell: Arc<Notify>,
    flaw: Option<FeedFlaw>,
}

impl MemoryFeed {
    /// A correct one.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One with a flaw.
    #[must_use]
    pub fn with(flaw: FeedFlaw) -> Self {
        Self { flaw: Some(flaw), ..Self::default() }
    }

    /// Adds a record.
    pub fn push(&self, record: FeedRecord) {
        self.state().records.push(record);
        self.bell.notify_waiters();
    }

    /// Whether the broker is away.
    pub fn set_absent(&self, is_absent: bool) {
        self.state().is_absent = is_absent;
        self.bell.notify_waiters();
    }

    /// How many records are committed.
    #[must_use]
    pub fn committed(&self) -> Option<usize> {
        self.state().committed
    }

    fn has(&self, flaw: FeedFlaw) -> bool {
        self.flaw == Some(flaw)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Component for MemoryFeed {
    fn name(&self) -> &str {
        "memory"
    }
}

fn away() -> SourceError {
    SourceError::new(SourceErrorKind::Unavailable, "the broker is away")
}

#[async_trait]
impl EventSource for MemoryFeed {
    async fn open(&self) -> Result<Box<dyn EventReader>, SourceError> {
        let mut state = self.state();
        if state.is_absent && !self.has(FeedFlaw::OpensWithoutBroker) {
            return Err(away());
        }
        let is_new = state.committed.is_none();
        let end = state.records.len();
        let place = *state.committed.get_or_insert(end);
        let next = match self.flaw {
            Some(FeedFlaw::BeginsLate) if is_new => None,
            Some(FeedFlaw::ResumesLate) if !is_new && place > 0 => Some(place + 1),
            Some(FeedFlaw::ResumesEarly) if !is_new => Some(place.saturating_sub(1)),
            _ => Some(place),
        };
        Ok(Box::new(MemoryReader { feed: self.clone(), next, headers: Vec::new() }))
    }
}

struct MemoryReader {
    feed: MemoryFeed,
    /// Number of the next record; `None`: not known yet.
    next: Option<usize>,
    /// Headers of the record before.
    headers: Vec<(String, Vec<u8>)>,
}

impl MemoryReader {
    /// What is there; `None`: nothing, or no broker.
    fn taken(&mut self) -> Option<Vec<FeedRecord>> {
        let state = self.feed.state();
        let next = *self.next.get_or_insert(state.records.len());
        let records = state.records.get(next..).filter(|rest| !rest.is_empty() && !state.is_absent)?.to_vec();
        drop(state);
        Some(records.into_iter().take(100).collect())
    }

    fn batch(&mut self, mut records: Vec<FeedRecord>, sift: &mut dyn Sift) -> FeedBatch {
        let start = self.next.unwrap_or_default();
        let mut next = start + records.len();
        if let (Some(FeedFlaw::SwapsRecords), [first, second, ..]) = (self.feed.flaw, records.as_mut_slice())
        {
            std::mem::swap(first, second);
        }
        if self.feed.has(FeedFlaw::RepeatsRecords) && records.len() > 1 {
            records.extend(records.last().cloned());
        }
        let mut batch = FeedBatch::default();
        let mut last_kept = start;
        for (index, mut record) in records.into_iter().enumerate() {
            if self.feed.has(FeedFlaw::RemembersHeaders) && record.headers.is_empty() {
                record.headers.clone_from(&self.headers);
            }
            self.headers.clone_from(&record.headers);
            if self.feed.has(FeedFlaw::AltersBytes) {
                record.value = String::from_utf8_lossy(&record.value).into_owned().into_bytes();
            }
            let mut headers = record.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
            let at = RecordPlace { lane: 0, record: i64::try_from(start + index).unwrap_or(i64::MAX) };
            if sift.keeps(at, &mut headers, record.value.len()) {
                batch.kept.push(&record.value);
                last_kept = start + index + 1;
            }
        }
        self.next = Some(next);
        if self.feed.has(FeedFlaw::ForgetsLeftOut) {
            next = last_kept;
        }
        if self.feed.has(FeedFlaw::CommitsByItself) {
            self.feed.state().committed = Some(next);
        }
        batch.reached.push(FeedPosition { lane: 0, next: i64::try_from(next).unwrap_or(i64::MAX) });
        batch
    }
}

#[async_trait]
impl EventReader for MemoryReader {
    async fn read(&mut self, sift: &mut dyn Sift) -> Result<FeedBatch, SourceError> {
        loop {
            let bell = Arc::clone(&self.feed.bell);
            let mut rung = std::pin::pin!(bell.notified());
            rung.as_mut().enable();
            if let Some(records) = self.taken() {
                if self.feed.has(FeedFlaw::LosesWhenDropped) {
                    self.next = self.next.map(|next| next + records.len());
                    tokio::task::yield_now().await;
                    self.next = self.next.map(|next| next - records.len());
                }
                return Ok(self.batch(records, sift));
            }
            if self.feed.has(FeedFlaw::EndsWithConnection) && self.feed.state().is_absent {
                return Err(away());
            }
            rung.await;
        }
    }

    async fn rest(&mut self) -> SourceError {
        if self.feed.has(FeedFlaw::LosesAtRest) {
            self.next = Some(self.feed.state().records.len());
        }
        std::future::pending().await
    }

    fn commit(&mut self, positions: &[FeedPosition]) -> Result<(), SourceError> {
        for position in positions {
            self.feed.state().committed = usize::try_from(position.next).ok();
        }
        Ok(())
    }

    async fn close(self: Box<Self>) {}
}

#[async_trait]
impl FeedHarness for MemoryFeed {
    fn build(&self) -> Arc<dyn EventSource> {
        Arc::new(self.clone())
    }

    async fn add(&self, records: &[FeedRecord]) {
        self.state().records.extend_from_slice(records);
        self.bell.notify_waiters();
    }

    async fn fail(&self) -> Result<(), CannotExpress> {
        self.set_absent(true);
        Ok(())
    }

    async fn heal(&self) {
        self.set_absent(false);
    }

    fn patience(&self) -> std::time::Duration {
        std::time::Duration::from_secs(2)
    }
}
