//! The contracts between the engine and its backends, and the values that cross them.
//!
//! Owns no behaviour. Each file is one noun; the conformance suite in `cim-testkit` is the executable form.

mod application;
mod batch;
mod component;
mod error;
mod feed;
mod identity;
mod neighbours;
mod orchestrator;
mod outcome;
mod profile;
mod record;
mod sink;
mod source;

pub use application::{Answer, Application, CallError, Push};
pub use batch::Batch;
pub use component::{CloseError, Component, Health};
pub use error::{DeliveryError, DeliveryErrorKind, Undelivered};
pub use feed::{EventReader, EventSource, FeedBatch, FeedPosition, RecordPlace, Sift, Values};
pub use identity::{Identity, Tmaas};
pub use neighbours::Neighbours;
pub use orchestrator::{
    Departure, Document, Notice, Orchestrator, OrchestratorError, OrchestratorErrorKind, Peer, PeerQuery,
    PodEnd, RestartReason,
};
pub use outcome::{ChangeState, ChangeStatus, Commit, ConfigOutcome, Reported};
pub use profile::{Durability, Level, Ordering, SinkProfile};
pub use record::{Event, LogRecord, Meta, Record};
pub use sink::{EventSink, LogSink};
pub use source::{
    ConfigEntry, ConfigScope, ConfigSource, ConfigStream, ConfigUpdate, Lease, Revision, SourceError,
    SourceErrorKind, key_order,
};
