//! Everything there is to change: one lane per document, fed by the source and by the application.
//!
//! Pure as the lanes are. Owns the meaning of keys and results, and (`outcome`) what the config server is told. Left out: doing
//! it (`driver`), and day-one documents. The invariants: a result counts only for a change that was handed over, so nothing
//! is ever committed under a foreign key; looking for work costs what there is to do, not what there is.

mod outcome;
mod words;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

pub use self::outcome::OnFailure;
use super::change::Step;
use super::counts::Counts;
use super::key::{ChangeKey, DocumentId, Key, MapLevel, OWN_DOCUMENT};
use super::lane::Lane;
use super::news::{DayOneEntry, LeaseQuestion, News};
use super::rules::{Now, Rules};
use crate::contract::{ChangeStatus, ConfigEntry, ConfigUpdate, Identity};

/// All lanes.
#[derive(Debug)]
pub struct Desk {
    identity: Identity,
    rules: Rules,
    on_failure: OnFailure,
    lanes: BTreeMap<DocumentId, Lane>,
    /// What earlier runs settled, for lanes that do not exist yet.
    remembered: BTreeMap<DocumentId, (i32, Option<ChangeStatus>)>,
    /// How many results of theirs are not stored yet.
    storing: BTreeMap<DocumentId, u32>,
    /// CIM's own document has a map of its own; `None`: nobody knows yet, and its changes wait for that.
    own_map: Option<bool>,
    /// Revisions of the store mean the same to every process.
    lasting_revisions: bool,
    /// Results that the config server has from earlier runs.
    committed: BTreeMap<String, i32>,
    /// Revisions of the maps with which the pod began, by the key of their results.
    began_with: BTreeMap<String, i32>,
    ready: bool,
    touched: VecDeque<DocumentId>,
    wakes: BTreeSet<(Duration, DocumentId)>,
    counts: Counts,
}

impl Desk {
    /// A desk without work. `remembered`: the highest settled revision per document, from earlier runs.
    #[must_use]
    pub fn new(
        identity: Identity,
        rules: Rules,
        on_failure: OnFailure,
        remembered: BTreeMap<DocumentId, (i32, Option<ChangeStatus>)>,
    ) -> Self {
        Self {
            identity,
            rules,
            on_failure,
            lanes: BTreeMap::new(),
            remembered,
            storing: BTreeMap::new(),
            own_map: None,
            lasting_revisions: false,
            committed: BTreeMap::new(),
            began_with: BTreeMap::new(),
            ready: false,
            touched: VecDeque::new(),
            wakes: BTreeSet::new(),
            counts: Counts::default(),
        }
    }

    /// What was counted so far.
    #[must_use]
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// The same, to be counted on.
    pub fn counts_mut(&mut self) -> &mut Counts {
        &mut self.counts
    }

    /// Revisions of the store mean the same to every process.
    pub fn set_lasting_revisions(&mut self, lasting: bool) {
        self.lasting_revisions = lasting;
    }

    /// The store was set back: moments of its earlier life, which stories tell, mean nothing in this one.
    pub fn set_back(&mut self) {
        self.lanes.values_mut().for_each(Lane::set_back);
        for last in self.remembered.values_mut().filter_map(|(_, last)| last.as_mut()) {
            (last.store_revision, last.count_after) = (None, None);
        }
    }

    /// The application may be called from now on. `again`: it had registered before, so whatever it was told is gone.
    pub fn application_ready(&mut self, again: bool) {
        self.ready = true;
        for (document, lane) in &mut self.lanes {
            if again && document.data_key != OWN_DOCUMENT {
                lane.application_restarted();
            }
            self.touched.push_back(document.clone());
        }
    }

    /// Whether the application may be called.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.ready
    }

    /// Takes an update of the source.
    pub fn update(&mut self, update: ConfigUpdate, now: Now) -> News {
        let mut news = News::default();
        match update {
            ConfigUpdate::Reset { entries, .. } => {
                let mut there: BTreeMap<DocumentId, BTreeSet<i32>> = BTreeMap::new();
                for entry in entries {
                    if let Some((document, revision)) = self.put(entry, now, &mut news) {
                        there.entry(document).or_default().insert(revision);
                    }
                }
                self.withdraw_all_but(&there);
            }
            ConfigUpdate::Put(entry) => {
                let _ = self.put(entry, now, &mut news);
            }
            ConfigUpdate::Delete { key, .. } => match Key::parse(&key, &self.identity) {
                Key::Change(key) => {
                    if let Some(lane) = self.lanes.get_mut(&key.document) {
                        lane.withdraw(key.revision);
                        self.touched.push_back(key.document);
                    }
                }
                Key::DayOne(revision) => news.removed = Some(revision),
                Key::Foreign | Key::Malformed(_) => {}
            },
        }
        // Where a map was made anew, the results of its old changes would hide those of the new ones.
        if !news.results.is_empty() {
            for (document, _) in self.lanes.iter().filter(|(_, lane)| lane.is_at_new_count()) {
                news.results.remove(&self.commit_key(document));
            }
        }
        news
    }

    fn put(&mut self, entry: ConfigEntry, now: Now, news: &mut News) -> Option<(DocumentId, i32)> {
        match Key::parse(&entry.key, &self.identity) {
            Key::Change(key) => {
                let (document, revision) = (key.document.clone(), key.revision);
                self.offer(key, entry, now, news);
                Some((document, revision))
            }
            Key::DayOne(revision) => {
                news.day_one.push(DayOneEntry { revision, value: entry.value, written: entry.revision });
                None
            }
            Key::Foreign => {
                self.counts.foreign_keys += 1;
                tracing::debug!(key = %String::from_utf8_lossy(&entry.key), "a key of somebody else");
                None
            }
            Key::Malformed(why) => {
                self.counts.malformed_keys += 1;
                tracing::warn!(key = %shown(&entry.key), why, "a key that is none of the contract is left alone");
                None
            }
        }
    }

    fn offer(&mut self, key: ChangeKey, entry: ConfigEntry, now: Now, news: &mut News) {
        let (document, revision) = (key.document.clone(), key.revision);
        let result_key = self.commit_key(&document);
        let is_committed = self.committed.get(&result_key) == Some(&revision);
        let (rules, remembered, storing) = (self.rules, &mut self.remembered, &mut self.storing);
        let lane = self.lanes.entry(document.clone()).or_insert_with(|| {
            let (settled, last) = remembered.remove(&document).unwrap_or_default();
            let confirm = rules.confirm.filter(|_| document.data_key != OWN_DOCUMENT);
            news.documents.push(document.clone());
            let storing = storing.remove(&document).unwrap_or_default();
            Lane::new(Rules { confirm, ..rules }, settled, last, storing)
        });
        if is_committed {
            lane.skip_through(revision);
        }
        let written = self.lasting_revisions.then_some(entry.revision.0);
        if lane.offer(key, entry.value, written, now) {
            self.counts.received += 1;
        } else if !lane.waits(revision) {
            news.results.insert(result_key);
        }
        news.leases.extend(entry.lease.and_then(|lease| lane.lease(revision, lease)));
        self.touched.push_back(document);
    }

    fn withdraw_all_but(&mut self, there: &BTreeMap<DocumentId, BTreeSet<i32>>) {
        for (document, lane) in &mut self.lanes {
            let kept = there.get(document);
            let gone: Vec<i32> = lane
                .revisions()
                .filter(|revision| kept.is_none_or(|kept| !kept.contains(revision)))
                .collect();
            for revision in gone {
                lane.withdraw(revision);
                self.touched.push_back(document.clone());
            }
        }
    }

    /// What the store says of earlier changes of a document. A story of the other level's document of that name, which has the
    /// same place in the store, says nothing of this one. Returns whether it is a change that the last run did not remember.
    pub fn know(&mut self, document: &DocumentId, last: Option<ChangeStatus>) -> bool {
        let Some(lane) = self.lanes.get_mut(document) else { return false };
        self.touched.push_back(document.clone());
        lane.know(last.filter(|last| last.level == document.level.as_str()))
    }

    /// A result of a document from an earlier run is not stored yet: [`stored`](Self::stored) will say when it is.
    pub fn await_storing(&mut self, document: DocumentId) {
        *self.storing.entry(document).or_default() += 1;
    }

    /// A result of a document is stored, or given up.
    pub fn stored(&mut self, document: &DocumentId) {
        if let Some(lane) = self.lanes.get_mut(document) {
            lane.stored();
            self.touched.push_back(document.clone());
        } else if let Some(storing) = self.storing.get_mut(document) {
            *storing = storing.saturating_sub(1);
        }
    }

    /// The answer to a [`LeaseQuestion`]; `None`: the lease has ended.
    pub fn limit(&mut self, question: &LeaseQuestion, time_left: Option<Duration>, now: Now) {
        if let Some(lane) = self.lanes.get_mut(&question.document) {
            lane.limit(question, time_left, now);
            self.touched.push_back(question.document.clone());
        }
    }

    /// Whether the answer still matters.
    #[must_use]
    pub fn needs(&self, question: &LeaseQuestion) -> bool {
        self.lanes.get(&question.document).is_some_and(|lane| lane.waits(question.revision))
    }

    /// The document of that name, kept at rest until [`stored`](Self::stored): the application is called for it beside its lane.
    ///
    /// # Errors
    /// Why it must not be called now.
    pub fn hold(&mut self, data_key: &str) -> Result<DocumentId, String> {
        if data_key == OWN_DOCUMENT {
            return Err(format!(
                "`{data_key}` is CIM's own document: the config server, or its file, changes it"
            ));
        }
        let mut found = None;
        for (document, lane) in self.lanes.iter_mut().filter(|(document, _)| document.data_key == data_key) {
            if !lane.is_at_rest() {
                return Err(format!("a change of `{document}` is at work; wait for its result"));
            }
            found = found.or_else(|| Some((document.clone(), lane)));
        }
        let Some((document, lane)) = found else {
            return Ok(DocumentId { level: MapLevel::Ms, data_key: data_key.to_owned() });
        };
        lane.hold();
        Ok(document)
    }

    /// The config server has a result of that revision under that key, from an earlier run: the change of exactly that
    /// revision is not handed over again. A lower one is, because it may be one of another document of the same map.
    pub fn already_committed(&mut self, key: String, revision: i32) {
        self.committed.insert(key, revision);
    }

    /// What is to be done now. To be asked until it says `None`.
    pub fn poll(&mut self, now: Now) -> Option<Step> {
        while let Some((_, document)) = self.wakes.first().filter(|(at, _)| *at <= now.mono).cloned() {
            self.wakes.pop_first();
            self.touched.push_back(document);
        }
        while let Some(document) = self.touched.front() {
            let Some(lane) = self.lanes.get_mut(document) else {
                self.touched.pop_front();
                continue;
            };
            let is_own = document.data_key == OWN_DOCUMENT;
            let ready = if is_own { self.own_map.is_some() } else { self.ready };
            if let Some(step) = lane.poll(now, ready) {
                return Some(step);
            }
            if let Some(at) = lane.wake() {
                self.wakes.insert((at, document.clone()));
            }
            self.touched.pop_front();
        }
        None
    }

    /// When [`poll`](Self::poll) is worth the next call, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        self.wakes.first().map(|(at, _)| *at)
    }

    /// Every document with the story of its change at work or of its last one, and how many wait behind.
    pub fn documents(&self) -> impl Iterator<Item = (&DocumentId, &Lane)> {
        self.lanes.iter()
    }

    /// The highest settled revision per document, with its story, for the next run.
    #[must_use]
    pub fn settled(&self) -> BTreeMap<DocumentId, (i32, Option<ChangeStatus>)> {
        let mut all = self.remembered.clone();
        for (document, lane) in self.lanes.iter().filter(|(_, lane)| lane.settled() > 0) {
            all.insert(document.clone(), (lane.settled(), lane.last().cloned()));
        }
        all
    }
}

/// The start of a key, for a log line.
fn shown(key: &[u8]) -> String {
    let start = key.get(..200).unwrap_or(key);
    String::from_utf8_lossy(start).escape_debug().to_string()
}

#[cfg(test)]
mod tests;
