//! The books of one route member: what came in, what went out, and why.
//!
//! Invariant, at every moment (all entries change under the lock of the queue they belong to):
//! `accepted + recovered + taken_over = delivered + dead_lettered + dropped + handed_over + held`. The two in the middle are 0
//! until the sinks of a route are changed while the process runs.

/// Why a record that had been accepted was given up. Each is a value of label `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// Policy `shed_oldest` made room for newer records.
    ShedOldest,
    /// Older than the class's `max_age`.
    MaxAge,
    /// Lost to damage on disk; also counted in `cim_spool_lost_records_total`.
    Damaged,
    /// Refused by the sink, and there is no dead-letter store that it could be put into.
    Rejected,
    /// Accepted in memory only, and the process ended.
    Shutdown,
}

impl DropReason {
    /// Every reason, in the order of the books.
    pub const ALL: [Self; 5] =
        [Self::ShedOldest, Self::MaxAge, Self::Damaged, Self::Rejected, Self::Shutdown];

    /// Value of label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ShedOldest => "shed_oldest",
            Self::MaxAge => "max_age",
            Self::Damaged => "damaged",
            Self::Rejected => "rejected",
            Self::Shutdown => "shutdown",
        }
    }
}

/// Counts of records since the start of the process; `held` is a level.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Books {
    /// Taken from publishers.
    pub accepted: u64,
    /// Found in the spool at start.
    pub recovered: u64,
    /// Waited for sinks that left the route, and wait for this one instead.
    pub taken_over: u64,
    /// Given to the sink or its fallback.
    pub delivered: u64,
    /// Of these, given to a sink that never acknowledges.
    pub unacknowledged: u64,
    /// Of these, given to the fallback.
    pub to_fallback: u64,
    /// Put into the dead-letter store.
    pub dead_lettered: u64,
    /// Given up, by reason (order of [`DropReason::ALL`]).
    pub dropped: [u64; DropReason::ALL.len()],
    /// Waited for this sink when it left the route: they are in the books of the sinks that the route has since.
    pub handed_over: u64,
    /// Still waiting.
    pub held: u64,
}

impl Books {
    /// Adds records given up for that reason.
    pub fn drop_records(&mut self, reason: DropReason, records: u64) {
        if let Some(count) = self.dropped.get_mut(reason as usize) {
            *count += records;
        }
    }

    /// Records given up for that reason.
    pub(crate) fn dropped_as(&self, reason: DropReason) -> u64 {
        self.dropped.get(reason as usize).copied().unwrap_or(0)
    }

    /// Records given up, for whatever reason.
    #[must_use]
    pub fn dropped_total(&self) -> u64 {
        self.dropped.iter().sum()
    }

    /// Whether the conservation law holds.
    #[must_use]
    pub fn balanced(&self) -> bool {
        self.accepted + self.recovered + self.taken_over
            == self.delivered + self.dead_lettered + self.dropped_total() + self.handed_over + self.held
    }
}

/// Why a message was refused before it was accepted: outside the law, because it never came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusedReason {
    /// Not a FlatBuffer, JSON or text that the class accepts.
    Malformed,
    /// Decodes to more than the limits allow.
    TooLarge,
    /// Policy `drop_newest`, and no room.
    DropNewest,
    /// The engine is stopping.
    Closed,
    /// A CONFIG result, and no configuration source is set up.
    NoConfiguration,
}

impl RefusedReason {
    /// Every reason, in the order of the counters.
    pub const ALL: [Self; 5] =
        [Self::Malformed, Self::TooLarge, Self::DropNewest, Self::Closed, Self::NoConfiguration];

    /// Value of label `reason`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::TooLarge => "too_large",
            Self::DropNewest => "drop_newest",
            Self::Closed => "closed",
            Self::NoConfiguration => "no_configuration",
        }
    }
}

impl std::fmt::Display for RefusedReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Malformed => "the payload is not a valid message of this subject",
            Self::TooLarge => "the message is larger than the limit after decoding",
            Self::DropNewest => "there is no room and the policy is drop_newest",
            Self::Closed => "cim is stopping",
            Self::NoConfiguration => "no configuration source is set up",
        })
    }
}
