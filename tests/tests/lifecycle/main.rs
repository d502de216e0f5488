//! The end of the program and of its pod, and what is left to the next: wire contract §11, whole programs against the reference
//! application and against targets that are dead.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod application;
mod commands;
mod deadline;
mod recorded;
mod replay;
mod restart;
mod stage;
