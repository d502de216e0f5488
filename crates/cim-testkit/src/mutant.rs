//! Sinks that are broken on purpose, to show that the suite sees it.
//!
//! Owns one flaw each, in front of a [`MemorySink`]. Invariant: apart from its flaw a mutant is correct, so that the
//! property it fails is the one that names the flaw.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Memory};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::{
    Batch, CloseError, Component, DeliveryError, DeliveryErrorKind, Durability, Event, EventSink, Health,
    LogRecord, LogSink, SinkProfile, Undelivered, async_trait,
};

use crate::{Kept, MemoryHarness, MemorySink, Property};

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// `max_records` is 0.
    NoRoom,
    /// An empty batch panics.
    PanicsOnEmpty,
    /// An empty batch shows a record.
    ShowsEmpty,
    /// The first record of a batch of more than ten is lost.
    DropsFirst,
    /// The last record of such a batch is delivered twice.
    Doubles,
    /// Bytes that are not UTF-8 are replaced.
    AltersBytes,
    /// White space at the end is cut off.
    TrimsEnd,
    /// The first two records of a source change places in such a batch.
    Reorders,
    /// `Ok` comes before the records are there.
    AcksEarly,
    /// A record above the limit is cut to it.
    CutsLarge,
    /// A record above the limit is answered as if the target were away, which would be retried for ever.
    RetriesLarge,
    /// A failure is answered with `Ok`.
    SwallowsErrors,
    /// An absent target is answered as a refusal, which would cost the records.
    RejectsWhenAbsent,
    /// After a failure the sink never works again.
    StaysDown,
    /// The positions of undelivered records are off by one.
    WrongPositions,
    /// A position outside the batch is named as undelivered.
    PositionOutside,
    /// A record counts as delivered once its delivery has begun, so a dropped future loses it.
    ForgetsOnCancel,
    /// A dropped future leaves a lock behind.
    StuckAfterCancel,
    /// The second close fails.
    ClosesOnce,
    /// A closed sink answers `Ok` and delivers nothing.
    OkAfterClose,
    /// The password is part of an error.
    LeaksInError,
    /// The password is part of the health text.
    LeaksInProbe,
}

/// Flaws of large batches show above this.
const MANY: usize = 10;

/// What no mutant may show.
const SECRET: &str = "hunter2-b64";

impl Flaw {
    /// All flaws, each with the property that has to find it.
    pub const ALL: [(Self, Property); 22] = [
        (Self::NoRoom, Property::ProfileSane),
        (Self::PanicsOnEmpty, Property::EmptyBatch),
        (Self::ShowsEmpty, Property::EmptyBatch),
        (Self::DropsFirst, Property::EachOnce),
        (Self::Doubles, Property::EachOnce),
        (Self::AltersBytes, Property::ExactBytes),
        (Self::TrimsEnd, Property::ExactBytes),
        (Self::Reorders, Property::Order),
        (Self::AcksEarly, Property::Acknowledged),
        (Self::CutsLarge, Property::TooLarge),
        (Self::RetriesLarge, Property::TooLarge),
        (Self::SwallowsErrors, Property::AbsentTarget),
        (Self::RejectsWhenAbsent, Property::AbsentTarget),
        (Self::StaysDown, Property::Recovery),
        (Self::WrongPositions, Property::CutMidBatch),
        (Self::PositionOutside, Property::CutMidBatch),
        (Self::ForgetsOnCancel, Property::Cancellation),
        (Self::StuckAfterCancel, Property::Cancellation),
        (Self::ClosesOnce, Property::CloseTwice),
        (Self::OkAfterClose, Property::CloseTwice),
        (Self::LeaksInError, Property::SecretsHidden),
        (Self::LeaksInProbe, Property::SecretsHidden),
    ];
}

/// A sink with one flaw.
#[derive(Debug)]
pub struct Mutant {
    flaw: Flaw,
    target: Arc<MemorySink>,
    closes: AtomicUsize,
    failed: AtomicBool,
    busy: Arc<AtomicBool>,
    begun: Mutex<HashSet<u64>>,
}

impl Mutant {
    /// A broken sink in front of that target.
    #[must_use]
    pub fn new(flaw: Flaw, target: Arc<MemorySink>) -> Self {
        Self {
            flaw,
            target,
            closes: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            busy: Arc::default(),
            begun: Mutex::default(),
        }
    }

    /// A fresh broken sink and its target, for the suite.
    #[must_use]
    pub fn harness(flaw: Flaw) -> MemoryHarness {
        let build = |target: &Arc<MemorySink>| {
            target.set_profile(SinkProfile { durability: Durability::Written, ..SinkProfile::default() });
            cim_core::Sink::both(Arc::new(Self::new(flaw, Arc::clone(target))))
        };
        MemoryHarness::new(build).with_secrets(vec![SECRET.to_owned()])
    }

    fn profile(&self) -> SinkProfile {
        let profile = LogSink::profile(self.target.as_ref());
        if self.flaw == Flaw::NoRoom { SinkProfile { max_records: 0, ..profile } } else { profile }
    }

    async fn take(&self, mut records: Vec<Kept>, empty: Kept) -> Result<(), DeliveryError> {
        let total = records.len();
        match self.flaw {
            #[allow(clippy::panic, reason = "the flaw is that it panics")]
            Flaw::PanicsOnEmpty if records.is_empty() => panic!("no first record"),
            Flaw::ShowsEmpty if records.is_empty() => records.push(empty),
            _ => self.spoil(&mut records),
        }
        if let Some(outcome) = self.answer_itself(&records).await {
            return outcome;
        }
        let outcome = self.target.take(records).await;
        self.misreport(outcome, total)
    }

    /// Flaws in what is delivered.
    fn spoil(&self, records: &mut Vec<Kept>) {
        let limit = self.profile().max_bytes;
        match self.flaw {
            Flaw::DropsFirst if records.len() > MANY => {
                records.remove(0);
            }
            Flaw::Doubles if records.len() > MANY => {
                records.extend(records.last().cloned());
            }
            Flaw::AltersBytes => {
                for record in records {
                    record.body = String::from_utf8_lossy(&record.body).replace("\\ufffd", "?").into_bytes();
                }
            }
            Flaw::TrimsEnd => {
                for record in records {
                    let text = String::from_utf8_lossy(&record.body).replace("\\n\"", "\"");
                    if text.len() != record.body.len() || text.ends_with(['\n', ' ']) {
                        record.body = text.trim_end().as_bytes().to_vec();
                    }
                }
            }
            Flaw::Reorders if records.len() > MANY => records.swap(0, 2),
            Flaw::CutsLarge => records.iter_mut().for_each(|record| record.body.truncate(limit + limit / 4)),
            Flaw::OkAfterClose if self.closes.load(Memory::Relaxed) > 0 => records.clear(),
            _ => {}
        }
    }

    /// Flaws in when and whether something is delivered at all.
    async fn answer_itself(&self, records: &[Kept]) -> Option<Result<(), DeliveryError>> {
        match self.flaw {
            Flaw::AcksEarly => {
                while self.busy.load(Memory::Acquire) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                if self.target.is_failing() {
                    return None;
                }
                self.keep_late(records.to_vec());
                Some(Ok(()))
            }
            Flaw::RetriesLarge
                if records.iter().any(|record| record.body.len() > self.profile().max_bytes + 4_096) =>
            {
                Some(Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "try again")))
            }
            Flaw::StaysDown if self.failed.load(Memory::Relaxed) => {
                Some(Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "the connection is gone")))
            }
            Flaw::ForgetsOnCancel => {
                let fresh: Vec<_> = {
                    let mut begun = self.begun.lock().unwrap_or_else(PoisonError::into_inner);
                    records.iter().filter(|record| begun.insert(record.meta.seq)).cloned().collect()
                };
                tokio::task::yield_now().await;
                let outcome = self.target.take(fresh).await;
                if outcome.is_err() {
                    self.begun.lock().unwrap_or_else(PoisonError::into_inner).clear();
                }
                Some(outcome)
            }
            Flaw::StuckAfterCancel => {
                while self.busy.swap(true, Memory::AcqRel) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::task::yield_now().await;
                let outcome = self.target.take(records.to_vec()).await;
                self.busy.store(false, Memory::Release);
                Some(outcome)
            }
            _ => None,
        }
    }

    /// Hands the records over later, from a thread of its own; the next batch waits for that.
    fn keep_late(&self, records: Vec<Kept>) {
        let (target, busy) = (Arc::clone(&self.target), Arc::clone(&self.busy));
        busy.store(true, Memory::Release);
        std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(30));
            target.keep(records);
            busy.store(false, Memory::Release);
        });
    }

    /// Flaws in what is answered.
    fn misreport(&self, outcome: Result<(), DeliveryError>, total: usize) -> Result<(), DeliveryError> {
        let Err(error) = outcome else {
            return Ok(());
        };
        if error.undelivered() == &Undelivered::All {
            self.failed.store(true, Memory::Relaxed);
        }
        let kind = error.kind();
        match (self.flaw, error.undelivered().clone()) {
            (Flaw::SwallowsErrors, Undelivered::All) if kind == DeliveryErrorKind::Unavailable => Ok(()),
            (Flaw::RejectsWhenAbsent, _) => Err(DeliveryError::new(DeliveryErrorKind::Rejected, "not taken")),
            (Flaw::WrongPositions, Undelivered::Only(positions)) if positions.len() > 1 => {
                Err(error.only(positions.into_iter().skip(1).collect()))
            }
            (Flaw::PositionOutside, Undelivered::Only(_)) => Err(error.only(vec![total])),
            (Flaw::LeaksInError, _) => {
                Err(DeliveryError::new(kind, format!("cannot log in as admin:{SECRET}")))
            }
            _ => Err(error),
        }
    }
}

#[async_trait]
impl Component for Mutant {
    fn name(&self) -> &str {
        "mutant"
    }

    async fn probe(&self) -> Health {
        match self.flaw {
            Flaw::LeaksInProbe => Health::Degraded(format!("logging in with {SECRET}")),
            _ => self.target.probe().await,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        match (self.flaw, self.closes.fetch_add(1, Memory::Relaxed)) {
            (Flaw::ClosesOnce, 1) => Err(CloseError("not open".to_owned(), None)),
            (Flaw::OkAfterClose, _) => Ok(()),
            _ => self.target.close().await,
        }
    }
}

#[async_trait]
impl LogSink for Mutant {
    fn profile(&self) -> SinkProfile {
        self.profile()
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        let empty = crate::Sample::numbered(0, "");
        self.take(batch.iter().map(Kept::log).collect(), Kept::log(&empty.log())).await
    }
}

#[async_trait]
impl EventSink for Mutant {
    fn profile(&self) -> SinkProfile {
        self.profile()
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        let empty = crate::Sample::numbered(0, "");
        self.take(batch.iter().map(Kept::event).collect(), Kept::event(&empty.event())).await
    }
}
