//! How long the changes of a lane have, as the store tells it.

use std::time::Duration;

use super::{Lane, Now, Rules};
use crate::configuration::news::LeaseQuestion;
use crate::contract::Lease;

impl Lane {
    /// The change has that lease. Returns the question for its length, where that is news.
    pub fn lease(&mut self, revision: i32, lease: Lease) -> Option<LeaseQuestion> {
        let change = self.pending.get_mut(&revision).filter(|change| change.lease != Some(lease))?;
        change.lease = Some(lease);
        change.asked = false;
        change.is_last = false;
        change.ask()
    }

    /// Learns what is left of the lease of a change; `None`: nothing.
    pub fn limit(&mut self, question: &LeaseQuestion, time_left: Option<Duration>, now: Now) {
        let rules = self.rules;
        let change = self.pending.get_mut(&question.revision);
        let Some(change) = change.filter(|change| change.lease == Some(question.lease)) else { return };
        change.asked = false;
        let Some(time_left) = time_left else {
            change.live = false;
            return;
        };
        let kept = change.commit_by.zip(change.deadline).map(|(end, deadline)| end.saturating_sub(deadline));
        change.commit_by = Some(now.mono + Rules::commit_within(time_left));
        change.is_last = change.is_overdue(now.mono) && Rules::is_last(time_left, kept);
        if !change.is_last {
            change.set_deadline(rules.usable(Some(time_left)), now);
        }
    }
}
