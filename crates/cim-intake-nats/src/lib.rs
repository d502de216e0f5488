//! Intake from a NATS server that somebody else runs: CIM as one of its clients.
//!
//! Owns the connection, the subscriptions and what publishers are told. Left out: what a message means, which is the
//! business of the lane it is offered to. The invariants: a message that waits for an acknowledgement gets it when it is
//! accepted and not before; the server may be away at the start, and for as long as it likes.

mod config;
mod connection;
mod durable;
mod external;
mod headers;
mod taking;
mod tally;

pub use config::{Credentials, Durable, ExternalConfig, Subjects};
pub use external::{Condition, ExternalNats};
