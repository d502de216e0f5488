//! Setting an engine up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_spool::{OpenError, RealFiles, Recovery, Spool, SpoolOptions, Stream, StreamOptions};
use cim_wire::{Class, SniffRules};
use thiserror::Error;
use tokio::runtime::Handle;

use super::generation::Generation;
use super::routes::{self, Plan};
use super::{Cim, Inner, route_name};
use crate::budget::Budget;
use crate::contract::{Identity, Level};
use crate::deadletter::{self, DeadLetters};
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
        let plans = Plan::both(&routes, &self.spool, &self.sinks)?;
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
        plans: Vec<Plan>,
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
        let generation = Generation::start(plans, &self.sinks, &entrance, dead_letters.as_ref());
        let inner = Inner {
            intake: Intake::new(Arc::clone(&entrance)),
            entrance,
            budget,
            supervisor: Supervisor::new(Handle::current()),
            upkeep: Supervisor::new(Handle::current()),
            generation: Mutex::new(generation),
            dead_letters,
            recovery_lost,
            spool: self.spool.clone(),
            _spool: spool,
        };
        start_upkeep(&inner)?;
        Ok(Cim { inner: Arc::new(inner) })
    }
}

fn start_upkeep(inner: &Inner) -> Result<(), StartError> {
    for class in [Class::Log, Class::Event] {
        let queue = inner.entrance.queue(class);
        if queue.rules().level == Level::Synced {
            let queue = Arc::clone(queue);
            inner
                .upkeep
                .thread(format!("sync {}", route_name(class)), move || queue.run_sync())
                .map_err(|source| StartError::System { what: "the sync thread", source })?;
        }
        if queue.rules().max_age.is_some() {
            let queue = Arc::downgrade(queue);
            inner.supervisor.task(format!("age {}", route_name(class)), OnPanic::Restart, move || {
                let queue = queue.clone();
                async move {
                    while let Some(queue) = queue.upgrade() {
                        queue.enforce_age();
                        tokio::time::sleep(AGE_CHECK).await;
                    }
                }
            });
        }
    }
    Ok(())
}
