//! Setting an engine up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use cim_spool::{OpenError, RealFiles, Recovery, Spool, SpoolOptions, Stream, StreamOptions};
use cim_wire::{Class, SniffRules};
use thiserror::Error;
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::routes::{self, Plan};
use super::{Cim, Inner, RouteMember, route_name};
use crate::budget::Budget;
use crate::contract::{Component, Identity};
use crate::deadletter::{self, DeadLetters};
use crate::delivery::{Condition, Fallback, Phase, Worker};
use crate::intake::{Entrance, Intake};
use crate::queue::{ClassQueue, Rules};
use crate::registry::{Problem, Sink};
use crate::settings::{ClassSettings, MemorySettings, RouteSettings, RoutesSettings, SpoolSettings};
use crate::supervisor::{OnPanic, Supervisor};

const LOG_SEGMENT: u64 = 16 << 20;
const EVENT_SEGMENT: u64 = 4 << 20;
const LETTER_SEGMENT: u64 = 1 << 20;
const AGE_CHECK: Duration = Duration::from_secs(10);

/// An engine that cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// The routes do not fit the sinks.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Routes(Vec<Problem>),
    /// The spool cannot be opened.
    #[error("cannot open the spool in {}", dir.display())]
    Spool {
        /// Its directory.
        dir: PathBuf,
        /// Why.
        #[source]
        source: OpenError,
    },
    /// The system refused a thread or a file.
    #[error("cannot start {what}")]
    System {
        /// What was being started.
        what: &'static str,
        /// Why.
        #[source]
        source: std::io::Error,
    },
}

/// Sets an engine up. Everything has a default except the sinks.
#[derive(Debug, Default)]
pub struct CimBuilder {
    identity: Identity,
    memory: MemorySettings,
    spool: SpoolSettings,
    routes: Option<RoutesSettings>,
    sinks: BTreeMap<String, Sink>,
    sniff: SniffRules,
}

impl CimBuilder {
    /// Who this pod is.
    #[must_use]
    pub fn identity(mut self, identity: Identity) -> Self {
        self.identity = identity;
        self
    }

    /// The byte budget.
    #[must_use]
    pub fn memory(mut self, memory: MemorySettings) -> Self {
        self.memory = memory;
        self
    }

    /// Where and how records are stored. Without a directory nothing is.
    #[must_use]
    pub fn spool(mut self, spool: SpoolSettings) -> Self {
        self.spool = spool;
        self
    }

    /// A spool in that directory, with the defaults of the classes.
    #[must_use]
    pub fn spool_dir(mut self, dir: impl Into<PathBuf>) -> Self {
        self.spool.dir = Some(dir.into());
        self
    }

    /// A sink of that name.
    #[must_use]
    pub fn sink(mut self, name: impl Into<String>, sink: Sink) -> Self {
        self.sinks.insert(name.into(), sink);
        self
    }

    /// Which sinks get what. Default: with exactly one sink, each class that it takes goes there, and the rest is discarded.
    #[must_use]
    pub fn routes(mut self, routes: RoutesSettings) -> Self {
        self.routes = Some(routes);
        self
    }

    /// Which payloads besides FlatBuffers are taken.
    #[must_use]
    pub fn sniff(mut self, rules: SniffRules) -> Self {
        self.sniff = rules;
        self
    }

    /// Starts the engine on the current tokio runtime.
    ///
    /// # Errors
    /// [`StartError`] when routes and sinks do not fit, or the spool cannot be opened. Nothing is left running.
    ///
    /// # Panics
    /// Outside of a tokio runtime.
    pub fn start(mut self) -> Result<Cim, StartError> {
        let routes = self.default_routes();
        let class = |class| self.class_settings(class);
        let plans = [
            Plan::new(Class::Log, &routes.logs, class(Class::Log), &self.sinks, self.spool.dir.is_some()),
            Plan::new(
                Class::Event,
                &routes.events,
                class(Class::Event),
                &self.sinks,
                self.spool.dir.is_some(),
            ),
        ];
        let problems: Vec<_> = plans.iter().flat_map(Plan::problems).cloned().collect();
        if !problems.is_empty() {
            return Err(StartError::Routes(problems));
        }
        let budget = Budget::new(usize::try_from(self.memory.budget.get()).unwrap_or(usize::MAX));
        let spool = self.open_spool()?;
        self.assemble(plans, budget, spool)
    }

    fn default_routes(&mut self) -> RoutesSettings {
        if let Some(routes) = self.routes.take() {
            return routes;
        }
        let only = if self.sinks.len() == 1 { self.sinks.iter().next() } else { None };
        let (name, logs, events) = match only {
            Some((name, sink)) => (name.clone(), sink.logs.is_some(), sink.events.is_some()),
            None => return RoutesSettings::default(),
        };
        let discard = "null".to_owned();
        if !logs || !events {
            let null = Sink::both(Arc::new(crate::null::NullSink::new(&discard)));
            self.sinks.entry(discard.clone()).or_insert(null);
        }
        let to = |takes: bool| RouteSettings::to(if takes { name.clone() } else { discard.clone() });
        RoutesSettings { logs: to(logs), events: to(events) }
    }

    fn class_settings(&self, class: Class) -> &ClassSettings {
        match class {
            Class::Log => &self.spool.logs,
            Class::Event => &self.spool.events,
        }
    }

    fn open_spool(&self) -> Result<Option<Spool>, StartError> {
        let Some(dir) = &self.spool.dir else { return Ok(None) };
        let identity = format!("{}/{}", self.identity.namespace, self.identity.pod);
        let options = SpoolOptions::new(dir.clone(), identity);
        let spool = Spool::open(Arc::new(RealFiles), options)
            .map_err(|source| StartError::Spool { dir: dir.clone(), source })?;
        if let Some(aside) = spool.set_aside() {
            tracing::warn!(owner = %aside.owner, path = %aside.path.display(), bytes = aside.bytes,
                "a spool of another pod was set aside; its records are not delivered");
        }
        Ok(Some(spool))
    }

    fn open_stream(&self, spool: &mut Spool, class: Class) -> Result<(Stream, Recovery), StartError> {
        let settings = self.class_settings(class);
        let segment = if class == Class::Log { LOG_SEGMENT } else { EVENT_SEGMENT };
        let mut options = StreamOptions::new(route_name(class), segment, settings.max_bytes.get());
        options.cursor_sync = class == Class::Event;
        options.max_age = settings.max_age.map(crate::settings::Period::get);
        self.stream(spool, options)
    }

    fn stream(&self, spool: &mut Spool, options: StreamOptions) -> Result<(Stream, Recovery), StartError> {
        let dir = self.spool.dir.clone().unwrap_or_default();
        spool.stream(options).map_err(|source| StartError::Spool { dir, source })
    }

    fn open_letters(&self, spool: Option<&mut Spool>) -> Result<Option<Arc<DeadLetters>>, StartError> {
        let Some(spool) = spool else { return Ok(None) };
        let limit = self.spool.dead_letters.max_bytes.get();
        let (stream, _) =
            self.stream(spool, StreamOptions::new(deadletter::STREAM, LETTER_SEGMENT, limit))?;
        let dir = self.spool.dir.clone().unwrap_or_default();
        DeadLetters::open(stream).map(Arc::new).map(Some).map_err(|source| StartError::Spool { dir, source })
    }

    fn assemble(
        &self,
        plans: [Plan; 2],
        budget: Budget,
        mut spool: Option<Spool>,
    ) -> Result<Cim, StartError> {
        let epoch = spool.as_ref().map_or_else(routes::random_epoch, Spool::epoch);
        let dead_letters = self.open_letters(spool.as_mut())?;
        let mut recovery_lost = Vec::new();
        let mut queues = Vec::with_capacity(plans.len());
        for plan in &plans {
            let rules = Rules::new(self.class_settings(plan.class), self.spool.on_fault, spool.is_some());
            let stream = match &mut spool {
                Some(spool) => {
                    let (stream, recovery) = self.open_stream(spool, plan.class)?;
                    recovery_lost.extend(routes::report_recovery(plan.class, &recovery));
                    Some(routes::adopt_cursors(stream, &recovery, &plan.names()))
                }
                None => None,
            };
            let queue =
                ClassQueue::open(plan.class, epoch, rules, budget.clone(), stream, &plan.names()).map_err(
                    |source| StartError::Spool { dir: self.spool.dir.clone().unwrap_or_default(), source },
                )?;
            queues.push(Arc::new(queue));
        }
        let [logs, events] = queues.as_slice() else { return Err(StartError::Routes(Vec::new())) };
        let entrance =
            Arc::new(Entrance::new(Arc::clone(logs), Arc::clone(events), budget.clone(), self.sniff));
        let mut inner = Inner {
            intake: Intake::new(Arc::clone(&entrance)),
            entrance,
            budget,
            supervisor: Supervisor::new(Handle::current()),
            workers: Supervisor::new(Handle::current()),
            phase: watch::Sender::new(Phase::Running),
            members: Vec::new(),
            components: self.components(),
            dead_letters,
            recovery_lost,
            persistent: spool.is_some(),
            _spool: spool,
        };
        for plan in plans {
            start_workers(&mut inner, plan);
        }
        start_upkeep(&inner)?;
        Ok(Cim { inner: Arc::new(inner) })
    }

    fn components(&self) -> Vec<Arc<dyn Component>> {
        self.sinks
            .values()
            .filter_map(|sink| match (&sink.logs, &sink.events) {
                (Some(logs), _) => Some(Arc::clone(logs) as Arc<dyn Component>),
                (None, Some(events)) => Some(Arc::clone(events) as Arc<dyn Component>),
                (None, None) => None,
            })
            .collect()
    }
}

fn start_workers(inner: &mut Inner, plan: Plan) {
    let queue = Arc::clone(inner.entrance.queue(plan.class));
    let several = plan.members.len() > 1;
    for (index, (sink, outlet)) in plan.members.into_iter().enumerate() {
        let route = route_name(plan.class);
        let label = if several { format!("{route}/{sink}") } else { route.to_owned() };
        let condition = Arc::new(Condition::new());
        let (queue, fallback) = (Arc::clone(&queue), plan.fallback.clone());
        let (after, mode) = (plan.fallback_after, plan.fallback_mode);
        let (dead_letters, phase) = (inner.dead_letters.clone(), inner.phase.subscribe());
        let (shared, name) = (Arc::clone(&condition), format!("delivery {label}"));
        // What an earlier life read may have been delivered already.
        let seen_before = queue.watch().borrow().to_owned();
        inner.workers.task(name, OnPanic::Restart, move || {
            let worker = Worker {
                queue: Arc::clone(&queue),
                member: index,
                label: label.clone(),
                outlet: outlet.clone(),
                fallback: fallback.clone().map(|outlet| Fallback { outlet, after, mode }),
                dead_letters: dead_letters.clone(),
                condition: Arc::clone(&shared),
                phase: phase.clone(),
                primary_due: None,
                seen_before,
            };
            worker.run()
        });
        inner.members.push(RouteMember { class: plan.class, index, sink, condition });
    }
}

fn start_upkeep(inner: &Inner) -> Result<(), StartError> {
    for class in [Class::Log, Class::Event] {
        let queue = Arc::clone(inner.entrance.queue(class));
        if queue.rules().level == crate::contract::Level::Synced {
            let syncing = Arc::clone(&queue);
            inner
                .workers
                .thread(format!("sync {}", route_name(class)), move || syncing.run_sync())
                .map_err(|source| StartError::System { what: "the sync thread", source })?;
        }
        if queue.rules().max_age.is_some() {
            let phase = inner.phase.subscribe();
            inner.workers.task(format!("age {}", route_name(class)), OnPanic::Restart, move || {
                let (queue, mut phase) = (Arc::clone(&queue), phase.clone());
                async move {
                    while *phase.borrow_and_update() == Phase::Running {
                        queue.enforce_age();
                        let _ = tokio::time::timeout(AGE_CHECK, phase.changed()).await;
                    }
                }
            });
        }
    }
    Ok(())
}
