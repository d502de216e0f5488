//! What the configuration engine counts (wire contract §10.1).

/// Counters since the start of the process.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Changes that were read from the source.
    pub received: u64,
    /// Calls of `/updateConfig`.
    pub push_attempts: u64,
    /// Calls answered with 2xx.
    pub push_successes: u64,
    /// Calls answered otherwise, or not at all.
    pub push_failures: u64,
    /// Messages on CONFIG, before they are read.
    pub results_received: u64,
    /// Changes settled as applied.
    pub applied: u64,
    /// Changes settled as unused.
    pub unused: u64,
    /// Changes settled as failed or undone.
    pub failed: u64,
    /// Changes whose time ran out.
    pub expired: u64,
    /// Messages on CONFIG that counted for nothing.
    pub results_ignored: u64,
    /// Results that could not be stored in time.
    pub commit_failures: u64,
    /// Keys of others.
    pub foreign_keys: u64,
    /// Keys that are none of the contract.
    pub malformed_keys: u64,
    /// Watches that ended and were begun again.
    pub watch_restarts: u64,
}
