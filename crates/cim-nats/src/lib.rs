//! The NATS listener of the pod: the way of an application's logs, events and configuration results into CIM, and a
//! broker for every other subject.
//!
//! Owns the wire protocol, connections and subscriptions, on one thread without a runtime. Leaves out what a message
//! means, which the engine decides behind [`Intake`]. Invariant: a PONG is sent only after everything before the PING
//! is accepted or refused, and no connection can hurt another one.
//!
//! ```no_run
//! fn serve(intake: impl cim_nats::Intake + Send + 'static) -> Result<(), cim_nats::BindError> {
//!     let listener = cim_nats::Listener::bind(cim_nats::NatsConfig::default())?;
//!     let control = listener.control();
//!     let thread = std::thread::spawn(move || listener.run(intake));
//!     control.close();
//!     let _ = thread.join();
//!     Ok(())
//! }
//! ```

mod allowance;
mod auth;
mod backpressure;
mod barrier;
mod client;
mod config;
mod connect;
mod control;
mod dispatch;
mod event_loop;
mod hub;
mod inbox;
mod info;
mod intake;
mod interest;
mod lane;
mod listener;
mod notice;
mod outbox;
pub mod parser;
mod publish;
mod reading;
mod routing;
mod stats;
pub mod subject;
mod timers;
mod upkeep;

pub use auth::{Auth, Secret};
pub use cim_wire::Class;
pub use config::{DEFAULT_PORT, NatsConfig};
pub use control::{ListenerControl, PublishError};
pub use intake::{Intake, Offer, Offered};
pub use listener::{BindError, Listener};
pub use stats::{ListenerCounts, ListenerStats, ROUTES, RouteCounts, SIZE_BOUNDS, SIZE_BUCKETS};
