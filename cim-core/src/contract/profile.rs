//! What a sink promises, as data: the engine and the conformance suite read the same facts.

use std::time::Duration;

/// How far a message has come on its way to safety. A later level includes the earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Level {
    /// In this process only: lost with it.
    Memory,
    /// In the page cache: survives SIGKILL and a container restart, not a power loss.
    Written,
    /// On the device (fdatasync): survives a power loss.
    Synced,
}

impl Level {
    /// The name used in settings, status and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Written => "written",
            Self::Synced => "synced",
        }
    }

    /// The level of that name.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Memory, Self::Written, Self::Synced].into_iter().find(|level| level.as_str() == name)
    }
}

/// What `Ok` from a sink means for the records of the batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Durability {
    /// Handed over, and nobody will ever tell more (standard output, plain TCP). Counted as `unacknowledged`.
    Unacknowledged,
    /// In the page cache of this node.
    Written,
    /// On this node's device.
    Synced,
    /// Acknowledged by another system with guarantees of its own (a broker).
    Remote,
}

impl Durability {
    /// Whether a record of a class accepted at `level` may leave the spool once the sink said `Ok`.
    ///
    /// An unacknowledged sink passes every level, because it can never say more; its deliveries are counted apart.
    #[must_use]
    pub fn covers(self, level: Level) -> bool {
        match self {
            Self::Unacknowledged | Self::Remote | Self::Synced => true,
            Self::Written => level <= Level::Written,
        }
    }
}

/// Whether records of one batch, and batches among themselves, reach the reader in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// In order. With several batches in flight, a failure of one fails every later one with it.
    Ordered,
    /// In no particular order.
    Unordered,
}

/// The limits and promises of a sink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SinkProfile {
    /// Most records in one batch (at least 1).
    pub max_records: usize,
    /// Most payload bytes in one batch; a single larger record still comes alone.
    pub max_bytes: usize,
    /// Most batches being delivered at the same time (at least 1). While any is, one that is not full gathers until it is or an
    /// answer comes; under [`Durability::Unacknowledged`] it leaves at once, because nobody answers.
    pub max_in_flight: usize,
    /// Order of what the reader sees.
    pub ordering: Ordering,
    /// What `Ok` means.
    pub durability: Durability,
    /// The engine drops a delivery that takes longer. `None`: never, because the sink has its own limits.
    pub deliver_timeout: Option<Duration>,
    /// Whether the thread that took in a few records may deliver them itself, which spares them the way to another thread. For
    /// sinks of which no poll waits for anything: it would hold up every publisher.
    pub inline: bool,
}

impl Default for SinkProfile {
    fn default() -> Self {
        Self {
            max_records: 8192,
            max_bytes: 1 << 20,
            max_in_flight: 1,
            ordering: Ordering::Ordered,
            durability: Durability::Unacknowledged,
            deliver_timeout: None,
            inline: false,
        }
    }
}
