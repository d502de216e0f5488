//! What the driver makes of outcomes: results of the application, answers of the store, the first configuration.

use std::sync::Arc;
use std::time::Duration;

use cim_wire::ConfigResult;
use tokio::time::Instant;

use super::super::announcement::Announcement;
use super::super::change::Word;
use super::super::commits::Report;
use super::super::day_one::{AppState, DayOneState, DayOneStep};
use super::super::key::DocumentId;
use super::super::news::LeaseQuestion;
use super::super::plan::OnExhausted;
use super::super::restarts;
use super::super::rules::Now;
use super::super::store::Registration;
use super::super::subscription::Subscription;
use super::super::{Order, work};
use super::{ASK_AGAIN, Driver};
use crate::contract::{
    ChangeStatus, Health, OrchestratorError, OrchestratorErrorKind, Reported, RestartReason, SourceError,
};
use crate::intake::Signal;

/// Pause before the orchestrator is asked again for another pod.
const RESTART_AGAIN: Duration = Duration::from_secs(15);
/// Not one of the calls that `day_one` counts: its verdict changes nothing there.
const LAST_GOOD: u32 = 0;

impl Driver {
    pub(super) fn signal(&mut self, signal: Signal) {
        match signal {
            Signal::Result(payload) => self.result(&payload),
            Signal::NotConfigured => self.said(AppState::NotConfigured),
            Signal::Configured => self.said(AppState::Configured),
        }
        self.note();
    }

    fn said(&mut self, state: AppState) {
        self.day_one.said(state);
        self.urgent();
    }

    fn result(&mut self, payload: &[u8]) {
        self.desk.counts_mut().results_received += 1;
        let result = match ConfigResult::decode(payload) {
            Ok(result) => result,
            Err(error) => return self.ignore("", &crate::chain(&error)),
        };
        let word = match result.status.as_deref() {
            Some("success") => Word::Success,
            Some("unused") => Word::Unused,
            _ => Word::Failure,
        };
        let revision = match result.revision.as_deref().map(str::parse) {
            None => None,
            Some(Ok(revision)) => Some(revision),
            Some(Err(_)) => return self.ignore(&result.change_set_key, "its revision is not a number"),
        };
        match self.desk.result(&result.change_set_key, revision, word, self.now()) {
            Ok(settled) => self.settled(settled),
            Err(why) => self.ignore(&result.change_set_key, why),
        }
    }

    fn ignore(&mut self, key: &str, why: &str) {
        self.desk.counts_mut().results_ignored += 1;
        let key: String = key.chars().take(200).collect();
        tracing::warn!(%key, why, "a message on CONFIG counts for nothing");
    }

    pub(super) fn order(&mut self, order: Order) {
        match order {
            Order::Register { registration, done } => {
                self.register(registration);
                self.saving.next.registrations.push(done);
                self.upkeep_at = Some(Instant::now());
            }
            Order::Show { done } => {
                self.show();
                let _ = done.send(());
            }
            Order::LastChange { data_key, done } => {
                let _ = done.send(self.documents.last_change(&data_key));
            }
            Order::Rollback { data_key, done } => {
                let back = self.documents.back(&data_key);
                match back.and_then(|back| Ok((back, self.desk.hold(&data_key)?))) {
                    Ok((back, document)) => {
                        let (application, identity) =
                            (Arc::clone(&self.plan.application), self.plan.identity.clone());
                        self.work.push(Box::pin(work::roll_back(
                            application,
                            identity,
                            document,
                            back,
                            done,
                        )));
                    }
                    Err(why) => {
                        let _ = done.send(Err(why));
                    }
                }
            }
            Order::OwnMap { revision } => self.own_map(revision),
            Order::Announce(announcement) => self.announce(&announcement),
            Order::Stop { done } => {
                let _ = done.send(());
            }
        }
    }

    fn register(&mut self, registration: Registration) {
        let again = self.desk.is_ready();
        tracing::info!(container = %registration.container_name, again, "the application registered");
        self.memory.register(registration);
        self.intake.registered(self.memory.container());
        self.day_one.registered();
        if again
            && self.plan.confirmation.as_ref().is_some_and(|confirmation| confirmation.read_back.is_some())
        {
            self.documents.forget();
        }
        self.desk.application_ready(again);
        self.begins_anew.send_replace(());
        if !std::mem::replace(&mut self.start_committed, true) {
            self.commit_start();
        }
        self.dirty();
    }

    pub(super) fn reported(&mut self, line: &str, outcome: Result<Reported, SourceError>, now: Now) {
        match outcome {
            Ok(outcome) => {
                let Some(report) = self.commits.stored(line) else { return };
                if let Some(settled) = &report.settled {
                    self.saving.next.documents.push(settled.key.document.clone());
                    if let Some(announcement) = Announcement::of_result(&report.outcome) {
                        self.announce(&announcement);
                    }
                    if let Some(commit) =
                        report.outcome.commit.as_ref().filter(|_| outcome == Reported::Stored)
                    {
                        self.announce(&Announcement::of_commit(&commit.key));
                    }
                }
                self.dirty();
            }
            Err(error) => {
                let text = crate::chain(&error);
                tracing::warn!(key = line, kind = error.kind().as_str(), error = %text, "a result cannot be stored yet");
                self.commits.failed(line, now);
            }
        }
    }

    /// A result whose time is over.
    pub(super) fn lost(&mut self, report: &Report) {
        self.desk.counts_mut().commit_failures += 1;
        if let Some(settled) = &report.settled {
            self.saving.next.documents.push(settled.key.document.clone());
        }
        let key = report.outcome.commit.as_ref().map(|commit| commit.key.as_str()).unwrap_or_default();
        tracing::error!(key, "a result could not be stored before the time of its change ran out");
        self.announce(&Announcement::of_lost_commit(key, "the store could not be reached in time"));
    }

    /// What the store holds under the key of a result: before the watch begins that of an earlier run, later what is left of
    /// this one's.
    pub(super) fn committed(&mut self, key: String, value: Result<Option<Vec<u8>>, SourceError>) {
        let at_start = self.unread > 0;
        match value {
            Ok(value) => {
                let value = value.and_then(|value| std::str::from_utf8(&value).ok()?.trim().parse().ok());
                if !at_start {
                    return self.commits.found(&key, value);
                }
                self.unread -= 1;
                let Some(value) = value else { return };
                self.commits.begin(&key, value);
                if value > 0 {
                    self.desk.already_committed(key, value);
                }
            }
            Err(error) => {
                let text = crate::chain(&error);
                tracing::warn!(%key, error = %text, "the store cannot be read yet");
                if at_start {
                    self.absent(text);
                }
                self.ask_for_result(key, Instant::now() + ASK_AGAIN);
            }
        }
    }

    pub(super) fn ask_for_result(&self, key: String, not_before: Instant) {
        if let Some(source) = &self.plan.source {
            self.work.push(Box::pin(work::committed(Arc::clone(source), key, not_before)));
        }
    }

    pub(super) fn ask_for_limit(&mut self, question: LeaseQuestion) {
        if let Some(source) = self.plan.source.clone() {
            self.questions.push_back(Box::pin(work::limit(source, question)));
        }
    }

    /// How long a change may take. A store that cannot tell is asked again: until it does the change has the usual time.
    pub(super) fn limited(
        &mut self,
        question: LeaseQuestion,
        time_left: Result<Option<Duration>, SourceError>,
        now: Now,
    ) {
        match time_left {
            Ok(time_left) => {
                self.desk.limit(&question, time_left, now);
                if let Some(report) = self.commits.limit(&question, time_left, now) {
                    self.lost(&report);
                }
            }
            Err(error) => {
                tracing::debug!(%error, "how long a change may take is not known yet");
                if self.desk.needs(&question) || self.commits.needs(&question) {
                    self.work.push(Box::pin(work::later(question, Instant::now() + ASK_AGAIN)));
                }
            }
        }
    }

    /// A watch that goes on where it was has nothing to say before something changes, so whether it does tells the source.
    pub(super) fn ask_for_health(&mut self) {
        if let Some(source) = self.plan.source.clone().filter(|_| !self.probing) {
            self.probing = true;
            self.work.push(Box::pin(work::health(source, Instant::now() + ASK_AGAIN)));
        }
    }

    pub(super) fn healthy(&mut self, health: &Health) {
        self.probing = false;
        if !matches!(self.watching, Some(Err(_))) {
            return;
        }
        let is_watching = self.subscription.as_ref().is_some_and(Subscription::is_at_work);
        if *health == Health::Ready && is_watching {
            tracing::info!("the watch of the configuration goes on");
            self.watching = Some(Ok(()));
        } else {
            self.ask_for_health();
        }
    }

    /// The store cannot be reached.
    pub(super) fn absent(&mut self, error: String) {
        let since_start = !self.caught_up && self.started.elapsed() >= super::ABSENT;
        if since_start && self.plan.announce_absence && !std::mem::replace(&mut self.absence_told, true) {
            self.announce(&Announcement::of_absent_store(&error));
        }
        self.watching = Some(Err(error));
    }

    /// What the store says of a document's last change. Text that is no story is as good as none.
    pub(super) fn story(
        &mut self,
        document: DocumentId,
        key: String,
        value: Result<Option<Vec<u8>>, SourceError>,
    ) {
        match value {
            Ok(text) => {
                let last = text.and_then(|text| serde_json::from_slice::<ChangeStatus>(&text).ok());
                if self.desk.know(&document, last) {
                    // Its patch is not there any more.
                    self.documents.lose(&document.data_key);
                }
            }
            Err(error) => {
                tracing::warn!(%key, error = %crate::chain(&error), "the store cannot be read yet");
                if let Some(source) = self.plan.source.clone() {
                    let again = Instant::now() + ASK_AGAIN;
                    self.questions.push_back(Box::pin(work::story(source, document, key, again)));
                }
            }
        }
    }

    pub(super) fn day_one_step(&mut self, step: DayOneStep, now: Now) {
        match step {
            DayOneStep::Load { value, attempt } => {
                self.loading = Some(Arc::clone(&value));
                self.work.push(Box::pin(work::load(Arc::clone(&self.plan.application), value, attempt)));
            }
            DayOneStep::GiveUp { reason, malformed } => self.give_up(&reason, malformed, now),
        }
        self.note();
    }

    pub(super) fn loaded(&mut self, attempt: u32, outcome: Result<(), String>, now: Now) {
        if attempt == LAST_GOOD {
            return self.last_good_loaded(outcome);
        }
        if let Err(why) = &outcome {
            tracing::warn!(reason = %why, "the first configuration was not taken; it is handed over again");
        }
        if self.day_one.loaded(attempt, outcome, now)
            && let Some(document) = self.loading.take()
        {
            tracing::info!(bytes = document.len(), "the first configuration is loaded");
            self.documents.load(&document);
            self.memory.last_good = String::from_utf8(document.to_vec()).ok();
            self.dirty();
        }
    }

    fn last_good_loaded(&mut self, outcome: Result<(), String>) {
        match (outcome, &self.memory.last_good) {
            (Ok(()), Some(document)) => {
                tracing::info!(bytes = document.len(), "the last good first configuration is loaded instead");
                self.documents.load(document.as_bytes());
                self.dirty();
            }
            (Err(why), _) => {
                tracing::error!(reason = %why, "the last good first configuration was not taken either")
            }
            (Ok(()), None) => {}
        }
    }

    /// The first configuration cannot be loaded. A restart mends no document that is wrong in itself.
    fn give_up(&mut self, reason: &str, malformed: bool, now: Now) {
        tracing::error!(%reason, "the first configuration is given up");
        self.announce(&Announcement::of_load_failure(malformed));
        self.notify("LoadConfigFailed", format!("the first configuration cannot be loaded: {reason}"));
        match self.plan.on_exhausted {
            OnExhausted::Restart if !malformed => self.restart(reason, now),
            OnExhausted::LastGood => {
                if let Some(document) = &self.memory.last_good {
                    let document: Arc<[u8]> = document.as_bytes().into();
                    self.work.push(Box::pin(work::load(
                        Arc::clone(&self.plan.application),
                        document,
                        LAST_GOOD,
                    )));
                }
            }
            OnExhausted::Restart | OnExhausted::Hold => {}
        }
    }

    fn restart(&mut self, reason: &str, now: Now) {
        if self.restarting {
            return;
        }
        restarts::forget_old(&mut self.memory.restarts_ms, now.wall_ms, |at| *at);
        let budget = usize::try_from(self.plan.restart_budget).unwrap_or(usize::MAX);
        if self.memory.restarts_ms.len() >= budget {
            return work::exhausted(budget);
        }
        self.restarting = true;
        self.memory.restarts_ms.push(now.wall_ms);
        self.dirty();
        let reason = RestartReason {
            reason: "LoadConfigFailed".to_owned(),
            message: format!("the first configuration cannot be loaded: {reason}"),
        };
        self.work.push(Box::pin(work::restart(self.plan.clone(), reason, budget, now.wall_ms)));
    }

    /// The orchestrator was asked for another pod. One that is away is asked again while the application still has nothing.
    pub(super) fn restarted(&mut self, reason: RestartReason, outcome: Result<(), OrchestratorError>) {
        self.restarting = false;
        let Err(error) = outcome else { return };
        let again = error.kind() != OrchestratorErrorKind::Unsupported
            && self.day_one.state() == DayOneState::GivenUp;
        let text = crate::chain(&error);
        tracing::error!(error = %text, reason = %reason.message, again, "the pod cannot be restarted");
        if again {
            self.restarting = true;
            let orchestrator = Arc::clone(&self.plan.orchestrator);
            let at = Instant::now() + RESTART_AGAIN;
            self.work.push(Box::pin(work::restart_at(orchestrator, reason, at)));
        }
    }
}
