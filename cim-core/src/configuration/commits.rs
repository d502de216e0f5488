//! Results on their way to the source: in order per key, repeated until they are stored or the lease of their change has
//! ended, which only the store can tell.
//!
//! Pure bookkeeping. Left out: the calls. Invariants: one report per key at a time, so that no earlier value is written
//! after a later one; a result that was stored is never followed by that of a lower revision, even where it was no revision
//! itself: `-2` for revision 12 must not become 11, because the config server looks for 12 in the same place.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use super::change::Settled;
use super::news::LeaseQuestion;
use super::rules::{Now, Rules};
use crate::Pauses;
use crate::contract::{Commit, ConfigOutcome};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// A result to be stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// What is stored.
    pub outcome: ConfigOutcome,
    /// When it is too late, as far as is known; `None`: never.
    pub until: Option<Duration>,
    /// The change it belongs to; `None` for the values of the start.
    pub settled: Option<Settled>,
}

impl Report {
    /// The result of a change; `None` as a commit: only its story, which is never too late.
    #[must_use]
    pub fn of(settled: Settled, outcome: ConfigOutcome, now: Now) -> Self {
        let lease = settled.lease.filter(|_| outcome.commit.is_some());
        // Where the end of the lease never came to be known, it is asked for at once.
        let until = lease.map(|_| settled.commit_by.unwrap_or(now.mono));
        Self { outcome, until, settled: Some(settled) }
    }

    fn question(&self) -> Option<LeaseQuestion> {
        let settled = self.settled.as_ref()?;
        Some(LeaseQuestion::of(&settled.key, settled.lease?))
    }
}

#[derive(Debug)]
struct Line {
    waiting: VecDeque<Report>,
    busy: bool,
    /// It is being asked whether the first of them is too late.
    asked: bool,
    pauses: Pauses,
    not_before: Duration,
}

impl Line {
    /// When the first of them may be too late.
    fn until(&self) -> Option<Duration> {
        self.waiting.front()?.until
    }

    /// Whether the first of them may be too late.
    fn is_doubtful(&self, now: Now) -> bool {
        self.until().is_some_and(|until| until <= now.mono)
    }
}

impl Default for Line {
    fn default() -> Self {
        let pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self { waiting: VecDeque::new(), busy: false, asked: false, pauses, not_before: Duration::ZERO }
    }
}

/// All results on their way.
#[derive(Debug, Default)]
pub struct Commits {
    lines: BTreeMap<String, Line>,
    /// Highest revision stored per key.
    marks: BTreeMap<String, i32>,
    /// What was stored last per key.
    written: BTreeMap<String, i32>,
}

/// Whether a result is that of a revision below the highest one stored.
fn is_lower(marks: &BTreeMap<String, i32>, commit: &Commit) -> bool {
    commit.value >= 0 && marks.get(&commit.key).is_some_and(|mark| *mark > commit.value)
}

/// Name of the line of reports without a commit: those only tell the story.
const STORIES: &str = "";

impl Commits {
    /// Remembers what earlier runs stored: the highest revision and the last value per key.
    #[must_use]
    pub fn new(marks: BTreeMap<String, i32>, written: BTreeMap<String, i32>) -> Self {
        Self { marks, written, ..Self::default() }
    }

    /// Takes a report.
    pub fn push(&mut self, report: Report) {
        let line =
            report.outcome.commit.as_ref().map_or_else(|| STORIES.to_owned(), |commit| commit.key.clone());
        if report.settled.as_ref().is_some_and(|settled| settled.is_of_new_count) {
            self.marks.remove(&line);
            self.written.remove(&line);
        }
        self.lines.entry(line).or_default().waiting.push_back(report);
    }

    /// The next report to be made, with the name of its line. A revision below the one stored before is not written any
    /// more; its story is.
    pub fn poll(&mut self, now: Now) -> Option<(String, ConfigOutcome)> {
        let (name, line) = self.lines.iter_mut().find(|(_, line)| {
            !line.busy && line.not_before <= now.mono && !line.waiting.is_empty() && !line.is_doubtful(now)
        })?;
        line.busy = true;
        let report = line.waiting.front_mut()?;
        if report.outcome.commit.as_ref().is_some_and(|commit| is_lower(&self.marks, commit)) {
            report.outcome.commit = None;
        }
        Some((name.clone(), report.outcome.clone()))
    }

    /// The question for the lease of a change whose result may be too late. To be asked until it says `None`.
    pub fn doubt(&mut self, now: Now) -> Option<LeaseQuestion> {
        let line = self.lines.values_mut().find(|line| !line.busy && !line.asked && line.is_doubtful(now))?;
        let question = line.waiting.front()?.question()?;
        line.asked = true;
        Some(question)
    }

    /// Learns what is left of the lease of a change; `None`: nothing. Returns the report that can no longer be stored.
    pub fn limit(
        &mut self,
        question: &LeaseQuestion,
        time_left: Option<Duration>,
        now: Now,
    ) -> Option<Report> {
        let is_it = |line: &Line| line.waiting.front().and_then(Report::question).as_ref() == Some(question);
        let (name, line) = self.lines.iter_mut().find(|(_, line)| line.asked && is_it(line))?;
        line.asked = false;
        line.pauses.reset();
        line.not_before = now.mono;
        if let Some(time_left) = time_left {
            // The rest is told in whole seconds, so nothing may mean a moment.
            let within = Rules::commit_within(time_left).max(FIRST_PAUSE);
            line.waiting.front_mut()?.until = Some(now.mono + within);
            return None;
        }
        let (name, report) = (name.clone(), line.waiting.pop_front());
        if line.waiting.is_empty() {
            self.lines.remove(&name);
        }
        report
    }

    /// Whether the answer still matters.
    #[must_use]
    pub fn needs(&self, question: &LeaseQuestion) -> bool {
        let first = |line: &Line| line.waiting.front().and_then(Report::question);
        self.lines.values().any(|line| line.asked && first(line).as_ref() == Some(question))
    }

    /// A report of that line was stored; returns it.
    pub fn stored(&mut self, name: &str) -> Option<Report> {
        let line = self.lines.get_mut(name)?;
        line.busy = false;
        line.pauses.reset();
        let report = line.waiting.pop_front()?;
        if line.waiting.is_empty() {
            self.lines.remove(name);
        }
        if let Some(commit) = &report.outcome.commit {
            let revision = report.settled.as_ref().map_or(commit.value, |settled| settled.key.revision);
            let mark = self.marks.entry(commit.key.clone()).or_insert(revision);
            *mark = revision.max(*mark);
            self.written.insert(commit.key.clone(), commit.value);
        }
        Some(report)
    }

    /// The last value stored per key, for the next run.
    #[must_use]
    pub fn written(&self) -> &BTreeMap<String, i32> {
        &self.written
    }

    /// The store holds this under a key at the start, which may be later than what is remembered. Of a value below zero
    /// nothing tells whether it is: it counts.
    pub fn begin(&mut self, key: &str, value: i32) {
        if value >= 0 && self.is_older(key, value) {
            return;
        }
        self.written.insert(key.to_owned(), value);
        if value >= 0 {
            let mark = self.marks.entry(key.to_owned()).or_insert(value);
            *mark = value.max(*mark);
        }
    }

    /// The store holds this under a key, and a change that has its result. Where it was set back to what it was before the
    /// result was stored, that is stored again: the config server waits for it. A failure is not, for it may cost the pod
    /// each time it is read. A result that waits comes in its place, unless it is lower and so written no more.
    pub fn found(&mut self, key: &str, value: Option<i32>) {
        let Some(&written) = self.written.get(key) else { return };
        let is_current = value.is_some_and(|value| value == written || !self.is_older(key, value));
        let waiting = self.lines.get(key).into_iter().flat_map(|line| &line.waiting);
        let mut commits = waiting.filter_map(|report| report.outcome.commit.as_ref());
        let is_replaced = commits.any(|commit| !is_lower(&self.marks, commit));
        if written != Commit::FAILED && !is_current && !is_replaced {
            let commit = Some(Commit { key: key.to_owned(), value: written });
            self.push(Report { outcome: ConfigOutcome { commit, status: None }, until: None, settled: None });
        }
    }

    /// Whether the store held this under a key before what was stored last. A result that is no revision counts as that of
    /// the highest one.
    fn is_older(&self, key: &str, value: i32) -> bool {
        let last = self.written.get(key).filter(|written| **written >= 0).or_else(|| self.marks.get(key));
        last.is_some_and(|last| value < *last)
    }

    /// A report of that line was not stored; it is tried again.
    pub fn failed(&mut self, name: &str, now: Now) {
        if let Some(line) = self.lines.get_mut(name) {
            line.busy = false;
            line.not_before = now.mono + line.pauses.take();
        }
    }

    /// When [`poll`](Self::poll) or [`doubt`](Self::doubt) is worth the next call.
    #[must_use]
    pub fn wake(&self) -> Option<Duration> {
        let lines = self.lines.values().filter(|line| !line.busy && !line.asked && !line.waiting.is_empty());
        lines.map(|line| line.until().map_or(line.not_before, |until| until.min(line.not_before))).min()
    }

    /// The results that wait, in the order of each key.
    pub fn reports(&self) -> impl Iterator<Item = &Report> {
        self.lines.values().flat_map(|line| &line.waiting)
    }

    /// How many results wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.reports().count()
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
    use crate::configuration::key::{ChangeKey, DocumentId, MapLevel};
    use crate::contract::{ChangeState, ChangeStatus, Lease};
    use std::sync::Arc;

    fn at(ms: u64) -> Now {
        Now { mono: Duration::from_millis(ms), wall_ms: ms }
    }

    fn report(value: i32) -> Report {
        let commit = Some(Commit { key: "k".to_owned(), value });
        Report { outcome: ConfigOutcome { commit, status: None }, until: None, settled: None }
    }

    /// The report of a change of that revision.
    fn of_change(revision: i32, value: i32) -> Report {
        let document = DocumentId { level: MapLevel::Ms, data_key: "app.json".to_owned() };
        let status = ChangeStatus::example(revision, ChangeState::Unused);
        let key = ChangeKey { text: String::new(), document, revision };
        let settled = Settled {
            key,
            patch: Arc::from(&b""[..]),
            lease: Some(Lease(1)),
            commit_by: Some(Duration::from_millis(1000)),
            status,
            corrects: false,
            in_doubt: false,
            is_of_new_count: false,
        };
        let commit = Some(Commit { key: "k".to_owned(), value });
        Report::of(settled, ConfigOutcome { commit, status: None }, at(0))
    }

    fn value(outcome: &ConfigOutcome) -> Option<i32> {
        outcome.commit.as_ref().map(|commit| commit.value)
    }

    #[test]
    fn one_at_a_time_and_in_order() {
        let mut commits = Commits::default();
        commits.push(report(5));
        commits.push(report(6));
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
        let mut commits = Commits::new(BTreeMap::from([("k".to_owned(), 6)]), BTreeMap::new());
        commits.push(report(5));
        commits.push(report(-1));
        let (name, outcome) = commits.poll(at(0)).unwrap();
        assert_eq!(value(&outcome), None);
        commits.stored(&name);
        assert_eq!(value(&commits.poll(at(0)).unwrap().1), Some(-1));
    }

    #[test]
    fn a_result_that_is_no_revision_is_not_overwritten_by_that_of_an_earlier_change() {
        let mut commits = Commits::default();
        commits.push(of_change(12, Commit::UNUSED));
        commits.push(of_change(11, 11));
        commits.push(of_change(13, 13));
        for expected in [Some(Commit::UNUSED), None, Some(13)] {
            let (name, outcome) = commits.poll(at(0)).unwrap();
            assert_eq!(value(&outcome), expected);
            commits.stored(&name);
        }
    }

    /// What is stored next.
    fn next(commits: &mut Commits) -> Option<i32> {
        let (name, outcome) = commits.poll(at(0))?;
        commits.stored(&name);
        value(&outcome)
    }

    #[test]
    fn what_a_store_forgot_is_stored_again() {
        for (last, held, again) in [
            (of_change(7, 7), Some(7), None),
            (of_change(7, 7), Some(8), None),
            (of_change(7, 7), Some(4), Some(7)),
            (of_change(7, 7), Some(-2), Some(7)),
            (of_change(7, 7), None, Some(7)),
            (of_change(7, -2), Some(-2), None),
            (of_change(7, -2), Some(7), None),
            (of_change(7, -2), Some(6), Some(-2)),
            (of_change(7, -2), None, Some(-2)),
            (of_change(7, -1), Some(6), None),
            (of_change(7, -1), None, None),
        ] {
            let mut commits = Commits::default();
            commits.push(last.clone());
            let stored = next(&mut commits);
            commits.found("k", held);
            assert_eq!(next(&mut commits), again, "{stored:?} was stored, {held:?} is held");
            assert_eq!(commits.written().get("k"), stored.as_ref());
        }
    }

    #[test]
    fn what_is_on_its_way_says_more_than_what_a_store_forgot() {
        let mut commits = Commits::default();
        commits.push(report(7));
        next(&mut commits);
        commits.push(report(9));
        commits.found("k", Some(4));
        assert_eq!((next(&mut commits), next(&mut commits)), (Some(9), None));
    }

    #[test]
    fn a_process_knows_what_the_one_before_it_stored() {
        for (mark, last, held, again, known) in [
            (7, 7, Some(7), None, 7),
            (7, 7, Some(4), Some(7), 7),
            (7, 7, None, Some(7), 7),
            (7, 7, Some(9), None, 9),
            // The one before may have stored it in its last moment.
            (7, 7, Some(-2), None, -2),
            (7, 7, Some(-1), None, -1),
            (7, -2, Some(6), Some(-2), -2),
            (7, -2, Some(8), None, 8),
            (7, -1, None, None, -1),
        ] {
            let of = |value| BTreeMap::from([("k".to_owned(), value)]);
            let mut commits = Commits::new(of(mark), of(last));
            if let Some(held) = held {
                commits.begin("k", held);
            }
            commits.found("k", held);
            assert_eq!(next(&mut commits), again, "{last} was stored, {held:?} is held");
            assert_eq!(commits.written(), &of(known), "{last} was stored, {held:?} is held");
            assert!(commits.marks()["k"] >= mark);
        }
    }

    #[test]
    fn what_was_lost_is_stored_again_behind_waiting_results_that_are_written_no_more() {
        for (waiting, again) in [(5, Some(8)), (9, None)] {
            let mut commits = Commits::default();
            commits.push(of_change(8, 8));
            commits.push(of_change(waiting, waiting));
            let (name, _) = commits.poll(at(0)).unwrap();
            commits.stored(&name);
            let (name, _) = commits.poll(at(0)).unwrap();
            commits.failed(&name, at(0));
            // The store was set back to what it was before 8; it is read twice.
            commits.found("k", Some(4));
            commits.found("k", Some(4));
            let (name, outcome) = commits.poll(at(100)).unwrap();
            assert_eq!(value(&outcome), Some(waiting).filter(|waiting| *waiting > 8));
            commits.stored(&name);
            let next = commits.poll(at(100));
            assert_eq!(next.and_then(|(_, outcome)| value(&outcome)), again);
            let _ = commits.stored(&name);
            assert_eq!(commits.waiting(), 0);
        }
    }

    #[test]
    fn a_result_is_given_up_when_the_store_says_that_the_lease_has_ended() {
        let mut commits = Commits::default();
        commits.push(of_change(5, 5));
        let (name, _) = commits.poll(at(0)).unwrap();
        assert_eq!(commits.doubt(at(1000)), None, "not while it is on its way");
        commits.failed(&name, at(1000));
        let question = commits.doubt(at(1000)).unwrap();
        assert_eq!((commits.doubt(at(1000)), commits.wake()), (None, None), "asked once");
        assert_eq!(commits.poll(at(5000)), None, "not before the answer");
        assert!(commits.needs(&question));
        assert_eq!(commits.limit(&question, Some(Duration::from_secs(60)), at(5000)), None);
        assert!(!commits.needs(&question));
        let (name, outcome) = commits.poll(at(5000)).unwrap();
        assert_eq!(value(&outcome), Some(5), "the lease began anew");
        commits.failed(&name, at(70_000));
        assert_eq!(commits.doubt(at(70_000)).as_ref(), Some(&question));
        let lost = commits.limit(&question, None, at(70_000)).unwrap();
        assert_eq!((value(&lost.outcome), commits.waiting()), (Some(5), 0));
    }

    #[test]
    fn a_result_of_a_lease_that_nobody_knows_is_not_written_before_it_is_asked_for() {
        let mut commits = Commits::default();
        let change = of_change(5, -1);
        let settled = Settled { commit_by: None, ..change.settled.unwrap() };
        commits.push(Report::of(settled, change.outcome, at(7)));
        assert_eq!(commits.poll(at(7)), None);
        let question = commits.doubt(at(7)).unwrap();
        assert_eq!(commits.limit(&question, Some(Duration::ZERO), at(7)), None);
        assert_eq!(value(&commits.poll(at(7)).unwrap().1), Some(-1), "told in whole seconds");
    }

    #[test]
    fn a_story_is_never_too_late() {
        let mut commits = Commits::default();
        let change = of_change(5, 5);
        let outcome = ConfigOutcome { commit: None, status: None };
        commits.push(Report::of(change.settled.unwrap(), outcome, at(0)));
        assert_eq!(commits.doubt(at(999_999)), None);
        assert!(commits.poll(at(999_999)).is_some());
    }
}
