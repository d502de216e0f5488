//! Wall-clock time, in one place.
//!
//! Timeouts use `std::time::Instant` and tokio's clock; this is only for what people and other systems read.

use std::time::{SystemTime, UNIX_EPOCH};

/// The wall clock.
#[must_use]
#[allow(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
pub fn now() -> SystemTime {
    SystemTime::now()
}

/// Milliseconds since the Unix epoch; 0 for a clock before it.
#[must_use]
pub fn now_ms() -> u64 {
    now().duration_since(UNIX_EPOCH).map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
