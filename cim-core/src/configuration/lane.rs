//! The changes of one document: strictly one after the other, never back.
//!
//! A pure state machine: inputs come with the time, and [`Lane::poll`] says what is to be done next. Left out: doing it.
//! Walk of one change: offered → pushed → (a result on CONFIG, or the verdict of the call) → confirmed, where that is
//! asked for → settled, once → its result stored. Invariants: one call at a time; changes are pushed in the order of
//! their revisions; a settled revision is never pushed again, nor is any lower one; none is pushed while the last one is still
//! being confirmed or undone, nor before it is known what
//! earlier runs settled, nor before the result of the last one is stored, so that this also holds across a crash; the word
//! of the application on CONFIG beats what a call says; no change fails that was not handed over, nor while its lease may
//! last: stores begin leases anew, so at the deadline the store is asked.

mod calling;
mod confirming;
mod lease;
mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Phase, PushStep, Settled, Step, Word};
use super::key::{ChangeKey, DocumentId};
use super::record::Record;
use super::rules::{Now, Rules};
use crate::contract::{ChangeState, ChangeStatus};

/// The changes of one document.
#[derive(Debug)]
pub struct Lane {
    rules: Rules,
    record: Record,
    /// The last one was settled by the answer of a call, and the application may still correct it.
    correctable: Option<Settled>,
    pending: BTreeMap<i32, Change>,
    /// What is under way with the application: a call, a confirmation, or the undoing of a change.
    calling: Option<u32>,
    /// The same with the application as it was before it registered again.
    abandoned: Option<u32>,
    /// How often something was begun with it.
    attempts: u32,
    /// It is known what earlier runs settled.
    known: bool,
    /// Results that are not stored yet.
    storing: u32,
}

impl Lane {
    /// A lane whose changes up to `settled` have a result, so many of them not stored yet. It waits for [`know`](Self::know).
    #[must_use]
    pub fn new(rules: Rules, settled: i32, last: Option<ChangeStatus>, storing: u32) -> Self {
        Self {
            rules,
            record: Record::new(settled, last),
            correctable: None,
            pending: BTreeMap::new(),
            calling: None,
            abandoned: None,
            attempts: 0,
            known: false,
            storing,
        }
    }

    /// What the store says of earlier runs.
    pub fn know(&mut self, last: Option<ChangeStatus>) -> bool {
        self.known = true;
        let is_forgotten = self.record.learn(last);
        let offered = std::mem::take(&mut self.pending);
        self.pending =
            offered.into_iter().filter(|(_, change)| self.record.is_news(&change.status)).collect();
        is_forgotten
    }

    /// The store was set back.
    pub fn set_back(&mut self) {
        self.record.set_back();
    }

    /// A result is stored, or given up.
    pub fn stored(&mut self) {
        self.storing = self.storing.saturating_sub(1);
    }

    /// Takes a change. `written`: the moment of the store, where that means the same to every process. Returns whether it is
    /// news.
    pub fn offer(&mut self, key: ChangeKey, patch: Arc<[u8]>, written: Option<u64>, now: Now) -> bool {
        if let Some(known) = self.pending.get_mut(&key.revision) {
            known.live = true;
            if known.phase == Phase::Waiting && !known.is_begun() {
                known.patch = patch;
                known.status.store_revision = written;
            }
            return false;
        }
        // A revision that comes after a higher one was handed over is history already.
        let head = self.pending.values().next();
        if head.is_some_and(|head| head.is_begun() && head.key.revision > key.revision) {
            return false;
        }
        let DocumentId { level, data_key } = &key.document;
        let status = ChangeStatus {
            data_key: data_key.clone(),
            level: level.as_str().to_owned(),
            revision: key.revision,
            state: ChangeState::Received,
            reason: None,
            attempts: 0,
            received_ms: now.wall_ms,
            pushed_ms: None,
            settled_ms: None,
            deadline_ms: None,
            store_revision: written,
            count_after: None,
        };
        if !self.record.is_news(&status) {
            return false;
        }
        let revision = key.revision;
        let change = Change {
            key,
            patch,
            lease: None,
            deadline: None,
            commit_by: None,
            asked: false,
            is_last: false,
            live: true,
            status,
            phase: Phase::Waiting,
        };
        self.pending.insert(revision, change);
        true
    }

    /// Changes up to this revision have a result from an earlier run.
    pub fn skip_through(&mut self, revision: i32) {
        self.record.skip_through(revision);
        self.pending = self.pending.split_off(&(revision.saturating_add(1)));
    }

    /// Hands nothing over until [`stored`](Self::stored): the application is called for another reason.
    pub fn hold(&mut self) {
        self.storing += 1;
    }

    /// The change is no longer in the store: its lease ended, or it was taken back.
    pub fn withdraw(&mut self, revision: i32) {
        if let Some(change) = self.pending.get_mut(&revision) {
            change.live = false;
        }
    }

    /// The application registered again: what it was told before is forgotten, what has no result is pushed again.
    pub fn application_restarted(&mut self) {
        self.correctable = None;
        for change in self.pending.values_mut() {
            change.begin_anew();
        }
        // The verdict of a call to the application that is gone means nothing. It may still be at work, if it is not gone.
        self.abandoned = self.calling.take().or(self.abandoned);
    }

    /// The application published a result. `None`: the change is not the one at work, has its result already, or is still to be
    /// confirmed.
    pub fn result(&mut self, revision: i32, word: Word, now: Now) -> Option<Settled> {
        if self.correctable.as_ref().is_some_and(|settled| settled.key.revision == revision) {
            return self.correct(word, now);
        }
        let confirms = self.rules.confirm.is_some();
        let (_, change) = self.pending.iter_mut().next().filter(|(head, _)| **head == revision)?;
        let waits = match change.phase {
            // Handed over in an earlier life of this process, maybe.
            Phase::Waiting => change.live,
            Phase::Calling | Phase::Taken { .. } | Phase::Pausing { .. } => true,
            // Its silence was taken for a word.
            Phase::ToConfirm(Some(_)) | Phase::Confirming(Some(_)) => true,
            _ => false,
        };
        if !waits {
            return None;
        }
        let (state, reason) = match word {
            Word::Success if confirms => {
                change.phase = match change.phase {
                    Phase::Confirming(_) => Phase::Confirming(None),
                    _ => Phase::ToConfirm(None),
                };
                return None;
            }
            Word::Success => (ChangeState::Applied, None),
            Word::Unused => (ChangeState::Unused, None),
            Word::Failure => (ChangeState::Failed, Some("the application reported a failure".to_owned())),
        };
        self.settle(revision, state, reason, now)
    }

    /// A late word that contradicts what the answer of the call had said.
    fn correct(&mut self, word: Word, now: Now) -> Option<Settled> {
        let mut settled = self.correctable.take()?;
        let state = match word {
            Word::Success => {
                settled.status.reason = None;
                self.record.correct(settled.status);
                return None;
            }
            Word::Unused => ChangeState::Unused,
            Word::Failure => ChangeState::Failed,
        };
        settled.status.state = state;
        settled.status.reason = Some("the application corrected its answer on CONFIG".to_owned());
        settled.status.settled_ms = Some(now.wall_ms);
        settled.corrects = true;
        self.storing += 1;
        self.record.correct(settled.status.clone());
        Some(settled)
    }

    /// What is to be done now; `ready`: the application may be called. To be asked until it says `None`.
    pub fn poll(&mut self, now: Now, ready: bool) -> Option<Step> {
        if !self.known {
            return None;
        }
        let is_free = self.calling.is_none() && self.abandoned.is_none();
        let may_push = ready && is_free && self.storing == 0;
        let (&revision, change) = self.pending.iter_mut().next()?;
        let phase = change.phase.clone();
        if !change.live && !phase.is_led_to_an_end() {
            return self.over(revision, now).map(Step::Settled);
        }
        if phase.is_repeated() && change.is_overdue(now.mono) {
            if change.is_last || change.lease.is_none() {
                return self.late(revision, now).map(Step::Settled);
            }
            if let Some(question) = change.ask() {
                return Some(Step::Ask(question));
            }
        }
        match phase {
            Phase::Taken { until, silence } if now.mono >= until => self.silent(revision, silence, now),
            // What seems to be over is not begun before the store says that it is not.
            Phase::Waiting if may_push && change.seems_over(now.mono) => change.ask().map(Step::Ask),
            Phase::Waiting if may_push => self.push(revision),
            Phase::Pausing { until } if may_push && now.mono >= until => self.push(revision),
            Phase::ToConfirm(_) | Phase::ToUndo { .. } | Phase::Undone(_) => {
                self.confirm_or_undo(revision, phase, is_free, now)
            }
            _ => None,
        }
    }

    /// The change ends like that before it is handed over.
    pub fn refuse(&mut self, revision: i32, state: ChangeState, reason: String, now: Now) -> Option<Settled> {
        self.settle(revision, state, Some(reason), now)
    }

    /// When [`poll`](Self::poll) is worth the next call, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        let change = self.pending.values().next().filter(|_| self.known)?;
        let deadline = change.deadline.filter(|_| change.status.attempts > 0 && !change.asked);
        match &change.phase {
            Phase::Taken { until, .. } => Some(*until),
            Phase::Pausing { until } | Phase::ToUndo { until, .. } => {
                Some(deadline.map_or(*until, |deadline| deadline.min(*until)))
            }
            Phase::Waiting | Phase::Calling => deadline,
            // What these wait for ends by itself.
            Phase::ToConfirm(_) | Phase::Confirming(_) | Phase::Undoing(..) | Phase::Undone(_) => None,
        }
    }

    fn push(&mut self, revision: i32) -> Option<Step> {
        self.correctable = None;
        self.enter(revision, Phase::Calling).map(Step::Push)
    }

    fn enter(&mut self, revision: i32, phase: Phase) -> Option<PushStep> {
        let change = self.pending.get_mut(&revision)?;
        self.attempts = self.attempts.wrapping_add(1);
        self.calling = Some(self.attempts);
        change.phase = phase;
        Some(change.step(self.attempts))
    }

    /// The time of the change is over, and the application was called in vain.
    fn late(&mut self, revision: i32, now: Now) -> Option<Settled> {
        let change = self.pending.get(&revision)?;
        let reason = change.phase.undoing().or_else(|| change.status.reason.clone());
        let reason = reason.unwrap_or_else(|| "the application did not answer in time".to_owned());
        self.settle_in_doubt(revision, ChangeState::Failed, Some(reason), now)
    }

    /// The change went away without a result.
    fn over(&mut self, revision: i32, now: Now) -> Option<Settled> {
        let change = self.pending.get(&revision)?;
        let reason = match change.status.attempts {
            0 => "its lease ended before it could be handed over",
            _ => "its lease ended before the application gave a result",
        };
        let why = change.phase.undoing().or_else(|| change.status.reason.clone());
        let reason = why.map_or_else(|| reason.to_owned(), |why| format!("{reason}: {why}"));
        self.settle_in_doubt(revision, ChangeState::Expired, Some(reason), now)
    }

    /// As [`settle`](Self::settle), where nobody said whether the application has the change.
    fn settle_in_doubt(
        &mut self,
        revision: i32,
        state: ChangeState,
        reason: Option<String>,
        now: Now,
    ) -> Option<Settled> {
        let settled = self.settle(revision, state, reason, now)?;
        let in_doubt = settled.status.attempts > 0;
        Some(Settled { in_doubt, ..settled })
    }

    fn settle(
        &mut self,
        revision: i32,
        state: ChangeState,
        reason: Option<String>,
        now: Now,
    ) -> Option<Settled> {
        let mut change = self.pending.remove(&revision)?;
        change.status.state = state;
        change.status.reason = reason;
        change.status.settled_ms = Some(now.wall_ms);
        let is_of_new_count = self.record.settle(&mut change.status);
        self.storing += 1;
        self.correctable = None;
        let Change { key, patch, lease, commit_by, status, .. } = change;
        Some(Settled {
            key,
            patch,
            lease,
            commit_by,
            status,
            corrects: false,
            in_doubt: false,
            is_of_new_count,
        })
    }
}

#[cfg(test)]
mod tests;
