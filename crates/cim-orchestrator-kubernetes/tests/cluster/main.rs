//! The orchestrator against a real API server with RBAC and tokens of service accounts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod agents;
mod conformance;
mod documents;
mod gateway;
mod identity;
mod notices;
mod restart;
#[path = "../rig/mod.rs"]
mod rig;
mod rights;
mod tokens;
