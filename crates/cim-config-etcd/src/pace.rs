//! How long the source waits for what.
//!
//! Owns the times that no operator has a reason to change; tests do.

use std::time::Duration;

/// Times of a watch.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// How often a sign of life is asked for.
    pub progress: Duration,
    /// A watch that gives no sign of life for that long after it was asked is given up.
    pub silence: Duration,
    /// How often the keys of the store are compared with what the watch delivered.
    pub audit: Duration,
    /// How long a difference between the two may last before it counts.
    pub patience: Duration,
    /// A watch that has to catch up has done so when nothing more came for that long.
    pub settle: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            progress: Duration::from_secs(5),
            silence: Duration::from_secs(10),
            audit: Duration::from_secs(60),
            patience: Duration::from_secs(5),
            settle: Duration::from_millis(250),
        }
    }
}
