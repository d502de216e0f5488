//! Contracts and engine of CIM: what a backend must promise, and everything that is done once for all of them.
//!
//! A backend implements [`LogSink`] or [`EventSink`] and writes no batching, retry, queueing, metrics, health or
//! shutdown code: the engine does. An application that embeds the engine starts it with [`Cim::builder`] and hands
//! records to [`Cim::intake`].
//!
//! Left out on purpose: sockets, HTTP, brokers. Nothing in this crate's dependency tree opens a network connection.
//!
//! The invariant of the whole crate is the conservation law, per route, at every quiet moment:
//! `accepted + recovered = delivered + dead_lettered + dropped + held` (see [`books`]).

pub mod books;
pub mod budget;
pub mod catalog;
mod chain;
pub mod cim;
pub mod clock;
pub mod configuration;
pub mod contract;
pub mod deadletter;
mod delivery;
mod envelope;
pub mod intake;
mod leftovers;
pub mod null;
mod pauses;
mod queue;
pub mod registry;
pub mod settings;
mod small_file;
pub mod standalone;
pub mod subscriptions;
pub mod supervisor;

pub use async_trait::async_trait;
pub use chain::chain;
pub use cim::{
    Cim, CimBuilder, ClassStatus, Left, MemberStatus, Progress, StartError, Status, StopReport, check_routes,
};
pub use cim_wire::{Class, LogFormat, SniffRules, publish_answer};
pub use configuration::Configuration;
pub use contract::{
    Answer, Application, Batch, CallError, ChangeState, ChangeStatus, CloseError, Commit, Component,
    ConfigEntry, ConfigOutcome, ConfigScope, ConfigSource, ConfigStream, ConfigUpdate, DeliveryError,
    DeliveryErrorKind, Departure, Document, Durability, Event, EventReader, EventSink, EventSource,
    FeedBatch, FeedPosition, Health, Identity, Lease, Level, LogRecord, LogSink, Meta, Neighbours, Notice,
    Orchestrator, OrchestratorError, OrchestratorErrorKind, Ordering, Peer, PeerQuery, PodEnd, Push, Record,
    RecordPlace, Reported, RestartReason, Revision, Sift, SinkProfile, SourceError, SourceErrorKind, Tmaas,
    Undelivered, Values, key_order,
};
pub use delivery::{DeliveryState, DeliveryStatus};
pub use pauses::Pauses;
pub use registry::{
    EventSourceKind, FeedContext, OrchestratorKind, PartContext, Problem, Registry, Sink, SinkContext,
    SinkKind, SourceKind,
};
pub use small_file::replace_file;
pub use subscriptions::Subscriptions;
