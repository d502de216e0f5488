//! What the benches of configuration need around CIM: an application, a store, and a bare HTTP call to compare with.
//!
//! Everything here lives in futures on one thread, which the bench selects over; nothing is spawned. Left out: what is
//! measured (`ratio/configuration`). Invariant: every moment that is noted is one of the same monotonic clock.

mod application;
mod call;
mod results;
mod store;

pub use application::{Application, Handed};
pub use call::BareCall;
pub use results::Results;
pub use store::{Seen, Store, Watcher};

use crate::error::{BenchError, Result};

/// Namespace, microservice and version of the pod of a bench, as they stand in keys.
const SCOPE: &str = "bench/bench/v0";

/// The key of a change of that document.
#[must_use]
pub fn change_key(document: &str, revision: i32) -> String {
    format!("change-set/{SCOPE}/ms/{document}/{revision}")
}

/// Where the config server reads the results of the pod of a bench.
#[must_use]
pub fn commit_key() -> String {
    format!("commit-config/{SCOPE}/ms/bench-0")
}

/// Runs a bench on a runtime of its own.
///
/// # Errors
/// What the work says, or no runtime.
pub fn block_on<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(BenchError::io("make a runtime"))?.block_on(work)
}
