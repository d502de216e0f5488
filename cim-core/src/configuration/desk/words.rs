//! What comes back from the application: the ends of calls, its words on CONFIG, and whether it is well.

use super::super::change::{PushStep, Settled, Undone, Verdict, Word};
use super::super::key::{DocumentId, Key, OWN_DOCUMENT};
use super::super::rules::Now;
use super::Desk;
use crate::contract::ChangeState;

impl Desk {
    /// A call ended.
    pub fn answered(&mut self, document: &DocumentId, attempt: u32, verdict: Verdict, now: Now) {
        if let Some(lane) = self.lanes.get_mut(document) {
            lane.answered(attempt, verdict, now);
            self.touched.push_back(document.clone());
        }
    }

    /// A change of CIM's own document is in force, or of no use here.
    pub fn own_changed(&mut self, step: &PushStep, word: Word, now: Now) -> Option<Settled> {
        self.touched.push_back(step.key.document.clone());
        let lane = self.lanes.get_mut(&step.key.document)?;
        lane.answered(step.attempt, Verdict::Accepted(200), now);
        lane.result(step.key.revision, word, now)
    }

    /// The application published a result; `Err` says why it counts for nothing.
    ///
    /// # Errors
    /// The key is not one that was handed over, or not of this pod.
    pub fn result(
        &mut self,
        key: &str,
        revision: Option<i32>,
        word: Word,
        now: Now,
    ) -> Result<Option<Settled>, &'static str> {
        let key = match Key::parse(key.as_bytes(), &self.identity) {
            Key::Change(key) => key,
            Key::Foreign => return Err("its key is that of another pod"),
            Key::DayOne(_) | Key::Malformed(_) => return Err("its key is none of a change"),
        };
        if revision.is_some_and(|revision| revision != key.revision) {
            return Err("its revision is not that of its key");
        }
        if key.document.data_key == OWN_DOCUMENT {
            return Err("it is about a document that is not the application's");
        }
        let Some(lane) = self.lanes.get_mut(&key.document) else {
            return Err("no such change was handed over");
        };
        self.touched.push_back(key.document);
        Ok(lane.result(key.revision, word, now))
    }

    /// The call of a step is made now. Returns whether it still has to be.
    pub fn begin(&mut self, step: &PushStep, now: Now) -> bool {
        self.touched.push_back(step.key.document.clone());
        let lane = self.lanes.get_mut(&step.key.document);
        lane.is_some_and(|lane| lane.begin(step.key.revision, step.attempt, now))
    }

    /// What came of a confirmation.
    pub fn confirmed(&mut self, step: &PushStep, outcome: Result<(), String>, now: Now) -> Option<Settled> {
        self.touched.push_back(step.key.document.clone());
        let lane = self.lanes.get_mut(&step.key.document)?;
        lane.confirmed(step.key.revision, step.attempt, outcome, now)
    }

    /// What came of undoing a change.
    pub fn undone(&mut self, step: &PushStep, outcome: Result<Undone, String>, now: Now) -> Option<Settled> {
        self.touched.push_back(step.key.document.clone());
        let lane = self.lanes.get_mut(&step.key.document)?;
        lane.undone(step.key.revision, step.attempt, outcome, now)
    }

    /// A change is refused before it is handed over. One of CIM's own document failed: nobody else would have taken it.
    pub fn refuse(&mut self, step: &PushStep, reason: String, now: Now) -> Option<Settled> {
        self.touched.push_back(step.key.document.clone());
        let lane = self.lanes.get_mut(&step.key.document)?;
        lane.answered(step.attempt, Verdict::Refused(reason.clone()), now);
        let is_own = step.key.document.data_key == OWN_DOCUMENT;
        let state = if is_own { ChangeState::Failed } else { ChangeState::Refused };
        lane.refuse(step.key.revision, state, reason, now)
    }
}
