//! The changes of one document: strictly one after the other, never back.
//!
//! A pure state machine: inputs come with the time, and [`Lane::poll`] says what is to be done next. Left out: doing it.
//! Walk of one change: offered → pushed → (a result on CONFIG, or the verdict of the call) → confirmed, where that is
//! asked for → settled, once → its result stored. Invariants: one call at a time; changes are pushed in the order of
//! their revisions; a settled revision is never pushed again, nor is any lower one; none is pushed before it is known what
//! earlier runs settled, nor before the result of the last one is stored, so that this also holds across a crash; the word
//! of the application on CONFIG beats what a call says; no change fails that was not handed over, nor while its lease may
//! last: stores begin leases anew, so at the deadline the store is asked.

mod lease;
mod seen;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::change::{Change, Phase, PushStep, Settled, Step, Verdict, Word};
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
    /// The call that is under way.
    calling: Option<u32>,
    /// A call to the application as it was before it registered again.
    abandoned: Option<u32>,
    attempts: u32,
    /// It is known what earlier runs settled.
    known: bool,
    /// Results that are not stored yet.
    storing: u32,
}

impl Lane {
    /// A lane whose changes up to `settled` have a result. It waits for [`know`](Self::know).
    #[must_use]
    pub fn new(rules: Rules, settled: i32, last: Option<ChangeStatus>) -> Self {
        Self {
            rules,
            record: Record::new(settled, last),
            correctable: None,
            pending: BTreeMap::new(),
            calling: None,
            abandoned: None,
            attempts: 0,
            known: false,
            storing: 0,
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

    /// A result is stored, or given up.
    pub fn stored(&mut self) {
        self.storing = self.storing.saturating_sub(1);
    }

    /// Takes a change. `written`: the moment of the store, where that means the same to every process. Returns whether it is
    /// news.
    pub fn offer(&mut self, key: ChangeKey, patch: Arc<[u8]>, written: Option<u64>, now: Now) -> bool {
        if let Some(known) = self.pending.get_mut(&key.revision) {
            known.live = true;
            return false;
        }
        // A revision that comes after a higher one was handed over is history already.
        let head = self.pending.values().next();
        if head.is_some_and(|head| head.status.attempts > 0 && head.key.revision > key.revision) {
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
            change.phase = Phase::Waiting;
        }
        // The verdict of a call to the application that is gone means nothing. It may still be at work, if it is not gone.
        self.abandoned = self.calling.take().or(self.abandoned);
    }

    /// A call ended.
    pub fn answered(&mut self, attempt: u32, verdict: Verdict, now: Now) {
        if self.abandoned == Some(attempt) {
            self.abandoned = None;
        }
        if self.calling != Some(attempt) {
            return;
        }
        self.calling = None;
        let rules = self.rules;
        let Some(change) = self.pending.values_mut().find(|change| change.phase == Phase::Calling) else {
            return;
        };
        change.phase = match verdict {
            Verdict::Accepted(status) => Phase::Taken {
                until: change.deadline.unwrap_or(Duration::MAX).min(now.mono + rules.result_within),
                silence: format!("the application answered {status} and published no result"),
            },
            Verdict::Deferred => Phase::Taken {
                until: change.deadline.unwrap_or(now.mono + rules.result_within),
                silence: "the application answered 202 and published no result".to_owned(),
            },
            Verdict::Refused(reason) => {
                change.status.reason = Some(reason);
                Phase::Pausing { until: now.mono + rules.pause(change.status.attempts) }
            }
        };
    }

    /// The application published a result. `None`: the change is not the one at work, has its result already, or is still to be
    /// confirmed.
    pub fn result(&mut self, revision: i32, word: Word, now: Now) -> Option<Settled> {
        if self.correctable.as_ref().is_some_and(|settled| settled.key.revision == revision) {
            return self.correct(word, now);
        }
        let confirms = self.rules.confirms;
        let (_, change) = self.pending.iter_mut().next().filter(|(head, _)| **head == revision)?;
        let waits = match change.phase {
            // Handed over in an earlier life of this process, maybe.
            Phase::Waiting => change.live,
            Phase::Calling | Phase::Taken { .. } | Phase::Pausing { .. } => true,
            _ => false,
        };
        if !waits {
            return None;
        }
        let (state, reason) = match word {
            Word::Success if confirms => {
                change.phase = Phase::ToConfirm(None);
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
        let may_push = ready && self.calling.is_none() && self.abandoned.is_none() && self.storing == 0;
        let (&revision, change) = self.pending.iter_mut().next()?;
        if !change.live {
            return self.over(revision, now).map(Step::Settled);
        }
        let phase = change.phase.clone();
        let is_open = matches!(phase, Phase::Waiting | Phase::Calling | Phase::Pausing { .. });
        if is_open && change.is_overdue(now.mono) {
            if change.is_last || change.lease.is_none() {
                return self.late(revision, now).map(Step::Settled);
            }
            if let Some(question) = change.ask() {
                return Some(Step::Ask(question));
            }
        }
        // What seems to be over is not begun before the store says that it is not.
        let seems_over = change.status.attempts == 0 && change.commit_by.is_some_and(|end| end <= now.mono);
        match phase {
            Phase::Taken { until, silence } if now.mono >= until => self.silent(revision, silence, now),
            Phase::Waiting if may_push && seems_over => change.ask().map(Step::Ask),
            Phase::Waiting if may_push => self.push(revision, now),
            Phase::Pausing { until } if may_push && now.mono >= until => self.push(revision, now),
            Phase::ToConfirm(silence) => self.enter(revision, Phase::Confirming(silence)).map(Step::Confirm),
            Phase::ToUndo(reason) => {
                let step = self.enter(revision, Phase::Undoing(reason.clone()))?;
                Some(Step::Undo(step, reason))
            }
            _ => None,
        }
    }

    /// The application was called with success and has not said a word since.
    fn silent(&mut self, revision: i32, silence: String, now: Now) -> Option<Step> {
        if self.rules.confirms {
            return self.enter(revision, Phase::Confirming(Some(silence))).map(Step::Confirm);
        }
        let settled = self.settle(revision, ChangeState::Applied, Some(silence), now)?;
        self.correctable = Some(settled.clone());
        Some(Step::Settled(settled))
    }

    fn enter(&mut self, revision: i32, phase: Phase) -> Option<PushStep> {
        let attempt = self.attempts;
        let change = self.pending.get_mut(&revision)?;
        change.phase = phase;
        Some(change.step(attempt))
    }

    /// What came of a confirmation.
    pub fn confirmed(&mut self, revision: i32, outcome: Result<(), String>, now: Now) -> Option<Settled> {
        let change = self.pending.get_mut(&revision)?;
        let Phase::Confirming(silence) = change.phase.clone() else { return None };
        match outcome {
            Ok(()) => self.settle(revision, ChangeState::Applied, silence, now),
            Err(reason) => {
                change.phase = Phase::ToUndo(reason);
                None
            }
        }
    }

    /// What came of undoing a change.
    pub fn undone(&mut self, revision: i32, outcome: Result<(), String>, now: Now) -> Option<Settled> {
        let Phase::Undoing(reason) = self.pending.get(&revision)?.phase.clone() else { return None };
        match outcome {
            Ok(()) => self.settle(revision, ChangeState::RolledBack, Some(reason), now),
            Err(error) => {
                let reason = format!("{reason}; and it could not be undone: {error}");
                self.settle(revision, ChangeState::Failed, Some(reason), now)
            }
        }
    }

    /// The change ends like that before it is handed over.
    pub fn refuse(&mut self, revision: i32, state: ChangeState, reason: String, now: Now) -> Option<Settled> {
        let change = self.pending.get_mut(&revision).filter(|_| state == ChangeState::Refused);
        if let Some(change) = change {
            // It was the turn of the change, but nobody was called.
            change.status.attempts -= 1;
            change.status.pushed_ms = None;
        }
        self.settle(revision, state, Some(reason), now)
    }

    /// When [`poll`](Self::poll) is worth the next call, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        let change = self.pending.values().next().filter(|_| self.known)?;
        let deadline = change.deadline.filter(|_| change.status.attempts > 0 && !change.asked);
        match &change.phase {
            Phase::Taken { until, .. } => Some(*until),
            Phase::Pausing { until } => Some(deadline.map_or(*until, |deadline| deadline.min(*until))),
            Phase::Waiting | Phase::Calling => deadline,
            // What these wait for ends by itself.
            Phase::ToConfirm(_) | Phase::Confirming(_) | Phase::ToUndo(_) | Phase::Undoing(_) => None,
        }
    }

    fn push(&mut self, revision: i32, now: Now) -> Option<Step> {
        let rules = self.rules;
        let change = self.pending.get_mut(&revision)?;
        if change.status.attempts == 0 {
            // Its time begins with its turn; that of a lease has begun, but something of it is there for each.
            let time_left = change.commit_by.map(|end| end.saturating_sub(now.mono));
            let until_deadline = change.deadline.unwrap_or_default().saturating_sub(now.mono);
            change.set_deadline(rules.usable(time_left).max(until_deadline), now);
        } else if change.is_overdue(now.mono) {
            // Nobody knows yet whether its time is over.
            change.set_deadline(rules.longest_pause, now);
        }
        self.attempts = self.attempts.wrapping_add(1);
        self.calling = Some(self.attempts);
        self.correctable = None;
        change.phase = Phase::Calling;
        change.status.state = ChangeState::Pushed;
        change.status.attempts += 1;
        change.status.pushed_ms = Some(now.wall_ms);
        Some(Step::Push(change.step(self.attempts)))
    }

    /// The time of the change is over, and the application was called in vain.
    fn late(&mut self, revision: i32, now: Now) -> Option<Settled> {
        let reason = self.pending.get(&revision)?.status.reason.clone();
        let reason = reason.unwrap_or_else(|| "the application did not answer in time".to_owned());
        self.settle(revision, ChangeState::Failed, Some(reason), now)
    }

    /// The change went away without a result.
    fn over(&mut self, revision: i32, now: Now) -> Option<Settled> {
        let change = self.pending.get(&revision)?;
        let reason = match change.status.attempts {
            0 => "its lease ended before it could be handed over",
            _ => "its lease ended before the application gave a result",
        };
        let reason =
            change.status.reason.clone().map_or_else(|| reason.to_owned(), |why| format!("{reason}: {why}"));
        self.settle(revision, ChangeState::Expired, Some(reason), now)
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
        Some(Settled { key, patch, lease, commit_by, status, corrects: false, is_of_new_count })
    }
}

#[cfg(test)]
mod tests;
