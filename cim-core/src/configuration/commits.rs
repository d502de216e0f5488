//! Results on their way to the source: in order per key, repeated until they are stored or their time is over.
//!
//! Pure bookkeeping. Left out: the calls. Invariants: one report per key at a time, so that no earlier value is written
//! after a later one; what this process has stored once is never followed by a lower revision.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::lane::Settled;
use super::rules::Now;
use crate::contract::{Commit, ConfigOutcome};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A result to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is stored.
    pub outcome: ConfigOutcome,
    /// When it is too late; `None`: never.
    pub until: Option<Duration>,
    /// The change it belongs to; `None` for the values of the start.
    pub settled: Option<Settled>,
}

#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Report>,
    busy: bool,
    pause: Duration,
    not_before: Duration,
}

/// All results on their way.
#[derive(Debug, Default)]
pub struct Commits {
    lines: BTreeMap<String, Line>,
    /// Highest revision stored per key.
    marks: BTreeMap<String, i32>,
}

/// Name of the line of reports without a commit: those only tell the story.
const STORIES: &str = "";

impl Commits {
    /// Remembers what earlier runs stored.
    #[must_use]
    pub fn new(marks: BTreeMap<String, i32>) -> Self {
        Self { lines: BTreeMap::new(), marks }
    }

    /// Takes a report. A revision below the one stored before is not written any more; its story is.
    pub fn push(&mut self, mut report: Report) {
        let line = report.outcome.commit.as_ref().map_or_else(|| STORIES.to_owned(), |commit| commit.key.clone());
        if report.outcome.commit.as_ref().is_some_and(|commit| self.is_lower(commit)) {
            report.outcome.commit = None;
        }
        self.lines.entry(line).or_default().waiting.push_back(report);
    }

    fn is_lower(&self, commit: &Commit) -> bool {
        commit.value >= 0 && self.marks.get(&commit.key).is_some_and(|mark| *mark > commit.value)
    }

    /// The next report to be made, with the name of its line.
    pub fn poll(&mut self, now: Now) -> Option<(String, ConfigOutcome)> {
        let (name, line) = self
            .lines
            .iter_mut()
            .find(|(_, line)| !line.busy && line.not_before <= now.mono && !line.waiting.is_empty())?;
        line.busy = true;
        line.waiting.front().map(|report| (name.clone(), report.outcome.clone()))
    }

    /// Reports whose time is over before they could be stored.
    pub fn overdue(&mut self, now: Now) -> Option<Report> {
        let line = self.lines.values_mut().find(|line| {
            !line.busy && line.waiting.front().is_some_and(|report| report.until.is_some_and(|at| at <= now.mono))
        })?;
        line.pause = Duration::ZERO;
        line.not_before = now.mono;
        line.waiting.pop_front()
    }

    /// A report of that line was stored; returns it.
    pub fn stored(&mut self, name: &str) -> Option<Report> {
        let line = self.lines.get_mut(name)?;
        line.busy = false;
        line.pause = Duration::ZERO;
        let report = line.waiting.pop_front()?;
        if line.waiting.is_empty() {
            self.lines.remove(name);
        }
        if let Some(commit) = report.outcome.commit.as_ref().filter(|commit| commit.value >= 0) {
            let mark = self.marks.entry(commit.key.clone()).or_insert(commit.value);
            *mark = commit.value.max(*mark);
        }
        Some(report)
    }

    /// A report of that line was not stored; it is tried again.
    pub fn failed(&mut self, name: &str, now: Now) {
        if let Some(line) = self.lines.get_mut(name) {
            line.busy = false;
            line.pause = (line.pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            line.not_before = now.mono + line.pause;
        }
    }

    /// When [`poll`](Self::poll) or [`overdue`](Self::overdue) is worth the next call.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        let lines = self.lines.values().filter(|line| !line.busy);
        lines.filter_map(|line| {
            let until = line.waiting.front()?.until;
            Some(until.map_or(line.not_before, |until| until.min(line.not_before)))
        })
        .min()
    }

    /// How many results wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.lines.values().map(|line| line.waiting.len()).sum()
    }

    /// Highest revision stored per key, for the next run.
    #[must_use]
    pub fn marks(&self) -> &BTreeMap<String, i32> {
        &self.marks
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Now {
        Now { mono: Duration::from_millis(ms), wall_ms: ms }
    }

    fn report(value: i32, until: Option<u64>) -> Report {
        let commit = Some(Commit { key: "k".to_owned(), value });
        let outcome = ConfigOutcome { commit, status: None };
        Report { outcome, until: until.map(Duration::from_millis), settled: None }
    }

    fn value(outcome: &ConfigOutcome) -> Option<i32> {
        outcome.commit.as_ref().map(|commit| commit.value)
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let mut commits = Commits::default();
        commits.push(report(5, None));
        commits.push(report(6, None));
        let (name, outcome) = commits.poll(at(0)).unwrap();
        assert_eq!(value(&outcome), Some(5));
        assert_eq!(commits.poll(at(0)), None);
        commits.failed(&name, at(0));
        assert_eq!(commits.poll(at(0)), None, "after a pause");
        assert_eq!(value(&commits.poll(at(100)).unwrap().1), Some(5));
        assert!(commits.stored(&name).is_some());
        assert_eq!(value(&commits.poll(at(100)).unwrap().1), Some(6));
        assert!(commits.stored(&name).is_some());
        assert_eq!((commits.waiting(), commits.wake()), (0, None));
    }

    #[test]
    fn a_lower_revision_is_not_written_after_a_higher_one() {
        let mut commits = Commits::new(BTreeMap::from([("k".to_owned(), 6)]));
        commits.push(report(5, None));
        commits.push(report(-1, None));
        let (name, outcome) = commits.poll(at(0)).unwrap();
        assert_eq!(value(&outcome), None);
        commits.stored(&name);
        assert_eq!(value(&commits.poll(at(0)).unwrap().1), Some(-1));
    }

    #[test]
    fn what_is_too_late_is_given_up() {
        let mut commits = Commits::default();
        commits.push(report(5, Some(1000)));
        let (name, _) = commits.poll(at(0)).unwrap();
        assert_eq!(commits.overdue(at(1000)), None, "not while it is on its way");
        commits.failed(&name, at(1000));
        assert_eq!(commits.overdue(at(1000)).map(|report| value(&report.outcome)), Some(Some(5)));
        assert_eq!(commits.poll(at(5000)), None);
    }
}
