//! The contracts between the engine and its backends, and the values that cross them.
//!
//! Owns no behaviour. Each file is one noun; the conformance suite in `cim-testkit` is the executable form.

mod batch;
mod component;
mod error;
mod identity;
mod profile;
mod record;
mod sink;

pub use batch::Batch;
pub use component::{CloseError, Component, Health};
pub use error::{DeliveryError, DeliveryErrorKind, Undelivered};
pub use identity::{Identity, Tmaas};
pub use profile::{Durability, Level, Ordering, SinkProfile};
pub use record::{Event, LogRecord, Meta, Record};
pub use sink::{EventSink, LogSink};
