//! The one task that owns the configuration engine: hears, decides by the pure parts, calls.
//!
//! Owns the order of things. Left out: every decision (`desk`, `day_one`, `commits`) and every call (`work`). Invariants:
//! nothing here waits for the application, the source or a sink, so a result is looked at the moment it comes; a result is
//! stored before it is announced, and stored and remembered before the next change of its document is handed over: a killed
//! process and a store that was set back, even both at once, bring no earlier change back after a later one.

mod hearing;
mod own_map;
mod results;
mod saving;
mod steps;
mod upkeep;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep_until};

use self::saving::Saving;
use super::Order;
use super::change::{PushStep, Undone, Verdict};
use super::checks::Documents;
use super::commits::Commits;
use super::confirmation::Confirmation;
use super::day_one::DayOne;
use super::desk::Desk;
use super::key::{MapLevel, commit_key};
use super::plan::Plan;
use super::rules::{Now, Rules};
use super::store::Memory;
use super::subscription::{Heard, Subscription};
use super::view::ConfigurationView;
use super::work::{self, Done, Work};
use crate::contract::{ChangeStatus, ConfigScope, Revision};
use crate::intake::{Intake, Signal};

/// Calls of the application at the same time.
const CALLS: usize = 8;
/// Updates that are taken in before work is looked for.
const GULP: usize = 1024;
/// Settled changes that are remembered for people.
const HISTORY: usize = 64;
/// Questions to the store at the same time: each takes some 28 KiB on its way, and there may be thousands at once.
const QUESTIONS: usize = 16;
/// Announcements on their way at the same time.
const ANNOUNCEMENTS: usize = 1000;
/// A store that has not been reached for so long after the start is absent.
const ABSENT: Duration = Duration::from_secs(10);
/// Pause before a question to the source is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// Pause before the orchestrator is asked again; doubles each time, for an answer may never come.
const ASK_ORCHESTRATOR_AGAIN: Duration = Duration::from_secs(5);
/// The configuration engine.
pub(crate) struct Driver {
    plan: Plan,
    desk: Desk,
    day_one: DayOne,
    commits: Commits,
    documents: Documents,
    memory: Memory,
    subscription: Option<Subscription>,
    /// The last change of the source that was looked at, also by an earlier process.
    seen: Option<Revision>,
    /// The source is being asked whether it is well.
    probing: bool,
    /// Results of earlier runs that are still to be read; the watch begins when there are none.
    unread: usize,
    watching: Option<Result<(), String>>,
    /// It was announced that the store is absent.
    absence_told: bool,
    /// The first reading of the source is done.
    caught_up: bool,
    start_committed: bool,
    /// No earlier process of this pod met the application, as far as is remembered.
    is_first_life: bool,
    /// Revision of the map of CIM's own document that is still to be committed.
    own_revision: Option<String>,
    /// Pause before the orchestrator is asked for the map of CIM's own document again.
    own_map_pause: Duration,
    /// The last changes with a result.
    history: VecDeque<ChangeStatus>,
    /// The orchestrator is being asked for another pod.
    restarting: bool,
    /// The first configuration that is being handed over.
    loading: Option<Arc<[u8]>>,
    calls: VecDeque<PushStep>,
    calling: usize,
    /// What the store is still to be asked.
    questions: VecDeque<BoxFuture<'static, Done>>,
    asking: usize,
    announcing: usize,
    /// Told when the application registered again.
    begins_anew: watch::Sender<()>,
    work: Work,
    signals: mpsc::Receiver<Signal>,
    orders: mpsc::Receiver<Order>,
    intake: Intake,
    view: Arc<Mutex<ConfigurationView>>,
    started: Instant,
    upkeep_at: Option<Instant>,
    saving: Saving,
}

impl Driver {
    pub(crate) fn new(
        plan: Plan,
        intake: Intake,
        signals: mpsc::Receiver<Signal>,
        orders: mpsc::Receiver<Order>,
        view: Arc<Mutex<ConfigurationView>>,
    ) -> Self {
        let memory = plan.dir.as_deref().map(Memory::load).unwrap_or_default().in_pod(&plan.identity.uid);
        let is_lasting = plan.source.as_ref().is_some_and(|source| source.has_lasting_revisions());
        let (desk, commits) = remembered(&plan, &memory, is_lasting);
        intake.registered(memory.container());
        let scope = ConfigScope {
            namespace: plan.identity.namespace.clone(),
            microservice: plan.identity.microservice.clone(),
        };
        let nf_revision = memory.nf_revision.clone().or_else(|| plan.nf_revision.clone());
        let mut this = Self {
            desk,
            day_one: DayOne::new(plan.day_one, nf_revision).restored(memory.day_one),
            commits,
            documents: Documents::new(&memory, plan.dry_run, plan.check.clone()),
            subscription: plan.source.clone().map(|source| Subscription::new(source, scope)),
            seen: memory.seen.filter(|_| is_lasting).map(Revision),
            probing: false,
            unread: 0,
            watching: None,
            absence_told: false,
            caught_up: false,
            start_committed: false,
            is_first_life: memory.registration.is_none(),
            own_revision: None,
            own_map_pause: ASK_ORCHESTRATOR_AGAIN,
            history: memory.history(HISTORY).into(),
            restarting: false,
            loading: None,
            calls: VecDeque::new(),
            calling: 0,
            questions: VecDeque::new(),
            asking: 0,
            announcing: 0,
            begins_anew: watch::Sender::new(()),
            work: Work::new(),
            signals,
            orders,
            intake,
            view,
            started: Instant::now(),
            upkeep_at: None,
            saving: Saving::new(),
            memory,
            plan,
        };
        if this.is_first_life {
            for (level, revision) in this.given_revisions() {
                this.began_with(level, false, &revision);
            }
        }
        this.ask();
        // Whoever looks before the first renewal sees what is remembered.
        this.show();
        this.note();
        this
    }

    /// What has to be known before anything is handed over.
    fn ask(&mut self) {
        let identity = &self.plan.identity;
        if self.plan.source.is_some() {
            for (level, own) in [(MapLevel::Ms, false), (MapLevel::Nf, false), (MapLevel::Ms, true)] {
                let key = commit_key(identity, level, own);
                self.ask_for_result(key, self.started);
                self.unread += 1;
            }
            self.watching = Some(Err("the store was not reached yet".to_owned()));
            // Without a source nobody changes that document.
            self.work.push(Box::pin(work::own_map(
                Arc::clone(&self.plan.orchestrator),
                self.own_maps(),
                self.started,
            )));
        }
    }

    /// Works until it is told to stop.
    pub(crate) async fn run(mut self) {
        loop {
            self.turn();
            let wake = self.wake();
            let watch = self.unread == 0;
            tokio::select! {
                heard = hear(&mut self.subscription), if watch => self.hear(heard),
                Some(done) = self.work.next(), if !self.work.is_empty() => self.done(done),
                Some(signal) = self.signals.recv() => self.signal(signal),
                order = self.orders.recv() => match order {
                    Some(Order::Stop { done }) => {
                        self.stop().await;
                        let _ = done.send(());
                        return;
                    }
                    Some(order) => self.order(order),
                    None => return self.stop().await,
                },
                () = sleep_until(wake) => {}
            }
        }
    }

    fn now(&self) -> Now {
        Now { mono: self.started.elapsed(), wall_ms: crate::clock::now_ms() }
    }

    fn at(&self, mono: Duration) -> Instant {
        self.started + mono
    }

    fn wake(&self) -> Instant {
        let desk = [self.desk.wake(), self.commits.wake(), self.day_one.wake()].into_iter().flatten().min();
        let far = Instant::now() + Duration::from_secs(3600);
        [desk.map(|at| self.at(at)), self.next_upkeep()].into_iter().flatten().fold(far, Instant::min)
    }

    /// Does whatever there is to be done now.
    fn turn(&mut self) {
        let now = self.now();
        // First, because where nothing is remembered the next changes may go at once.
        if !self.saving.next.documents.is_empty() && !self.saving.is_under_way() {
            self.save();
        }
        loop {
            while let Some(step) = self.desk.poll(now) {
                self.step(step, now);
            }
            if !self.begin_calls(now) {
                break;
            }
        }
        if let Some(step) = self.day_one.poll(now, self.desk.is_ready() && self.caught_up) {
            self.day_one_step(step, now);
        }
        while let Some(question) = self.commits.doubt(now) {
            self.ask_for_limit(question);
        }
        while self.asking < QUESTIONS
            && let Some(question) = self.questions.pop_front()
        {
            self.asking += 1;
            self.work.push(Box::pin(async move { Done::Answer(Box::new(question.await)) }));
        }
        if let Some(source) = self.plan.source.clone() {
            while let Some((line, outcome)) = self.commits.poll(now) {
                self.work.push(Box::pin(work::report(Arc::clone(&source), line, outcome)));
            }
        }
        if self.next_upkeep().is_some_and(|at| at <= Instant::now()) {
            self.upkeep();
        }
    }

    /// Makes the calls there is room for. Returns whether one had come too late, so that its lane is to be looked at again.
    fn begin_calls(&mut self, now: Now) -> bool {
        let mut is_late = false;
        while self.calling < CALLS
            && let Some(step) = self.calls.pop_front()
        {
            if self.desk.begin(&step, now) {
                self.calling += 1;
                self.desk.counts_mut().push_attempts += 1;
                self.work.push(Box::pin(work::call(Arc::clone(&self.plan.application), step)));
            } else {
                is_late = true;
            }
        }
        is_late
    }

    fn done(&mut self, done: Done) {
        let now = self.now();
        match done {
            Done::Called { document, attempt, verdict } => {
                self.calling -= 1;
                let counts = self.desk.counts_mut();
                match &verdict {
                    Verdict::Refused(_) => counts.push_failures += 1,
                    Verdict::Accepted(_) | Verdict::Deferred => counts.push_successes += 1,
                }
                if let Verdict::Refused(why) = &verdict {
                    tracing::warn!(%document, reason = %why, "a change was not taken; it is handed over again");
                }
                self.desk.answered(&document, attempt, verdict, now);
            }
            Done::Answer(answer) => {
                self.asking -= 1;
                self.done(*answer);
            }
            Done::Limited { question, time_left } => self.limited(question, time_left, now),
            Done::Limit { question } => self.ask_for_limit(question),
            Done::Reported { line, outcome } => self.reported(&line, outcome, now),
            Done::Committed { key, value } => self.committed(key, value),
            Done::Story { document, key, value } => self.story(document, key, value),
            Done::Own { step, outcome } => self.own_changed(&step, outcome, now),
            Done::Confirmed { step, outcome } => {
                let settled = self.desk.confirmed(&step, outcome, now);
                self.settled(settled);
            }
            Done::Learned { step, document } => self.learned(step, document, now),
            Done::Undone { step, outcome, loaded } => {
                if let (Ok(Undone::Back), Some(whole)) = (&outcome, loaded) {
                    self.documents.load(&whole);
                }
                let settled = self.desk.undone(&step, outcome, now);
                self.settled(settled);
            }
            Done::Loaded { attempt, outcome } => self.loaded(attempt, outcome, now),
            Done::OwnMap(Ok(Some(revision))) => self.own_map(revision),
            Done::OwnMap(Ok(None)) => self.desk.set_own_map(false),
            Done::OwnMap(Err(kind)) => self.own_map_is_unknown(kind),
            Done::Health(health) => self.healthy(&health),
            Done::Restarted { reason, outcome } => self.restarted(reason, outcome),
            Done::RolledBack { document, outcome, done } => {
                if outcome.is_ok() {
                    self.documents.went_back(&document.data_key);
                    self.dirty();
                }
                self.desk.stored(&document);
                let _ = done.send(outcome);
            }
            Done::Saved(outcome) => self.was_saved(outcome),
            Done::Announced => self.announcing -= 1,
            Done::Nothing => {}
        }
        self.note();
    }
}

/// Where an earlier process left off.
fn remembered(plan: &Plan, memory: &Memory, is_lasting: bool) -> (Desk, Commits) {
    let rules = Rules { confirm: plan.confirmation.as_ref().map(Confirmation::time), ..plan.rules };
    let mut desk = Desk::new(plan.identity.clone(), rules, plan.on_failure, memory.settled());
    desk.set_lasting_revisions(is_lasting);
    if memory.own_map {
        desk.set_own_map(true);
    }
    if memory.registration.is_some() {
        // The application registers once in its life, and this process is not the first one it meets.
        desk.application_ready(false);
    }
    let now = Now { mono: Duration::ZERO, wall_ms: crate::clock::now_ms() };
    let mut commits = Commits::new(memory.marks.clone(), memory.written.clone());
    for unstored in &memory.unstored {
        if let Some((document, report)) = unstored.clone().report(&plan.identity, now) {
            desk.await_storing(document);
            commits.push(report);
        }
    }
    (desk, commits)
}

/// The next thing the source tells; never, without a source.
async fn hear(subscription: &mut Option<Subscription>) -> Heard {
    match subscription {
        Some(subscription) => subscription.next().await,
        None => std::future::pending().await,
    }
}
