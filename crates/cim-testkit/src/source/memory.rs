//! A store in memory, and the source that reads it; fails on command.
//!
//! Owns watches and calls. Left out: what the store holds (`state`), flaws (`mutant`). Invariant: every change has a revision of its
//! own, one above the last.

mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_core::{
    CloseError, Component, ConfigOutcome, ConfigScope, ConfigSource, ConfigStream, ConfigUpdate, Health,
    Lease, Reported, Revision, SourceError, SourceErrorKind, async_trait,
};
use futures_util::stream;
use tokio::sync::watch;
use tokio::time::Instant;

pub use self::state::Snapshot;
use self::state::{State, Term, scripted};

/// Which keys a watch delivers.
pub(super) type Within = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// How far ahead a watch looks when no lease is about to end.
const LONG: Duration = Duration::from_secs(3_600);

struct Shared {
    state: Mutex<State>,
    changed: watch::Sender<()>,
    open: watch::Sender<bool>,
}

/// A store that remembers everything, and a source on it; fails as a test says.
#[derive(Clone)]
pub struct MemorySource {
    name: String,
    shared: Arc<Shared>,
}

impl std::fmt::Debug for MemorySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySource").field("name", &self.name).finish_non_exhaustive()
    }
}

impl MemorySource {
    /// An empty store of that name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        let shared = Shared {
            state: Mutex::default(),
            changed: watch::Sender::new(()),
            open: watch::Sender::new(true),
        };
        Arc::new(Self { name: name.into(), shared: Arc::new(shared) })
    }

    /// Writes a key.
    pub fn put(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Revision {
        self.change(|state| state.put(key.into(), value.into(), None))
    }

    /// Writes a key that goes away after that time, by the clock of the runtime.
    pub fn put_leased(&self, key: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>, time: Duration) -> Lease {
        self.change(|state| {
            let lease = Lease(i64::try_from(state.leases.len()).unwrap_or(i64::MAX).saturating_add(1));
            state.leases.insert(lease.0, Term { time, end: Instant::now() + time });
            state.put(key.into(), value.into(), Some(lease));
            lease
        })
    }

    /// Removes a key.
    pub fn delete(&self, key: &[u8]) {
        self.change(|state| state.delete(key));
    }

    /// Forgets every change so far: who resumes from an earlier moment gets everything.
    pub fn compact(&self) {
        self.change(|state| {
            state.forgotten = state.revision;
            state.history.clear();
        });
    }

    /// Remembers what it holds now.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        self.state().snapshot()
    }

    /// Becomes what it was, as a server whose data are replaced: every watch ends, revisions count from there again, and
    /// leases begin anew. Those of one length end in the order in which they would have.
    pub fn set_back(&self, snapshot: &Snapshot) {
        self.change(|state| state.set_back(snapshot));
    }

    /// Ends every watch with an error.
    pub fn cut(&self) {
        self.change(|state| state.cuts += 1);
    }

    /// Fails every call and ends every watch with that kind, until set to `None`.
    pub fn set_down(&self, kind: Option<SourceErrorKind>) {
        self.change(|state| state.down = kind);
    }

    /// Goes away as a server that is stopped: as [`set_down`](Self::set_down), and no lease ends meanwhile.
    pub fn stop(&self) {
        self.change(|state| {
            state.expire();
            state.stopped = true;
            state.down = Some(SourceErrorKind::Unavailable);
        });
    }

    /// Is back as a server that starts, or whose leader changed: leases begin anew.
    pub fn restart(&self) {
        self.change(|state| {
            state.begin_leases_anew();
            state.stopped = false;
            state.down = None;
        });
    }

    /// Fails the next reports, one after the other, and stores nothing of them.
    pub fn fail_reports(&self, kinds: impl IntoIterator<Item = SourceErrorKind>) {
        self.change(|state| state.failing.extend(kinds.into_iter().map(|kind| (kind, false))));
    }

    /// Fails none of the next reports any more.
    pub fn heal_reports(&self) {
        self.change(|state| state.failing.clear());
    }

    /// Stores the next reports, but answers each with that kind: the acknowledgement got lost.
    pub fn lose_answers(&self, kinds: impl IntoIterator<Item = SourceErrorKind>) {
        self.change(|state| state.failing.extend(kinds.into_iter().map(|kind| (kind, true))));
    }

    /// Fails that many questions for the time left of a lease.
    pub fn fail_lease_questions(&self, count: usize) {
        self.change(|state| state.failing_questions = count);
    }

    /// Closes or opens the gate: with a closed one every call and every watch waits.
    pub fn set_gate(&self, open: bool) {
        self.shared.open.send_replace(open);
    }

    /// What is stored under a key.
    #[must_use]
    pub fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        let mut state = self.state();
        state.expire();
        state.entries.get(key).map(|entry| entry.value.to_vec())
    }

    /// Every report that was stored, or superseded, in order.
    #[must_use]
    pub fn reports(&self) -> Vec<ConfigOutcome> {
        self.state().reports.clone()
    }

    /// How many watches were begun.
    #[must_use]
    pub fn watches(&self) -> usize {
        self.state().watches
    }

    /// Opens it again after `close`, for the next process.
    pub fn reopen(&self) {
        self.change(|state| state.closed = false);
    }

    /// Whether `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// The moment of the last change.
    #[must_use]
    pub fn revision(&self) -> Revision {
        self.state().revision
    }

    /// A watch of the keys for which `within` holds. For a mutant.
    pub(super) fn watch_within(&self, within: Within, resume: Option<Revision>) -> ConfigStream {
        let cursor = Cursor { shared: Arc::clone(&self.shared), within, after: resume, cuts: None };
        Box::pin(stream::unfold(Some(cursor), |cursor| async {
            let mut cursor = cursor?;
            let item = cursor.next().await;
            let rest = item.is_ok().then_some(cursor);
            Some((item, rest))
        }))
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.state());
        self.shared.changed.send_replace(());
        changed
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock()
    }

    /// Waits at the gate, and fails as a script says.
    async fn admit(&self) -> Result<(), SourceError> {
        let mut open = self.shared.open.subscribe();
        // The sender lives as long as this source, so the wait ends only by an open gate.
        let _ = open.wait_for(|open| *open).await;
        let mut state = self.state();
        state.expire();
        state.check()
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where a watch is.
struct Cursor {
    shared: Arc<Shared>,
    within: Within,
    after: Option<Revision>,
    /// Cuts before it began.
    cuts: Option<u64>,
}

impl Cursor {
    async fn next(&mut self) -> Result<ConfigUpdate, SourceError> {
        let shared = Arc::clone(&self.shared);
        let (mut changed, mut open) = (shared.changed.subscribe(), shared.open.subscribe());
        loop {
            let _ = open.wait_for(|open| *open).await;
            let until = {
                let mut state = shared.lock();
                state.expire();
                if let Some(item) = self.look(&mut state).transpose() {
                    return item;
                }
                let now = Instant::now();
                let ends = state.leases.values().map(|term| term.end).filter(|end| *end > now);
                ends.min().unwrap_or(now + LONG)
            };
            let _ = tokio::time::timeout_at(until, changed.changed()).await;
        }
    }

    fn look(&mut self, state: &mut State) -> Result<Option<ConfigUpdate>, SourceError> {
        state.check()?;
        if self.cuts.is_none() {
            state.watches += 1;
            self.after = self.after.filter(|after| *after > state.void);
        }
        if *self.cuts.get_or_insert(state.cuts) != state.cuts {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "the watch was cut"));
        }
        let known = self.after.filter(|after| (state.forgotten..=state.revision).contains(after));
        let Some(after) = known else {
            self.after = Some(state.revision);
            let inside = state.entries.values().filter(|entry| (self.within)(&entry.key));
            let mut entries: Vec<_> = inside.cloned().collect();
            entries.sort_by_key(|entry| entry.revision);
            return Ok(Some(ConfigUpdate::Reset { revision: state.revision, entries }));
        };
        let first = state.history.partition_point(|(revision, _)| *revision <= after);
        for (revision, update) in state.history.iter().skip(first) {
            self.after = Some(*revision);
            let key = match update {
                ConfigUpdate::Put(entry) => &entry.key,
                ConfigUpdate::Delete { key, .. } => key,
                ConfigUpdate::Reset { .. } => continue,
            };
            if (self.within)(key) {
                return Ok(Some(update.clone()));
            }
        }
        Ok(None)
    }
}

#[async_trait]
impl Component for MemorySource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        match self.state().down {
            Some(kind) => Health::Degraded(format!("down by script: {}", kind.as_str())),
            None => Health::Ready,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.change(|state| state.closed = true);
        Ok(())
    }
}

#[async_trait]
impl ConfigSource for MemorySource {
    fn watch(&self, scope: &ConfigScope, resume: Option<Revision>) -> ConfigStream {
        let scope = scope.clone();
        self.watch_within(Arc::new(move |key| scope.contains(key)), resume)
    }

    fn has_lasting_revisions(&self) -> bool {
        true
    }

    async fn report(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
        self.admit().await?;
        let failing = self.state().failing.pop_front();
        match failing {
            Some((kind, false)) => Err(scripted(kind)),
            Some((kind, true)) => {
                self.change(|state| state.report(outcome));
                Err(scripted(kind))
            }
            None => Ok(self.change(|state| state.report(outcome))),
        }
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.admit().await?;
        Ok(self.value(key.as_bytes()))
    }

    async fn swap(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError> {
        self.admit().await?;
        Ok(self.change(|state| {
            let is_unchanged = state.entries.get(key.as_bytes()).map(|entry| &*entry.value) == old;
            if is_unchanged {
                state.put(key.into(), new.into(), None);
            }
            is_unchanged
        }))
    }

    async fn time_left(&self, lease: Lease) -> Result<Option<Duration>, SourceError> {
        self.admit().await?;
        let fails = self.change(|state| {
            let fails = state.failing_questions > 0;
            state.failing_questions = state.failing_questions.saturating_sub(1);
            fails
        });
        if fails {
            return Err(scripted(SourceErrorKind::Unavailable));
        }
        let end = self.state().leases.get(&lease.0).map(|term| term.end);
        Ok(end.map(|end| end.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero()))
    }
}
