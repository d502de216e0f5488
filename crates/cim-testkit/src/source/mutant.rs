//! Sources that are broken on purpose, to show that the suite sees it.
//!
//! Owns one flaw each, in front of a [`MemorySource`]. Invariant: apart from its flaw a mutant is correct, so that the
//! first property it fails is the one that names the flaw.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering as Memory};
use std::time::Duration;

use cim_core::{
    CloseError, Commit, Component, ConfigOutcome, ConfigScope, ConfigSource, ConfigStream, ConfigUpdate,
    Health, Lease, Reported, Revision, SourceError, SourceErrorKind, async_trait,
};
use futures_util::{StreamExt as _, future, stream};

use super::memory::MemorySource;
use super::memory_store::MemoryStore;
use super::property::SourceProperty;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFlaw {
    /// A watch of an empty scope begins with the first change.
    SilentWhenEmpty,
    /// The entries of a reset come in the order of their keys.
    SortsByKey,
    /// The last of several entries of a reset is left out.
    DropsEntry,
    /// A key that was removed is not told.
    MissesDeletes,
    /// Two changes that are there at the same time change places.
    SwapsChanges,
    /// A change that is there with another one is told twice.
    RepeatsChanges,
    /// Keys of a microservice whose name begins like the own one are told.
    LoosePrefix,
    /// Bytes that are not UTF-8 are replaced.
    AltersBytes,
    /// White space at the end of a value is cut off.
    TrimsEnd,
    /// The first change after the one to go on from is lost.
    ResumesLate,
    /// The change to go on from is told again.
    ResumesEarly,
    /// When the moment to go on from is forgotten, the watch goes on with what is left.
    SkipsForgotten,
    /// A moment to go on from that is still to come is waited for.
    WaitsForFuture,
    /// A result ends in a newline.
    AddsNewline,
    /// The story of a result is not stored.
    DropsStory,
    /// The same result again is an error.
    RefusesRepetition,
    /// A lower revision is written over a higher one.
    GoesBack,
    /// `-1` is not written over a revision.
    KeepsOverFailure,
    /// A key that does not exist is read as an empty value.
    ReadsAbsent,
    /// A note is written whatever its key holds.
    SwapsBlindly,
    /// Reports wait for each other, and the second one for ever.
    ReportsBlock,
    /// Entries have no lease.
    HidesLease,
    /// A lease that has ended still lasts.
    LeaseForEver,
    /// An absent store is answered as a wrong configuration.
    SaysMisconfigured,
    /// While the store is absent calls never end.
    HangsWhenAbsent,
    /// After a failure the source never works again.
    StaysDown,
    /// A dropped report leaves a lock behind.
    StuckAfterCancel,
    /// The second close fails.
    ClosesOnce,
    /// A closed source answers `Ok` and stores nothing.
    OkAfterClose,
    /// The password is part of an error.
    LeaksInError,
    /// The password is part of the health text.
    LeaksInProbe,
}

/// What no mutant may show.
const SECRET: &str = "hunter2-b64";

impl SourceFlaw {
    /// All flaws, each with the property that has to find it.
    pub const ALL: [(Self, SourceProperty); 31] = [
        (Self::SilentWhenEmpty, SourceProperty::FirstReset),
        (Self::SortsByKey, SourceProperty::Listed),
        (Self::DropsEntry, SourceProperty::Listed),
        (Self::MissesDeletes, SourceProperty::Follows),
        (Self::SwapsChanges, SourceProperty::Ordered),
        (Self::RepeatsChanges, SourceProperty::Ordered),
        (Self::LoosePrefix, SourceProperty::Scope),
        (Self::AltersBytes, SourceProperty::ExactBytes),
        (Self::TrimsEnd, SourceProperty::ExactBytes),
        (Self::ResumesLate, SourceProperty::Resume),
        (Self::ResumesEarly, SourceProperty::Resume),
        (Self::SkipsForgotten, SourceProperty::HistoryGone),
        (Self::WaitsForFuture, SourceProperty::HistoryGone),
        (Self::AddsNewline, SourceProperty::Reported),
        (Self::DropsStory, SourceProperty::Reported),
        (Self::RefusesRepetition, SourceProperty::Idempotent),
        (Self::GoesBack, SourceProperty::Monotonic),
        (Self::KeepsOverFailure, SourceProperty::FinalWords),
        (Self::ReadsAbsent, SourceProperty::ReadBack),
        (Self::SwapsBlindly, SourceProperty::Swapped),
        (Self::ReportsBlock, SourceProperty::ReportWhileWatching),
        (Self::HidesLease, SourceProperty::Lease),
        (Self::LeaseForEver, SourceProperty::Lease),
        (Self::SaysMisconfigured, SourceProperty::AbsentStore),
        (Self::HangsWhenAbsent, SourceProperty::AbsentStore),
        (Self::StaysDown, SourceProperty::Recovery),
        (Self::StuckAfterCancel, SourceProperty::Cancellation),
        (Self::ClosesOnce, SourceProperty::CloseTwice),
        (Self::OkAfterClose, SourceProperty::CloseTwice),
        (Self::LeaksInError, SourceProperty::SecretsHidden),
        (Self::LeaksInProbe, SourceProperty::SecretsHidden),
    ];
}

/// A source with one flaw.
#[derive(Debug)]
pub struct SourceMutant {
    flaw: SourceFlaw,
    target: Arc<MemorySource>,
    closes: AtomicUsize,
    failed: Arc<AtomicBool>,
    busy: AtomicBool,
}

impl SourceMutant {
    /// A broken source in front of that store.
    #[must_use]
    pub fn new(flaw: SourceFlaw, target: Arc<MemorySource>) -> Self {
        let (closes, failed, busy) = (AtomicUsize::new(0), Arc::default(), AtomicBool::new(false));
        Self { flaw, target, closes, failed, busy }
    }

    /// A harness for a broken source.
    #[must_use]
    pub fn harness(flaw: SourceFlaw) -> MemoryStore {
        MemoryStore::new(|target| Arc::new(Self::new(flaw, Arc::clone(target))))
            .with_secrets(vec![SECRET.to_owned()])
    }

    /// Flaws in which updates are told, and when.
    fn distort(&self, updates: ConfigStream, scope: &ConfigScope, resume: Option<Revision>) -> ConfigStream {
        match self.flaw {
            SourceFlaw::SilentWhenEmpty => Box::pin(updates.filter(|item| {
                let empty = matches!(item, Ok(ConfigUpdate::Reset { entries, .. }) if entries.is_empty());
                future::ready(!empty)
            })),
            SourceFlaw::MissesDeletes => Box::pin(
                updates.filter(|item| future::ready(!matches!(item, Ok(ConfigUpdate::Delete { .. })))),
            ),
            SourceFlaw::SwapsChanges => Box::pin(updates.ready_chunks(2).flat_map(|mut pair| {
                if pair.iter().all(|item| matches!(item, Ok(ConfigUpdate::Put(_)))) {
                    pair.reverse();
                }
                stream::iter(pair)
            })),
            SourceFlaw::RepeatsChanges => Box::pin(updates.ready_chunks(2).flat_map(|pair| {
                let again = match pair.as_slice() {
                    [Ok(ConfigUpdate::Put(_)), Ok(ConfigUpdate::Put(entry))] => {
                        Some(Ok(ConfigUpdate::Put(entry.clone())))
                    }
                    _ => None,
                };
                stream::iter(pair.into_iter().chain(again))
            })),
            SourceFlaw::LoosePrefix => {
                let prefixes = scope.prefixes().map(|prefix| prefix.trim_end_matches('/').to_owned());
                let within =
                    move |key: &[u8]| prefixes.iter().any(|prefix| key.starts_with(prefix.as_bytes()));
                self.target.watch_within(Arc::new(within), resume)
            }
            SourceFlaw::SkipsForgotten | SourceFlaw::WaitsForFuture if resume.is_some() => {
                let (skips, past) =
                    (self.flaw == SourceFlaw::SkipsForgotten, resume <= Some(self.target.revision()));
                Box::pin(updates.filter(move |item| {
                    let is_reset = matches!(item, Ok(ConfigUpdate::Reset { .. }));
                    future::ready(!is_reset || skips != past)
                }))
            }
            SourceFlaw::ResumesLate if resume.is_some() => {
                Box::pin(updates.enumerate().filter_map(|(place, item)| {
                    let lost = place == 0 && matches!(item, Ok(ConfigUpdate::Put(_)));
                    future::ready((!lost).then_some(item))
                }))
            }
            _ => updates,
        }
    }

    /// Flaws in one update.
    fn spoil(flaw: SourceFlaw, mut update: ConfigUpdate) -> ConfigUpdate {
        if let ConfigUpdate::Reset { entries, .. } = &mut update {
            match flaw {
                SourceFlaw::SortsByKey => entries.sort_by(|one, other| one.key.cmp(&other.key)),
                SourceFlaw::DropsEntry if entries.len() > 3 => drop(entries.pop()),
                _ => {}
            }
        }
        let entries = match &mut update {
            ConfigUpdate::Reset { entries, .. } => entries.iter_mut().collect(),
            ConfigUpdate::Put(entry) => vec![entry],
            ConfigUpdate::Delete { .. } => Vec::new(),
        };
        for entry in entries {
            match flaw {
                SourceFlaw::AltersBytes => {
                    entry.value = String::from_utf8_lossy(&entry.value).as_bytes().into();
                }
                SourceFlaw::TrimsEnd => entry.value = entry.value.trim_ascii_end().into(),
                SourceFlaw::HidesLease => entry.lease = None,
                _ => {}
            }
        }
        update
    }

    /// Where a watch begins.
    fn moment(&self, resume: Option<Revision>) -> Option<Revision> {
        match self.flaw {
            SourceFlaw::ResumesEarly => resume.map(|moment| Revision(moment.0.saturating_sub(1))),
            _ => resume,
        }
    }

    /// Flaws of calls to a store that is absent, and of those after it.
    async fn misreport<T>(&self, outcome: Result<T, SourceError>) -> Result<T, SourceError> {
        if self.flaw == SourceFlaw::StaysDown && self.failed.load(Memory::Relaxed) {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "the connection is gone"));
        }
        let Err(error) = outcome else { return outcome };
        let is_absent = error.kind() == SourceErrorKind::Unavailable;
        self.failed.fetch_or(is_absent, Memory::Relaxed);
        match self.flaw {
            SourceFlaw::SaysMisconfigured if is_absent => {
                Err(SourceError::new(SourceErrorKind::Misconfigured, "no such store"))
            }
            SourceFlaw::HangsWhenAbsent if is_absent => pending().await,
            SourceFlaw::LeaksInError => {
                Err(SourceError::new(error.kind(), format!("cannot log in as admin:{SECRET}")))
            }
            _ => Err(error),
        }
    }

    /// Flaws in how a result is stored.
    async fn store(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
        let Some(commit) = &outcome.commit else { return self.target.report(outcome).await };
        let stored = self.target.value(commit.key.as_bytes());
        match self.flaw {
            SourceFlaw::RefusesRepetition if stored == Some(commit.value.to_string().into_bytes()) => {
                Err(SourceError::new(SourceErrorKind::Unavailable, "it is there already"))
            }
            SourceFlaw::GoesBack => {
                self.target.delete(commit.key.as_bytes());
                self.target.report(outcome).await
            }
            SourceFlaw::KeepsOverFailure if commit.value == Commit::FAILED && stored.is_some() => {
                Ok(Reported::Stored)
            }
            SourceFlaw::OkAfterClose if self.closes.load(Memory::Relaxed) > 0 => Ok(Reported::Stored),
            SourceFlaw::StuckAfterCancel => {
                while self.busy.swap(true, Memory::AcqRel) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::task::yield_now().await;
                let reported = self.target.report(outcome).await;
                self.busy.store(false, Memory::Release);
                reported
            }
            SourceFlaw::ReportsBlock => {
                while self.busy.swap(true, Memory::AcqRel) {
                    pending::<()>().await;
                }
                tokio::task::yield_now().await;
                let _free = Freed(&self.busy);
                self.target.report(outcome).await
            }
            SourceFlaw::AddsNewline => {
                let reported = self.target.report(outcome).await?;
                if let Some(value) = self.target.value(commit.key.as_bytes()) {
                    self.target.put(commit.key.as_bytes(), [&value, &b"\n"[..]].concat());
                }
                Ok(reported)
            }
            _ => self.target.report(outcome).await,
        }
    }
}

/// Lets go of a lock, however its holder ends.
struct Freed<'a>(&'a AtomicBool);

impl Drop for Freed<'_> {
    fn drop(&mut self) {
        self.0.store(false, Memory::Release);
    }
}

#[async_trait]
impl Component for SourceMutant {
    fn name(&self) -> &str {
        "mutant"
    }

    async fn probe(&self) -> Health {
        match self.flaw {
            SourceFlaw::LeaksInProbe => Health::Degraded(format!("logging in with {SECRET}")),
            _ => self.target.probe().await,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        match (self.flaw, self.closes.fetch_add(1, Memory::Relaxed)) {
            (SourceFlaw::ClosesOnce, 1) => Err(CloseError("not open".to_owned(), None)),
            (SourceFlaw::OkAfterClose, _) => Ok(()),
            _ => self.target.close().await,
        }
    }
}

#[async_trait]
impl ConfigSource for SourceMutant {
    fn watch(&self, scope: &ConfigScope, resume: Option<Revision>) -> ConfigStream {
        let (flaw, resume) = (self.flaw, self.moment(resume));
        let updates = self.distort(self.target.watch(scope, resume), scope, resume);
        Box::pin(updates.map(move |item| item.map(|update| Self::spoil(flaw, update))))
    }

    fn has_lasting_revisions(&self) -> bool {
        self.target.has_lasting_revisions()
    }

    async fn report(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
        let mut outcome = outcome.clone();
        if self.flaw == SourceFlaw::DropsStory {
            outcome.status = None;
        }
        let reported = self.store(&outcome).await;
        self.misreport(reported).await
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let value = self.target.read(key).await.map(|value| match self.flaw {
            SourceFlaw::ReadsAbsent => value.or(Some(Vec::new())),
            _ => value,
        });
        self.misreport(value).await
    }

    async fn swap(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError> {
        if self.flaw == SourceFlaw::SwapsBlindly {
            self.target.put(key, new);
            return Ok(true);
        }
        let written = self.target.swap(key, old, new).await;
        self.misreport(written).await
    }

    async fn time_left(&self, lease: Lease) -> Result<Option<Duration>, SourceError> {
        match self.flaw {
            SourceFlaw::LeaseForEver => {
                Ok(self.target.time_left(lease).await?.or(Some(Duration::from_secs(1))))
            }
            _ => self.target.time_left(lease).await,
        }
    }
}
