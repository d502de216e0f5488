//! A change on its way, as a value: what is known of it, and what is said of it and to be done with it.
//!
//! Left out: when which happens (`lane`).

use std::sync::Arc;
use std::time::Duration;

use super::key::ChangeKey;
use super::news::LeaseQuestion;
use super::rules::Now;
use crate::contract::{ChangeStatus, Lease};

/// What the application says of a change on CONFIG (wire contract §3.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Word {
    /// It is in force.
    Success,
    /// It is of no use here.
    Unused,
    /// Anything else.
    Failure,
}

/// What came of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Answered with 2xx other than 202.
    Accepted(u16),
    /// Answered with 202: taken, not done.
    Deferred,
    /// Answered otherwise, or not at all; the text says what happened.
    Refused(String),
}

/// How it ended that a change was to be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undone {
    /// The application has what it had before.
    Back,
    /// Nothing led back, and the application is well with it by now.
    Well,
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Hand this change to the application.
    Push(PushStep),
    /// See whether the application is well with the change; [`Lane::confirmed`](super::lane::Lane::confirmed) takes the answer.
    Confirm(PushStep),
    /// Undo the change, for that reason; [`Lane::undone`](super::lane::Lane::undone) takes the answer.
    Undo(PushStep, String),
    /// The time of the change seems to be over: see what is left of its lease; [`Lane::limit`](super::lane::Lane::limit) takes the
    /// answer.
    Ask(LeaseQuestion),
    /// The change is settled.
    Settled(Settled),
}

/// A change to be handed over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushStep {
    /// Its key.
    pub key: ChangeKey,
    /// The patch.
    pub patch: Arc<[u8]>,
    /// Which call, confirmation or undoing this is; comes back with what came of it.
    pub attempt: u32,
    /// When the change has to be settled; of a call only known once it has begun.
    pub deadline: Duration,
}

/// A change with a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settled {
    /// Its key.
    pub key: ChangeKey,
    /// The patch, for those who keep documents.
    pub patch: Arc<[u8]>,
    /// Its lease; without one its result is never too late.
    pub lease: Option<Lease>,
    /// When it is too late to store the result, as far as is known.
    pub commit_by: Option<Duration>,
    /// The story.
    pub status: ChangeStatus,
    /// It is another word about a change that counted as applied.
    pub corrects: bool,
    /// It was handed over, and whether the application has it nobody said.
    pub in_doubt: bool,
    /// It is the first of a new count: the map of the config server was made anew, and its revisions began again.
    pub is_of_new_count: bool,
}

#[derive(Debug)]
pub(super) struct Change {
    pub key: ChangeKey,
    pub patch: Arc<[u8]>,
    pub lease: Option<Lease>,
    /// When it has to be settled, unless its lease lasts longer by then.
    pub deadline: Option<Duration>,
    pub commit_by: Option<Duration>,
    /// What is left of the lease is being asked for.
    pub asked: bool,
    /// The lease is about to end: the deadline holds.
    pub is_last: bool,
    /// Still in the store.
    pub live: bool,
    pub status: ChangeStatus,
    pub phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Phase {
    /// To be pushed as soon as it is its turn.
    Waiting,
    /// Being pushed.
    Calling,
    /// Taken by the application, which owes its word until then.
    Taken { until: Duration, silence: String },
    /// To be pushed again then.
    Pausing { until: Duration },
    /// In force, and to be confirmed; the text is why it counts as in force, if that was not said on CONFIG.
    ToConfirm(Option<String>),
    /// Being confirmed.
    Confirming(Option<String>),
    /// To be undone, not before that moment.
    ToUndo { reason: String, until: Duration, tried: Option<Tried> },
    /// Being undone; how often that failed before.
    Undoing(String, u32),
    /// Gone with the application as it was, before it could be undone.
    Undone(String),
}

/// That a change could not be undone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tried {
    pub times: u32,
    pub failure: String,
}

impl Phase {
    /// Whether something is done about it also without a lease: the application took the change, and may be ill with it.
    pub(super) fn is_led_to_an_end(&self) -> bool {
        matches!(
            self,
            Self::Confirming(_) | Self::ToUndo { tried: None, .. } | Self::Undoing(..) | Self::Undone(_)
        )
    }

    /// Whether it is repeated until the time of the change is over.
    pub(super) fn is_repeated(&self) -> bool {
        matches!(
            self,
            Self::Waiting | Self::Calling | Self::Pausing { .. } | Self::ToUndo { tried: Some(_), .. }
        )
    }

    /// What has become of undoing it so far.
    pub(super) fn undoing(&self) -> Option<String> {
        match self {
            Self::ToUndo { reason, tried: Some(tried), .. } => {
                Some(format!("{reason}; and it could not be undone: {}", tried.failure))
            }
            _ => None,
        }
    }
}

impl Change {
    pub(super) fn step(&self, attempt: u32) -> PushStep {
        let deadline = self.deadline.unwrap_or_default();
        PushStep { key: self.key.clone(), patch: Arc::clone(&self.patch), attempt, deadline }
    }

    /// Whether the application has seen it, maybe by an earlier process.
    pub(super) fn is_begun(&self) -> bool {
        self.status.attempts > 0 || !matches!(self.phase, Phase::Waiting | Phase::Calling)
    }

    /// The application began anew: it is handed over again, unless it had made the application ill.
    pub(super) fn begin_anew(&mut self) {
        self.phase = match std::mem::replace(&mut self.phase, Phase::Waiting) {
            Phase::ToUndo { reason, .. } | Phase::Undoing(reason, _) | Phase::Undone(reason) => {
                Phase::Undone(reason)
            }
            _ => Phase::Waiting,
        };
    }

    /// Whether its lease ended before it was ever handed over, as far as is known.
    pub(super) fn seems_over(&self, now: Duration) -> bool {
        self.status.attempts == 0 && self.commit_by.is_some_and(|end| end <= now)
    }

    /// It has that much time from now on.
    pub(super) fn set_deadline(&mut self, time: Duration, now: Now) {
        let deadline = now.mono.saturating_add(time);
        self.deadline = Some(deadline);
        self.status.deadline_ms = Some(now.wall(deadline));
    }

    /// The question for what is left of its lease, unless it is under way.
    pub(super) fn ask(&mut self) -> Option<LeaseQuestion> {
        let lease = self.lease.filter(|_| !self.asked)?;
        self.asked = true;
        Some(LeaseQuestion::of(&self.key, lease))
    }

    /// Whether it was handed over, and its time is over as far as is known.
    pub(super) fn is_overdue(&self, now: Duration) -> bool {
        self.status.attempts > 0 && self.deadline.is_some_and(|deadline| deadline <= now)
    }
}
