//! Whether the application is well with a change that it took, and the way back where it is not.

use super::{Lane, Now};
use crate::configuration::change::{Phase, Settled, Step, Tried, Undone};
use crate::contract::ChangeState;

impl Lane {
    /// The application was called with success and has not said a word since.
    pub(super) fn silent(&mut self, revision: i32, silence: String, now: Now) -> Option<Step> {
        if self.rules.confirm.is_some() {
            return self.enter(revision, Phase::Confirming(Some(silence))).map(Step::Confirm);
        }
        self.applied(revision, Some(silence), now).map(Step::Settled)
    }

    /// The change is in force. Where nobody said so, the text tells why it counts as that, and a word may still correct it.
    fn applied(&mut self, revision: i32, silence: Option<String>, now: Now) -> Option<Settled> {
        let is_silent = silence.is_some();
        let settled = self.settle(revision, ChangeState::Applied, silence, now)?;
        self.correctable = is_silent.then(|| settled.clone());
        Some(settled)
    }

    /// What follows where a change is to be confirmed, or undone, or is undone; `is_free`: nothing is under way with the
    /// application.
    pub(super) fn confirm_or_undo(
        &mut self,
        revision: i32,
        phase: Phase,
        is_free: bool,
        now: Now,
    ) -> Option<Step> {
        match phase {
            Phase::ToConfirm(silence) if is_free => {
                self.enter(revision, Phase::Confirming(silence)).map(Step::Confirm)
            }
            Phase::ToUndo { reason, until, tried } if is_free && now.mono >= until => {
                let times = tried.map_or(0, |tried| tried.times);
                let step = self.enter(revision, Phase::Undoing(reason.clone(), times))?;
                Some(Step::Undo(step, reason))
            }
            Phase::Undone(reason) => {
                let reason = format!("{reason}; the application began anew without it");
                self.settle(revision, ChangeState::RolledBack, Some(reason), now).map(Step::Settled)
            }
            _ => None,
        }
    }

    /// What came of a confirmation.
    pub fn confirmed(
        &mut self,
        revision: i32,
        attempt: u32,
        outcome: Result<(), String>,
        now: Now,
    ) -> Option<Settled> {
        if !self.ended(attempt) {
            return None;
        }
        let change = self.pending.get_mut(&revision)?;
        let Phase::Confirming(silence) = change.phase.clone() else { return None };
        match outcome {
            Ok(()) => self.applied(revision, silence, now),
            Err(reason) => {
                change.phase = Phase::ToUndo { reason, until: now.mono, tried: None };
                None
            }
        }
    }

    /// What came of undoing a change. It is tried again until its time is over.
    pub fn undone(
        &mut self,
        revision: i32,
        attempt: u32,
        outcome: Result<Undone, String>,
        now: Now,
    ) -> Option<Settled> {
        if !self.ended(attempt) {
            return None;
        }
        let rules = self.rules;
        let change = self.pending.get_mut(&revision)?;
        let Phase::Undoing(reason, times) = change.phase.clone() else { return None };
        match outcome {
            Ok(Undone::Back) => self.settle(revision, ChangeState::RolledBack, Some(reason), now),
            Ok(Undone::Well) => {
                let reason = format!("{reason}; and nothing led back, but it is well by now");
                self.settle(revision, ChangeState::Applied, Some(reason), now)
            }
            Err(failure) => {
                let tried = Tried { times: times + 1, failure };
                let until = now.mono + rules.pause(tried.times);
                change.phase = Phase::ToUndo { reason, until, tried: Some(tried) };
                None
            }
        }
    }
}
