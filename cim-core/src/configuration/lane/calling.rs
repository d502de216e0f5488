//! Calls of the application for a change: their beginning, which may have to wait for other documents, and their end.

use super::{Lane, Now};
use crate::configuration::change::{Phase, Verdict};
use crate::contract::ChangeState;

impl Lane {
    /// The call of a step is made now, which may be a while after it was asked for. Returns whether it still has to be.
    pub fn begin(&mut self, revision: i32, attempt: u32, now: Now) -> bool {
        let rules = self.rules;
        // An earlier change may have come before it meanwhile.
        let is_head = self.pending.first_key_value().is_some_and(|(head, _)| *head == revision);
        let change = self.pending.get_mut(&revision).filter(|change| change.phase == Phase::Calling);
        let Some(change) = change.filter(|change| change.live && self.calling == Some(attempt)) else {
            self.ended(attempt);
            return false;
        };
        if !is_head || change.seems_over(now.mono) {
            change.phase = Phase::Waiting;
            self.ended(attempt);
            return false;
        }
        if change.status.attempts == 0 {
            // Its time begins with its turn; that of a lease has begun, but something of it is there for each.
            let time_left = change.commit_by.map(|end| end.saturating_sub(now.mono));
            let until_deadline = change.deadline.unwrap_or_default().saturating_sub(now.mono);
            change.set_deadline(rules.usable(time_left).max(until_deadline), now);
        } else if change.is_overdue(now.mono) {
            // Nobody knows yet whether its time is over.
            change.set_deadline(rules.longest_pause, now);
        }
        change.status.state = ChangeState::Pushed;
        change.status.attempts += 1;
        change.status.pushed_ms = Some(now.wall_ms);
        true
    }

    /// Something that was under way with the application ended. Returns whether its outcome counts.
    pub(super) fn ended(&mut self, attempt: u32) -> bool {
        self.abandoned.take_if(|abandoned| *abandoned == attempt);
        self.calling.take_if(|calling| *calling == attempt).is_some()
    }

    /// A call ended.
    pub fn answered(&mut self, attempt: u32, verdict: Verdict, now: Now) {
        if !self.ended(attempt) {
            return;
        }
        let rules = self.rules;
        let Some(change) = self.pending.values_mut().find(|change| change.phase == Phase::Calling) else {
            return;
        };
        // Time to see whether it is well is kept.
        let latest =
            change.deadline.map(|deadline| deadline.saturating_sub(rules.confirm.unwrap_or_default()));
        let within = now.mono + rules.result_within;
        change.phase = match verdict {
            Verdict::Accepted(status) => Phase::Taken {
                until: latest.map_or(within, |latest| latest.min(within)),
                silence: format!("the application answered {status} and published no result"),
            },
            Verdict::Deferred => Phase::Taken {
                until: latest.unwrap_or(within),
                silence: "the application answered 202 and published no result".to_owned(),
            },
            Verdict::Refused(reason) => {
                change.status.reason = Some(reason);
                Phase::Pausing { until: now.mono + rules.pause(change.status.attempts) }
            }
        };
    }
}
