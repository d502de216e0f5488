//! The engine, assembled: queues, workers, books, and their end.
//!
//! Walk of a start: [`CimBuilder::start`] checks the routes, opens the spool, opens one queue per class with a position
//! per sink, and starts a worker for each. Walk of an end: [`Cim::stop`].

mod builder;
mod generation;
mod health;
mod heritage;
mod publish;
mod replay;
mod routes;
mod stop;
mod storage;

use std::sync::{Arc, Mutex};

use crate::books::Books;
use crate::budget::Budget;
use crate::contract::Level;
use crate::deadletter::{DeadLetters, Letters};
use crate::delivery::{Condition, DeliveryStatus};
use crate::intake::{Entrance, Farewell, Intake, IntakeCounts, Lane};
use crate::leftovers;
use crate::queue::ClassQueue;
use crate::supervisor::{PartStatus, Supervisor};
use cim_wire::Class;
use tokio::sync::watch;

pub use builder::{CimBuilder, StartError};
use generation::Generation;
pub use heritage::{Left, Progress};
pub use routes::check_routes;
pub use stop::StopReport;
use storage::Storage;

/// One sink of one route, at work.
pub(crate) struct RouteMember {
    pub class: Class,
    pub sink: String,
    pub fallback: Option<String>,
    pub condition: Arc<Condition>,
}

/// A running engine. Cheap to clone; [`Cim::stop`] ends it for all clones.
#[derive(Clone)]
pub struct Cim {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    pub intake: Intake,
    pub entrance: Arc<Entrance>,
    pub budget: Budget,
    pub supervisor: Supervisor,
    pub upkeep: Supervisor,
    pub generation: Mutex<Generation>,
    pub letters: Option<Letters>,
    pub recovery_lost: Vec<(Class, &'static str, u64)>,
    pub storage: Storage,
    pub troubles: health::Troubles,
    pub leftover_files: leftovers::Gauge,
}

impl Drop for Inner {
    /// Ends tasks and threads of an engine that was not stopped. What they held stays in the spool.
    fn drop(&mut self) {
        self.entrance.close();
        self.generation().stop();
        self.entrance.logs.stop_sync();
        self.entrance.events.stop_sync();
    }
}

/// The state of one sink of one route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberStatus {
    /// `logs` or `events`.
    pub route: &'static str,
    /// Name of the sink.
    pub sink: String,
    /// Name of its fallback.
    pub fallback: Option<String>,
    /// How delivery is doing.
    pub delivery: DeliveryStatus,
    /// What the sink says of itself, when it works less than it should though deliveries may succeed.
    pub trouble: Option<String>,
    /// The books.
    pub books: Books,
}

/// The state of one class.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClassStatus {
    /// `logs` or `events`.
    pub class: &'static str,
    /// Level that messages reach now.
    pub level: Level,
    /// Level that the settings ask for.
    pub configured: Level,
    /// Bytes on disk, or in memory without a spool.
    pub bytes: u64,
    /// Publishers are held back for want of room.
    pub full: bool,
    /// What is wrong with the disk.
    pub fault: Option<String>,
}

/// The state of the engine at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// Every sink of every route.
    pub members: Vec<MemberStatus>,
    /// Both classes.
    pub classes: Vec<ClassStatus>,
    /// Tasks and threads.
    pub parts: Vec<PartStatus>,
    /// Letters in the dead-letter store; `None` without one.
    pub dead_letters: Option<u64>,
}

/// Name of a class in routes, labels and directories.
pub(crate) fn route_name(class: Class) -> &'static str {
    match class {
        Class::Log => "logs",
        Class::Event => "events",
    }
}

impl std::fmt::Debug for Cim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cim").finish_non_exhaustive()
    }
}

impl Cim {
    /// An engine to be set up.
    #[must_use]
    pub fn builder() -> CimBuilder {
        CimBuilder::default()
    }

    /// The way in for callers in this process.
    #[must_use]
    pub fn intake(&self) -> Intake {
        self.inner.intake.clone()
    }

    /// A way in for a listener thread.
    #[must_use]
    pub fn lane(&self) -> Lane {
        self.inner.intake.lane()
    }

    /// What of the intake means something to the configuration engine.
    pub(crate) fn signals(&self) -> &crate::intake::Signals {
        &self.inner.entrance.signals
    }

    /// Watches for what the application says of its end, from now on (wire contract §5.3).
    #[must_use]
    pub fn farewell(&self) -> watch::Receiver<Option<Farewell>> {
        self.inner.entrance.signals.farewell()
    }

    /// What was offered and refused.
    #[must_use]
    pub fn counts(&self) -> &IntakeCounts {
        &self.inner.entrance.counts
    }

    /// Starts tasks and threads that belong to the same process.
    #[must_use]
    pub fn supervisor(&self) -> &Supervisor {
        &self.inner.supervisor
    }

    /// The byte budget of the process.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// The dead-letter store; `None` without a spool.
    #[must_use]
    pub fn dead_letters(&self) -> Option<&DeadLetters> {
        self.inner.letters.as_ref().map(|letters| &*letters.dead)
    }

    /// Where notifications that are given up go, and come back from; `None` without a spool.
    #[must_use]
    pub fn letters(&self) -> Option<Letters> {
        self.inner.letters.clone()
    }

    /// How everything is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let queue = |class| self.inner.entrance.queue(class);
        Status {
            members: self.members(),
            classes: [Class::Log, Class::Event].map(|class| class_status(queue(class))).into(),
            parts: self.parts(),
            dead_letters: self.dead_letters().map(DeadLetters::len),
        }
    }

    fn members(&self) -> Vec<MemberStatus> {
        let generation = self.inner.generation();
        generation.members.iter().map(|member| self.member_status(member)).collect()
    }

    fn parts(&self) -> Vec<PartStatus> {
        let workers = self.inner.generation().workers.parts();
        [self.inner.supervisor.parts(), self.inner.upkeep.parts(), workers].concat()
    }

    fn member_status(&self, member: &RouteMember) -> MemberStatus {
        // By name: while a reload waits for the old sinks to close, the queue has the new ones already.
        let books = self.inner.entrance.queue(member.class).books();
        let books = books.into_iter().find(|(name, _)| *name == member.sink).map(|(_, books)| books);
        MemberStatus {
            route: route_name(member.class),
            sink: member.sink.clone(),
            fallback: member.fallback.clone(),
            delivery: member.condition.status(),
            trouble: self.inner.troubles.of(&member.sink),
            books: books.unwrap_or_default(),
        }
    }
}

fn class_status(queue: &ClassQueue) -> ClassStatus {
    ClassStatus {
        class: route_name(queue.class()),
        level: queue.level(),
        configured: queue.rules().level,
        bytes: queue.stored_bytes(),
        full: queue.is_full(),
        fault: queue.fault(),
    }
}
