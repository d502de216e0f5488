//! Setting an engine up.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_spool::OpenError;
use cim_wire::{Class, SniffRules};
use thiserror::Error;
use tokio::runtime::Handle;

use super::generation::Generation;
use super::routes::{self, Plan};
use super::storage::Storage;
use super::{Cim, Inner, route_name};
use crate::budget::Budget;
use crate::contract::{Identity, Level};
use crate::intake::{Entrance, Intake};
use crate::leftovers::{Courier, Gauge, Leftovers};
use crate::queue::{ClassQueue, Rules};
use crate::registry::{Problem, Sink};
use crate::settings::{LeftoverSettings, MemorySettings, RouteSettings, RoutesSettings, SpoolSettings};
use crate::supervisor::{OnPanic, Supervisor};

/// How often the spool directory and the age of records are looked at.
const WATCH_PERIOD: Duration = Duration::from_secs(1);

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
    /// Delivery to the sinks before does not end.
    #[error(
        "delivery to the sinks before has not ended within {waited:?}; nothing is delivered until the configuration is read \
         again: see whether the disk of the spool answers, then send SIGHUP"
    )]
    Busy {
        /// How long that was waited for.
        waited: std::time::Duration,
    },
}

/// Sets an engine up. Everything has a default except the sinks.
#[derive(Debug, Default)]
pub struct CimBuilder {
    identity: Identity,
    memory: MemorySettings,
    spool: SpoolSettings,
    leftovers: LeftoverSettings,
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

    /// Files of an earlier sidecar to deliver. Without a spool nothing is taken.
    #[must_use]
    pub fn leftovers(mut self, leftovers: LeftoverSettings) -> Self {
        self.leftovers = leftovers;
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
        let storage = Storage::open(self.spool.clone(), &self.identity)?;
        self.assemble(plans, budget, storage)
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

    fn assemble(&self, plans: Vec<Plan>, budget: Budget, storage: Storage) -> Result<Cim, StartError> {
        let epoch = storage.epoch();
        let letters = storage.letters()?;
        let mut recovery_lost = Vec::new();
        let mut queues = Vec::with_capacity(plans.len());
        for plan in &plans {
            let names = plan.names();
            let stream = storage.stream(plan.class)?.map(|(stream, recovery)| {
                recovery_lost.extend(routes::report_recovery(plan.class, &recovery));
                routes::adopt_cursors(stream, &recovery, &names)
            });
            let rules = Rules::new(storage.class(plan.class), self.spool.on_fault, stream.is_some());
            let queue = ClassQueue::open(plan.class, epoch, rules, budget.clone(), stream, &names);
            queues.push(Arc::new(queue.map_err(|source| storage.error(source))?));
        }
        let [logs, events] = queues.as_slice() else { return Err(StartError::Routes(Vec::new())) };
        let entrance =
            Arc::new(Entrance::new(Arc::clone(logs), Arc::clone(events), budget.clone(), self.sniff));
        // Before any sink is opened: the fallback may write a file of the same name.
        let leftovers = storage
            .is_persistent()
            .then(|| Leftovers::take(&self.leftovers, &self.identity, &storage.dir(), epoch))
            .flatten();
        if let Some(leftovers) = &leftovers {
            leftovers.follow(logs);
        }
        let generation =
            Generation::start(plans, &self.sinks, &entrance, letters.as_ref().map(|letters| &letters.dead));
        let inner = Arc::new(Inner {
            intake: Intake::new(Arc::clone(&entrance)),
            entrance,
            budget,
            supervisor: Supervisor::new(Handle::current()),
            upkeep: Supervisor::new(Handle::current()),
            generation: Mutex::new(generation),
            letters,
            recovery_lost,
            storage,
            troubles: super::health::Troubles::default(),
            leftover_files: leftovers.as_ref().map_or_else(Gauge::default, Leftovers::gauge),
        });
        start_upkeep(&inner)?;
        super::health::start(&inner);
        if let Some(leftovers) = leftovers {
            self.start_courier(&inner, leftovers)?;
        }
        Ok(Cim { inner })
    }
}

impl CimBuilder {
    fn start_courier(&self, inner: &Inner, leftovers: Leftovers) -> Result<(), StartError> {
        let identity = Arc::new(self.identity.clone());
        let queue = Arc::clone(&inner.entrance.logs);
        let courier =
            Courier::new(leftovers, identity, inner.intake.lane(), queue, self.spool.logs.max_bytes.get());
        let started = inner.upkeep.thread("leftovers", move || courier.run());
        started.map_err(|source| StartError::System {
            what: "the thread for files of an earlier sidecar",
            source,
        })
    }
}

fn start_upkeep(inner: &Arc<Inner>) -> Result<(), StartError> {
    for class in [Class::Log, Class::Event] {
        let queue = Arc::clone(inner.entrance.queue(class));
        if queue.rules().level == Level::Synced {
            inner
                .upkeep
                .thread(format!("sync {}", route_name(class)), move || queue.run_sync())
                .map_err(|source| StartError::System { what: "the sync thread", source })?;
        }
    }
    if inner.storage.is_persistent() {
        let weak = Arc::downgrade(inner);
        inner.supervisor.task("spool watch", OnPanic::Restart, move || {
            let weak = weak.clone();
            async move {
                while let Some(inner) = weak.upgrade() {
                    inner.storage.check(&inner.entrance, inner.letters.as_ref());
                    inner.storage.bound_set_aside(std::time::Instant::now());
                    inner.entrance.logs.upkeep();
                    inner.entrance.events.upkeep();
                    drop(inner);
                    tokio::time::sleep(WATCH_PERIOD).await;
                }
            }
        });
    }
    Ok(())
}
