//! What the driver does with the steps of a change: hand it over, look at it, undo it, settle it and tell.

use std::sync::Arc;

use serde_json::Value;

use super::super::announcement::Announcement;
use super::super::change::{PushStep, Settled, Step, Word};
use super::super::commits::Report;
use super::super::key::OWN_DOCUMENT;
use super::super::plan::OwnChange;
use super::super::rules::Now;
use super::super::work::{self, Done};
use super::{ANNOUNCEMENTS, Driver, HISTORY};
use crate::contract::{ChangeState, Notice};

impl Driver {
    pub(super) fn step(&mut self, step: Step, now: Now) {
        match step {
            Step::Push(step) if step.key.document.data_key == OWN_DOCUMENT => {
                if self.desk.begin(&step, now) {
                    self.work.push(Box::pin(work::own(self.plan.own.clone(), step)));
                }
            }
            Step::Push(step) => match self.plan.confirmation.clone() {
                Some(confirmation) if !self.documents.know(&step.key.document.data_key) => {
                    let application = Arc::clone(&self.plan.application);
                    self.work.push(Box::pin(work::learn(application, confirmation, step)));
                }
                _ => self.hand_over(step, now),
            },
            Step::Confirm(step) => {
                let confirmation = self.plan.confirmation.clone().unwrap_or_default();
                let expected = self.documents.with(&step.key.document.data_key, &step.patch);
                let application = Arc::clone(&self.plan.application);
                let until = self.at(step.deadline);
                let begins_anew = self.begins_anew.subscribe();
                self.work.push(Box::pin(work::confirm(
                    application,
                    confirmation,
                    step,
                    expected,
                    until,
                    begins_anew,
                )));
            }
            Step::Undo(step, reason) => {
                tracing::warn!(change = %step.key.text, %reason, "a change is undone");
                let last_good =
                    || self.memory.last_good.as_ref().map(|text| work::Back::Whole(text.as_bytes().into()));
                let back = match self.documents.undo(&step.key.document.data_key, &step.patch) {
                    Ok(patch) => Ok(work::Back::Patch(patch)),
                    Err(why) => last_good().ok_or(why),
                };
                let until = self.at(step.deadline);
                let confirmation = self.plan.confirmation.clone().unwrap_or_default();
                let application = Arc::clone(&self.plan.application);
                self.work.push(Box::pin(work::undo(application, confirmation, step, back, until)));
            }
            Step::Ask(question) => self.ask_for_limit(question),
            Step::Settled(settled) => self.settled(Some(settled)),
        }
        self.note();
    }

    /// What the application says its document is, before a change of it is handed over.
    pub(super) fn learned(&mut self, step: PushStep, document: Option<Result<Value, String>>, now: Now) {
        let name = &step.key.document.data_key;
        match document {
            Some(Ok(document)) => self.documents.learn(name, document),
            Some(Err(why)) => tracing::warn!(document = name, %why, "what the application has is not known"),
            None => {}
        }
        self.hand_over(step, now);
    }

    fn hand_over(&mut self, step: PushStep, now: Now) {
        match self.documents.judge(&step.key.document.data_key, &step.patch) {
            Ok(()) => self.calls.push_back(step),
            Err(why) => {
                let refused =
                    self.desk.refuse(&step, format!("refused before it was handed over: {why}"), now);
                self.settled(refused);
            }
        }
    }

    /// What came of a change of CIM's own document.
    pub(super) fn own_changed(&mut self, step: &PushStep, outcome: Result<OwnChange, String>, now: Now) {
        let word = match outcome {
            Ok(OwnChange::InForce) => Word::Success,
            // Not at fault, and no reason to lose the pod: this process is configured otherwise.
            Ok(OwnChange::Unused) => Word::Unused,
            Err(why) => {
                let refused = self.desk.refuse(step, why, now);
                return self.settled(refused);
            }
        };
        let settled = self.desk.own_changed(step, word, now);
        self.settled(settled);
    }

    pub(super) fn settled(&mut self, settled: Option<Settled>) {
        let Some(settled) = settled else { return };
        let (document, status) = (&settled.key.document, &settled.status);
        let counts = self.desk.counts_mut();
        match status.state {
            ChangeState::Applied => {
                counts.applied += 1;
                self.documents.applied(&document.data_key, &settled.patch);
            }
            ChangeState::Unused => counts.unused += 1,
            ChangeState::Expired => counts.expired += 1,
            _ => counts.failed += 1,
        }
        if settled.in_doubt {
            self.documents.lose(&document.data_key);
        }
        if settled.corrects {
            self.documents.went_back(&document.data_key);
        }
        if status.state == ChangeState::Applied || status.state == ChangeState::Unused {
            tracing::info!(change = %settled.key.text, state = status.state.as_str(), attempts = status.attempts, reason = status.reason, "a change is settled");
        } else {
            tracing::error!(change = %settled.key.text, state = status.state.as_str(), attempts = status.attempts, reason = status.reason, "a change is not in force");
            let message = format!(
                "change {} of {document} is not in force: {}",
                status.revision,
                status.reason.as_deref().unwrap_or("no reason is known")
            );
            self.notify("ConfigurationFailed", message);
        }
        if self.history.len() == HISTORY {
            self.history.pop_front();
        }
        self.history.push_back(settled.status.clone());
        let outcome = self.desk.outcome(&settled);
        self.commits.push(Report::of(settled, outcome, self.now()));
        self.dirty();
    }

    pub(super) fn notify(&mut self, reason: &str, message: String) {
        let orchestrator = Arc::clone(&self.plan.orchestrator);
        let notice = Notice { reason: reason.to_owned(), message, is_warning: true };
        self.work.push(Box::pin(async move {
            orchestrator.notify(&notice).await;
            Done::Nothing
        }));
    }

    pub(super) fn announce(&mut self, announcement: &Announcement) {
        if self.announcing >= ANNOUNCEMENTS {
            tracing::warn!("an announcement is left out, because too many wait for room");
            return;
        }
        let container =
            self.memory.registration.as_ref().map(|registration| registration.container_id.as_str());
        let event = announcement.event(crate::clock::now_ms(), container.unwrap_or_default());
        let intake = self.intake.clone();
        self.announcing += 1;
        self.work.push(Box::pin(async move {
            let _ = intake.raise(&event).await;
            Done::Announced
        }));
    }
}
