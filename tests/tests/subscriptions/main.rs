//! Event subscriptions of the running program: over HTTP, from a real Kafka broker, to a NATS connection.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[path = "../../vectors/listed.rs"]
mod listed;

mod acknowledged;
mod application;
mod calls;
mod delivery;
mod faults;
mod group;
mod topic;
