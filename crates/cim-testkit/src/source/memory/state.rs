//! What a store in memory holds, and what it still has to fail.
//!
//! Owns keys, leases and history. Left out: who waits for them. Invariant: every change has a revision of its own, one above the
//! last, and nothing outlives its lease.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use cim_core::{
    ConfigEntry, ConfigOutcome, ConfigUpdate, Lease, Reported, Revision, SourceError, SourceErrorKind,
};
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct State {
    pub(super) entries: BTreeMap<Vec<u8>, ConfigEntry>,
    pub(super) history: Vec<(Revision, ConfigUpdate)>,
    pub(super) revision: Revision,
    /// History up to here is forgotten.
    pub(super) forgotten: Revision,
    /// What was true before the store was set back: who resumes from in between gets everything.
    pub(super) void: Revision,
    pub(super) leases: BTreeMap<i64, Term>,
    pub(super) cuts: u64,
    pub(super) down: Option<SourceErrorKind>,
    /// Nothing happens in it, and no lease ends.
    pub(super) stopped: bool,
    pub(super) failing: VecDeque<(SourceErrorKind, bool)>,
    pub(super) failing_questions: usize,
    pub(super) reports: Vec<ConfigOutcome>,
    pub(super) watches: usize,
    pub(super) closed: bool,
}

/// How long a lease lasts, and when it ends.
#[derive(Debug, Clone, Copy)]
pub(super) struct Term {
    pub(super) time: Duration,
    pub(super) end: Instant,
}

/// What a store held at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    entries: BTreeMap<Vec<u8>, ConfigEntry>,
    revision: Revision,
    leases: BTreeMap<i64, Term>,
}

impl State {
    pub(super) fn snapshot(&mut self) -> Snapshot {
        self.expire();
        let (entries, leases) = (self.entries.clone(), self.leases.clone());
        Snapshot { entries, revision: self.revision, leases }
    }

    pub(super) fn set_back(&mut self, snapshot: &Snapshot) {
        self.void = self.void.max(self.revision);
        self.entries.clone_from(&snapshot.entries);
        self.revision = snapshot.revision;
        self.forgotten = snapshot.revision;
        self.history.clear();
        self.leases.clone_from(&snapshot.leases);
        self.begin_leases_anew();
        self.cuts += 1;
    }

    /// Gives every lease its whole time. Those of one length end in the order in which they would have.
    pub(super) fn begin_leases_anew(&mut self) {
        let mut leases: Vec<_> = self.leases.iter().collect();
        leases.sort_by_key(|(_, term)| term.end);
        let anew = |(rank, (id, term)): (u64, (&i64, &Term))| {
            let start = Instant::now() + Duration::from_millis(rank);
            (*id, Term { time: term.time, end: start + term.time })
        };
        self.leases = (0..).zip(leases).map(anew).collect();
    }

    pub(super) fn check(&self) -> Result<(), SourceError> {
        match self.down {
            _ if self.closed => Err(SourceError::new(SourceErrorKind::Closed, "the memory source is closed")),
            Some(kind) => Err(scripted(kind)),
            None => Ok(()),
        }
    }

    pub(super) fn put(&mut self, key: Vec<u8>, value: Vec<u8>, lease: Option<Lease>) -> Revision {
        let revision = self.next_revision();
        let entry = ConfigEntry { key: key.clone(), value: value.into(), revision, lease };
        self.history.push((revision, ConfigUpdate::Put(entry.clone())));
        self.entries.insert(key, entry);
        revision
    }

    pub(super) fn delete(&mut self, key: &[u8]) {
        if self.entries.remove(key).is_some() {
            let revision = self.next_revision();
            self.history.push((revision, ConfigUpdate::Delete { key: key.to_vec(), revision }));
        }
    }

    pub(super) fn next_revision(&mut self) -> Revision {
        self.revision.0 += 1;
        self.revision
    }

    /// Removes what belongs to leases that have ended.
    pub(super) fn expire(&mut self) {
        if self.stopped {
            return;
        }
        let now = Instant::now();
        let is_over = |entry: &ConfigEntry, leases: &BTreeMap<i64, Term>| {
            entry.lease.is_some_and(|lease| leases.get(&lease.0).is_none_or(|term| term.end <= now))
        };
        let over = self.entries.values().filter(|entry| is_over(entry, &self.leases));
        let keys: Vec<_> = over.map(|entry| entry.key.clone()).collect();
        keys.iter().for_each(|key| self.delete(key));
    }

    pub(super) fn report(&mut self, outcome: &ConfigOutcome) -> Reported {
        self.reports.push(outcome.clone());
        if let Some((key, status)) = &outcome.status {
            let text = serde_json::to_vec(status).unwrap_or_default();
            self.put(key.clone().into_bytes(), text, None);
        }
        let Some(commit) = &outcome.commit else { return Reported::Stored };
        let stored = self.entries.get(commit.key.as_bytes());
        if let Some(stored) = stored.and_then(|entry| commit.is_superseded_by(&entry.value)) {
            return Reported::Superseded { stored };
        }
        self.put(commit.key.clone().into_bytes(), commit.value.to_string().into_bytes(), None);
        Reported::Stored
    }
}

pub(super) fn scripted(kind: SourceErrorKind) -> SourceError {
    SourceError::new(kind, "the script of the memory source says so")
}
