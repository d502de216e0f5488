//! What is done at the end, and how long: one deadline, cut into phases.
//!
//! Pure: time is what passed since the signal. Owns the decisions of wire contract §11. Left out: calls, sockets, clocks. The
//! invariants: every wait ends before the deadline; once nobody is waited for any more, nobody is waited for again.

use std::time::Duration;

use cim_core::{Departure, PodEnd};

use super::{Keeping, Kind};
use crate::settings::{LifecycleSettings, ShutdownCall};

/// The grace of a pod that says nothing.
const USUAL_GRACE: Duration = Duration::from_secs(30);
/// What the application leaves of the grace to CIM.
const OWN_SHARE: Duration = Duration::from_secs(3);
/// The process is gone so long before it would be killed.
const MARGIN: Duration = Duration::from_secs(1);
/// The kubelet gives a container this long, however little is left of the grace.
const SHORTEST: Duration = Duration::from_secs(2);
/// Longest time for the call of the application.
const CALL: Duration = Duration::from_secs(10);
/// How long it is waited for the orchestrator's word.
const MOMENT: Duration = Duration::from_secs(1);
/// After its farewell an application waits for the answer to its last PING.
const LAST_FLUSH: Duration = Duration::from_millis(100);
/// Longest time for one of the phases beside delivery.
const PHASE: Duration = Duration::from_secs(3);
/// What a phase gets though the time is over.
const LAST_MOMENT: Duration = Duration::from_millis(100);

/// What is known when the signal comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How this container stands in its pod.
    pub kind: Kind,
    /// Time between the signal and SIGKILL.
    pub grace: Duration,
    /// When the application is told.
    pub call: ShutdownCall,
    /// Longest time for delivery where the rest is kept.
    pub drain: Duration,
    /// What keeps it.
    pub keeping: Keeping,
}

impl Rules {
    /// By the settings, and by the object of the pod as far as that is known.
    #[must_use]
    pub fn of(settings: &LifecycleSettings, end: Option<&PodEnd>, keeping: Keeping) -> Self {
        let given = settings.grace.map(cim_core::settings::Period::get);
        let grace = given.or_else(|| end?.grace).unwrap_or(USUAL_GRACE);
        Self {
            kind: Kind::of(settings, end),
            grace,
            call: settings.shutdown_call,
            drain: settings.drain.get(),
            keeping,
        }
    }
}

/// What came of the call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// 200: it will say when it is done.
    Accepted,
    /// Another status of success: it has nothing more to say.
    Done,
    /// Any other status.
    Refused,
    /// No answer.
    Unanswered,
}

impl Verdict {
    /// By the status of the answer; `None` without one.
    #[must_use]
    pub fn of(status: Option<u16>) -> Self {
        match status {
            Some(200) => Self::Accepted,
            Some(201..=299) => Self::Done,
            Some(_) => Self::Refused,
            None => Self::Unanswered,
        }
    }
}

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Wait for the orchestrator's word, until then.
    Learn(Duration),
    /// Have the application called, until then.
    Call(Duration),
    /// Wait for what it says of its end, until then.
    Wait(Duration),
    /// Take nothing more.
    Close,
}

/// What follows once nobody is waited for, in this order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Hand on what the listener read.
    Listener,
    /// Store results and raise announcements.
    Commits,
    /// Deliver.
    Drain,
    /// Write out what is left.
    Spill,
    /// Make the rest durable and close.
    Close,
}

/// An end under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    rules: Rules,
    /// What the orchestrator said; the outer `None`: nothing yet.
    departure: Option<Option<Departure>>,
    verdict: Option<Verdict>,
    /// When the application said that it has ended.
    farewell: Option<Duration>,
    /// When the second signal came.
    hurried: Option<Duration>,
}

impl Ending {
    /// Begins with the signal.
    #[must_use]
    pub fn new(rules: Rules) -> Self {
        Self { rules, departure: None, verdict: None, farewell: None, hurried: None }
    }

    /// The orchestrator said whether the pod goes, or that it does not know.
    pub fn learned(&mut self, departure: Option<Departure>) {
        self.departure = Some(departure);
    }

    /// The call came to this.
    pub fn answered(&mut self, verdict: Verdict) {
        self.verdict = Some(verdict);
    }

    /// The application said that it has ended, whether well or not.
    pub fn said_farewell(&mut self, now: Duration) {
        self.farewell.get_or_insert(now);
    }

    /// A second signal: nothing is waited for any more.
    pub fn hurry(&mut self, now: Duration) {
        self.hurried.get_or_insert(now);
    }

    /// Whether the pod is known to live on.
    #[must_use]
    pub fn stays(&self) -> bool {
        self.departure == Some(Some(Departure::Staying))
    }

    /// Whether what is not delivered is there at the next start.
    #[must_use]
    pub fn keeps(&self) -> bool {
        self.rules.keeping.keeps(self.stays())
    }

    /// The disk takes nothing: delivery is all there is.
    pub fn stores_nothing(&mut self) {
        self.rules.keeping = Keeping::Nothing;
    }

    /// What is to be done `now` after the signal.
    #[must_use]
    pub fn step(&self, now: Duration) -> Step {
        if self.hurried.is_some() {
            return Step::Close;
        }
        let call_until = CALL.min(self.end().saturating_sub(MARGIN));
        match self.verdict {
            None if self.may_call() == Some(true) && now < call_until => Step::Call(call_until),
            Some(Verdict::Accepted) if now < self.wait_until() => Step::Wait(self.wait_until()),
            // How much time the phases that follow have depends on it, too.
            _ if self.departure.is_none() && now < MOMENT => Step::Learn(MOMENT),
            None if self.may_call().is_none() && now < call_until => Step::Call(call_until),
            _ => Step::Close,
        }
    }

    /// Whether the application is called; `None`: if nobody says otherwise.
    fn may_call(&self) -> Option<bool> {
        match (self.rules.kind, self.rules.call) {
            (Kind::Native, _) | (_, ShutdownCall::Never) => Some(false),
            (Kind::Classic, ShutdownCall::Always) => Some(true),
            (Kind::Classic, ShutdownCall::Deleted) => match self.departure.flatten() {
                Some(Departure::Staying) => Some(false),
                Some(Departure::Leaving(_)) => Some(true),
                None => None,
            },
        }
    }

    /// How long a phase may take that begins `now` after the signal. What an earlier one leaves is for those that follow.
    #[must_use]
    pub fn time_for(&self, phase: Phase, now: Duration) -> Duration {
        let end = self.hurried.map_or(self.end(), |at| self.end().min(at + MARGIN));
        let left = end.saturating_sub(now).max(LAST_MOMENT);
        let share = |longest: Duration| (left / 5).min(longest);
        let without_close = left - share(SHORTEST);
        match phase {
            Phase::Listener | Phase::Commits => share(PHASE),
            Phase::Drain if self.hurried.is_some() => Duration::ZERO,
            Phase::Drain => {
                let rest = without_close - share(PHASE);
                if self.keeps() { self.rules.drain.min(rest) } else { rest }
            }
            Phase::Spill => without_close,
            Phase::Close => left,
        }
    }

    /// When the process is to be gone.
    fn end(&self) -> Duration {
        self.grace().saturating_sub(MARGIN).max(SHORTEST)
    }

    /// Until when the application is waited for (wire contract §11). A pod that lives on is no reason to wait.
    fn wait_until(&self) -> Duration {
        let longest = if self.stays() { Duration::ZERO } else { self.grace().saturating_sub(OWN_SHARE) };
        self.farewell.map_or(longest, |at| longest.min(at + LAST_FLUSH))
    }

    fn grace(&self) -> Duration {
        match self.departure.flatten() {
            Some(Departure::Leaving(left)) => self.rules.grace.min(left),
            Some(Departure::Staying) | None => self.rules.grace,
        }
    }
}

#[cfg(test)]
mod tests;
