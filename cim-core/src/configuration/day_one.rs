//! The first configuration of an application that says it has none (wire contract §4.5, §5.2).
//!
//! A pure state machine per registration of the application: `NotConfigured` asks, a fitting document answers, and a load
//! that fails is tried again within a budget. Left out: calls, and what is done once the budget is used up. The
//! invariants: one load at a time; nothing is loaded for an application that did not ask or that says it is configured.

use std::sync::Arc;
use std::time::Duration;

use super::news::DayOneEntry;
use super::rules::Now;
use crate::contract::Revision;

/// What an application says of itself on EVENT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppState {
    /// `NotConfigured`.
    NotConfigured,
    /// `Configured`.
    Configured,
}

/// How much is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DayOneRules {
    /// Calls per document before it counts as given up.
    pub attempts: u32,
    /// Pause before the second call; doubles with every further one.
    pub first_pause: Duration,
    /// Longest pause between calls.
    pub longest_pause: Duration,
}

impl Default for DayOneRules {
    fn default() -> Self {
        Self { attempts: 10, first_pause: Duration::from_millis(500), longest_pause: Duration::from_secs(15) }
    }
}

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DayOneStep {
    /// Hand this document to the application.
    Load {
        /// The document, byte for byte.
        value: Arc<[u8]>,
        /// Which call this is; comes back with the verdict.
        attempt: u32,
    },
    /// Nothing helped; the text says what went wrong. `malformed`: the document is no JSON object, so no call was made.
    GiveUp {
        /// The last failure.
        reason: String,
        /// The document itself is at fault.
        malformed: bool,
    },
}

/// How far the first configuration has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DayOneState {
    /// The application did not ask.
    Idle,
    /// It asked, and no fitting document is there.
    Waiting,
    /// It is being loaded, or will be again.
    Loading,
    /// It took the document.
    Loaded,
    /// It says it is configured.
    Configured,
    /// Given up, until another document comes or the application asks again.
    GivenUp,
}

/// The first configuration of one application.
#[derive(Debug)]
pub struct DayOne {
    rules: DayOneRules,
    /// Revision of the network function's map, as far as it is known.
    wanted: Option<String>,
    exact: Vec<DayOneEntry>,
    plain: Option<DayOneEntry>,
    state: DayOneState,
    calling: bool,
    attempts: u32,
    calls: u32,
    pause_until: Option<Duration>,
    reason: Option<String>,
    /// The document that was given up.
    bad: Option<Revision>,
    /// The state is that of an earlier process.
    inherited: bool,
}

/// Documents kept: the ones with the latest revisions.
const KEPT: usize = 8;

impl DayOne {
    /// The machine of a process that was told this revision by its environment or an earlier run.
    #[must_use]
    pub fn new(rules: DayOneRules, wanted: Option<String>) -> Self {
        Self {
            rules,
            wanted: wanted.filter(|wanted| !wanted.is_empty()),
            exact: Vec::new(),
            plain: None,
            state: DayOneState::Idle,
            calling: false,
            attempts: 0,
            calls: 0,
            pause_until: None,
            reason: None,
            bad: None,
            inherited: false,
        }
    }

    /// Goes on where an earlier process stopped, if its application is still there. What was being loaded then, or was given
    /// up, is tried again, and without end: whether this is the application that asked, only its next word tells.
    #[must_use]
    pub fn restored(self, state: Option<DayOneState>) -> Self {
        let state = match state {
            Some(DayOneState::Loading | DayOneState::GivenUp) => DayOneState::Waiting,
            state => state.unwrap_or(DayOneState::Idle),
        };
        Self { state, inherited: true, ..self }
    }

    /// How far it is.
    #[must_use]
    pub fn state(&self) -> DayOneState {
        self.state
    }

    /// Why it is so, when something went wrong.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// The revision that is wanted, for the next run.
    #[must_use]
    pub fn wanted(&self) -> Option<&str> {
        self.wanted.as_deref()
    }

    /// The application registered: what it said before is forgotten.
    pub fn registered(&mut self) {
        self.enter(DayOneState::Idle);
        self.inherited = false;
        self.bad = None;
        // The verdict of a call to the application that is gone means nothing.
        self.calling = false;
    }

    /// The application says how it is.
    pub fn said(&mut self, said: AppState) {
        self.inherited = false;
        match said {
            AppState::Configured => self.enter(DayOneState::Configured),
            AppState::NotConfigured if matches!(self.state, DayOneState::Loading | DayOneState::Waiting) => {}
            AppState::NotConfigured => {
                self.bad = None;
                self.enter(DayOneState::Waiting);
            }
        }
    }

    /// A document is there. `news`: it was written since the source was read before, which makes its revision the wanted one.
    pub fn document(&mut self, entry: DayOneEntry, news: bool) {
        if news && entry.revision.is_some() {
            self.wanted.clone_from(&entry.revision);
        }
        match &entry.revision {
            None => self.plain = Some(entry),
            Some(_) => {
                self.exact.retain(|known| known.revision != entry.revision);
                self.exact.push(entry);
                self.exact.sort_by_key(|entry| entry.written);
                let surplus = self.exact.len().saturating_sub(KEPT);
                self.exact.drain(..surplus);
            }
        }
        if self.state == DayOneState::GivenUp
            && self.fitting().is_some_and(|fit| Some(fit.written) != self.bad)
        {
            self.enter(DayOneState::Waiting);
        }
    }

    /// A document was removed.
    pub fn removed(&mut self, revision: Option<&str>) {
        match revision {
            None => self.plain = None,
            Some(_) => self.exact.retain(|known| known.revision.as_deref() != revision),
        }
    }

    /// Everything in the source is told anew.
    pub fn reset(&mut self) {
        self.plain = None;
        self.exact.clear();
    }

    /// The document to load: that of the wanted revision, or the one without revision where revision 0 is wanted. Without
    /// a wanted revision the latest.
    fn fitting(&self) -> Option<&DayOneEntry> {
        let exact =
            self.exact.iter().rev().find(|entry| self.wanted.is_none() || entry.revision == self.wanted);
        let plain = self.plain.as_ref().filter(|_| self.wanted.as_deref() == Some("0"));
        [exact, plain].into_iter().flatten().max_by_key(|entry| entry.written)
    }

    /// What is to be done now; `ready`: the application may be called.
    pub fn poll(&mut self, now: Now, ready: bool) -> Option<DayOneStep> {
        if self.pause_until.is_some_and(|until| until <= now.mono) {
            self.pause_until = None;
        }
        let asks = matches!(self.state, DayOneState::Waiting | DayOneState::Loading);
        if !asks || self.calling || !ready || self.pause_until.is_some() {
            return None;
        }
        let entry = self.fitting()?.clone();
        if !is_object(&entry.value) {
            let reason = "the document is not a JSON object".to_owned();
            return Some(self.give_up(entry.written, reason, true));
        }
        if self.attempts >= self.rules.attempts && !self.inherited {
            let reason = self.reason.clone().unwrap_or_default();
            return Some(self.give_up(entry.written, reason, false));
        }
        self.state = DayOneState::Loading;
        self.calling = true;
        self.attempts += 1;
        self.calls = self.calls.wrapping_add(1);
        Some(DayOneStep::Load { value: entry.value, attempt: self.calls })
    }

    /// When [`poll`](Self::poll) is worth the next call, if nothing else happens.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        self.pause_until.filter(|_| !self.calling)
    }

    /// A load ended. Returns whether the application has the document now.
    pub fn loaded(&mut self, attempt: u32, outcome: Result<(), String>, now: Now) -> bool {
        if !self.calling || self.calls != attempt {
            return false;
        }
        self.calling = false;
        match outcome {
            Ok(()) => {
                if self.state == DayOneState::Loading {
                    self.enter(DayOneState::Loaded);
                }
                true
            }
            Err(reason) => {
                self.reason = Some(reason);
                let doubled =
                    self.rules.first_pause.saturating_mul(1 << (self.attempts.saturating_sub(1)).min(16));
                if self.state == DayOneState::Loading {
                    self.pause_until = Some(now.mono + doubled.min(self.rules.longest_pause));
                }
                false
            }
        }
    }

    fn give_up(&mut self, written: Revision, reason: String, malformed: bool) -> DayOneStep {
        self.enter(DayOneState::GivenUp);
        self.bad = Some(written);
        self.reason = Some(reason.clone());
        DayOneStep::GiveUp { reason, malformed }
    }

    fn enter(&mut self, state: DayOneState) {
        self.state = state;
        self.attempts = 0;
        self.pause_until = None;
        self.reason = None;
    }
}

/// Whether the bytes are one JSON object; `null` is none.
fn is_object(value: &[u8]) -> bool {
    serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(value).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono: Duration::from_millis(ms), wall_ms: ms }
    }

    fn entry(revision: Option<&str>, value: &str, written: u64) -> DayOneEntry {
        DayOneEntry {
            revision: revision.map(str::to_owned),
            value: value.as_bytes().into(),
            written: Revision(written),
        }
    }

    fn load(step: Option<DayOneStep>) -> (String, u32) {
        match step {
            Some(DayOneStep::Load { value, attempt }) => {
                (String::from_utf8(value.to_vec()).unwrap(), attempt)
            }
            other => panic!("{other:?}"),
        }
    }

    fn asking(wanted: Option<&str>) -> DayOne {
        let mut machine = DayOne::new(DayOneRules::default(), wanted.map(str::to_owned));
        machine.said(AppState::NotConfigured);
        machine
    }

    #[test]
    fn bytes_are_handed_on_as_they_are() {
        let document = r#"{"b":9007199254740993,"a":1.0,"x":1e3}"#;
        let mut machine = asking(Some("4"));
        machine.document(entry(Some("4"), document, 1), false);
        let (value, attempt) = load(machine.poll(at(0), true));
        assert_eq!(value, document);
        assert_eq!(machine.poll(at(0), true), None, "one load at a time");
        assert!(machine.loaded(attempt, Ok(()), at(1)));
        assert_eq!(machine.state(), DayOneState::Loaded);
        assert_eq!(machine.poll(at(9_999_999), true), None);
    }

    #[test]
    fn nobody_is_loaded_who_did_not_ask_or_is_configured() {
        let mut machine = DayOne::new(DayOneRules::default(), Some("0".to_owned()));
        machine.document(entry(Some("0"), "{}", 1), false);
        assert_eq!(machine.poll(at(0), true), None);
        machine.said(AppState::NotConfigured);
        assert_eq!(machine.poll(at(0), false), None, "not before it can be called");
        machine.said(AppState::Configured);
        assert_eq!(machine.poll(at(0), true), None);
    }

    #[test]
    fn what_an_application_said_to_an_earlier_process_still_counts() {
        for state in [DayOneState::Waiting, DayOneState::Loading, DayOneState::GivenUp] {
            let mut day_one = DayOne::new(DayOneRules::default(), None).restored(Some(state));
            day_one.document(entry(Some("1"), "{}", 1), false);
            assert!(load(day_one.poll(at(0), true)).0.starts_with('{'), "{state:?}");
            // It may be another application by now, which must not lose its pod for what it never asked.
            for n in 1..100 {
                let now = at(n * 60_000);
                day_one.loaded(u32::try_from(n).unwrap(), Err("refused".to_owned()), now);
                assert_eq!(day_one.poll(now, true), None);
                assert!(matches!(day_one.poll(at(n * 60_000 + 30_000), true), Some(DayOneStep::Load { .. })));
            }
        }
        for state in [None, Some(DayOneState::Idle), Some(DayOneState::Loaded), Some(DayOneState::Configured)]
        {
            let mut day_one = DayOne::new(DayOneRules::default(), None).restored(state);
            day_one.document(entry(Some("1"), "{}", 1), false);
            assert_eq!(day_one.poll(at(0), true), None, "{state:?}");
        }
    }

    #[test]
    fn an_application_that_restarts_may_ask_again() {
        let mut machine = asking(Some("0"));
        machine.document(entry(Some("0"), "{}", 1), false);
        let (_, attempt) = load(machine.poll(at(0), true));
        assert!(machine.loaded(attempt, Ok(()), at(0)));
        machine.said(AppState::Configured);
        machine.registered();
        assert_eq!(machine.poll(at(1), true), None);
        machine.said(AppState::NotConfigured);
        load(machine.poll(at(1), true));
    }

    #[test]
    fn a_later_revision_takes_over_whatever_its_number() {
        let mut machine = asking(Some("0"));
        machine.document(entry(Some("1"), r#"{"r":1}"#, 1), true);
        assert_eq!(load(machine.poll(at(0), true)).0, r#"{"r":1}"#);
        let mut machine = asking(Some("0"));
        machine.document(entry(Some("1"), r#"{"r":1}"#, 1), false);
        assert_eq!(machine.poll(at(0), true), None, "what was there before is not what is wanted");
        machine.document(entry(Some("0"), r#"{"r":0}"#, 2), true);
        assert_eq!(load(machine.poll(at(0), true)).0, r#"{"r":0}"#);
    }

    #[test]
    fn a_document_without_revision_is_for_revision_zero_only() {
        for (wanted, loads) in [(None, false), (Some(""), false), (Some("4"), false), (Some("0"), true)] {
            let mut machine = asking(wanted);
            machine.document(entry(None, "{}", 1), true);
            assert_eq!(machine.poll(at(0), true).is_some(), loads, "{wanted:?}");
        }
    }

    #[test]
    fn a_failed_load_is_tried_again_with_growing_pauses_and_given_up_at_last() {
        let mut machine = asking(Some("0"));
        machine.document(entry(Some("0"), "{}", 1), false);
        let (mut now, mut calls) = (0, 0);
        let reason = loop {
            match machine.poll(at(now), true) {
                Some(DayOneStep::Load { attempt, .. }) => {
                    calls += 1;
                    assert!(!machine.loaded(attempt, Err("503".to_owned()), at(now)));
                    assert_eq!(machine.poll(at(now), true), None);
                    now = u64::try_from(machine.wake().unwrap().as_millis()).unwrap();
                }
                Some(DayOneStep::GiveUp { reason, malformed }) => {
                    assert!(!malformed);
                    break reason;
                }
                None => panic!("stuck"),
            }
        };
        assert_eq!((calls, reason.as_str()), (10, "503"));
        assert_eq!(machine.poll(at(now + 1_000_000), true), None);
        machine.document(entry(Some("0"), r#"{"new":1}"#, 2), true);
        load(machine.poll(at(now + 1_000_000), true));
    }

    #[test]
    fn a_document_that_is_no_object_is_never_sent() {
        for value in ["null", "[1]", "zzz", "", "7"] {
            let mut machine = asking(Some("0"));
            machine.document(entry(Some("0"), value, 1), false);
            assert!(
                matches!(machine.poll(at(0), true), Some(DayOneStep::GiveUp { malformed: true, .. })),
                "{value}"
            );
            assert_eq!(machine.poll(at(1), true), None);
        }
    }

    #[test]
    fn the_verdict_of_a_call_to_an_application_that_is_gone_means_nothing() {
        let mut machine = asking(Some("0"));
        machine.document(entry(Some("0"), "{}", 1), false);
        let (_, attempt) = load(machine.poll(at(0), true));
        machine.registered();
        assert!(!machine.loaded(attempt, Ok(()), at(1)));
        assert_eq!(machine.state(), DayOneState::Idle);
    }
}
