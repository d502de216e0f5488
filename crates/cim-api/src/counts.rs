//! What the server turned away, for the metrics page.
//!
//! Left out: names of metrics. The invariant: whatever is refused before it is routed is counted here, once.

use std::sync::atomic::{AtomicU64, Ordering};

/// Why something was turned away before it was looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turned {
    /// A request above the rate: 429.
    Rate,
    /// A request without the token: 401.
    Token,
    /// An idle connection that gave way to a new one.
    Connection,
    /// A connection that speaks TLS that was not understood, or not in time.
    Handshake,
}

impl Turned {
    /// All reasons, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::Rate, Self::Token, Self::Connection, Self::Handshake];

    /// The value of the label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Token => "token",
            Self::Connection => "connections",
            Self::Handshake => "handshake",
        }
    }
}

/// Counts of all servers of a process.
#[derive(Debug, Default)]
pub struct HttpCounts([AtomicU64; Turned::ALL.len()]);

impl HttpCounts {
    pub(crate) fn note(&self, reason: Turned) {
        if let Some(count) = self.0.get(reason as usize) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How often that has happened.
    #[must_use]
    pub fn get(&self, reason: Turned) -> u64 {
        self.0.get(reason as usize).map_or(0, |count| count.load(Ordering::Relaxed))
    }
}
