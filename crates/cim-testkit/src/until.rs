//! Waiting for what nobody tells, in tests.
//!
//! Owns the pace of the looks and the limit. Left out: what is waited for. The invariant: a wait that ends in vain says for what.

use std::time::Duration;

use tokio::time::{Instant, sleep};

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Looks until the condition holds. Runs on the time of the runtime, which a test may have paused.
///
/// # Panics
/// It does not hold within `patience`.
///
/// # Cancel safety
/// May be dropped at any await point.
pub async fn until(what: &str, patience: Duration, condition: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + patience;
    while !condition().await {
        assert!(Instant::now() < deadline, "not within {patience:?}: {what}");
        sleep(PAUSE).await;
    }
}
