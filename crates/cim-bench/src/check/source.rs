//! What arrived from one producer: counts, order and repetitions.
//!
//! A *rewind* is a message that is not newer than the one before it. A replay after a kill is one rewind however many
//! messages it repeats; an *inversion* is a message that arrives for the first time after a newer one of its producer.

use super::bitmap::{Added, Bitmap};
use super::findings::SourceFindings;
use crate::ledger::Ledger;

/// First lost numbers to name.
const EXAMPLES: usize = 8;

#[derive(Debug, Default)]
pub(super) struct SourceCheck {
    seen: Bitmap,
    received: u64,
    repeats: Vec<u64>,
    duplicates: u64,
    inversions: u64,
    rewinds: u64,
    deepest_rewind: u64,
    impossible: u64,
    last: u64,
    highest: u64,
}

/// Repeated numbers kept to tell the producer's own repetitions from others.
const REPEATS_KEPT: usize = 1 << 20;

impl SourceCheck {
    pub(super) fn received(&mut self, seq: u64) {
        match self.seen.add(seq) {
            Added::New => {
                self.received = self.received.saturating_add(1);
                if seq < self.highest {
                    self.inversions = self.inversions.saturating_add(1);
                }
            }
            Added::Again => {
                self.duplicates = self.duplicates.saturating_add(1);
                if self.repeats.len() < REPEATS_KEPT {
                    self.repeats.push(seq);
                }
            }
            Added::Refused => {
                self.impossible = self.impossible.saturating_add(1);
                return;
            }
        }
        if seq <= self.last {
            self.rewinds = self.rewinds.saturating_add(1);
            let depth = self.highest.saturating_sub(seq).saturating_add(1);
            self.deepest_rewind = self.deepest_rewind.max(depth);
        }
        self.last = seq;
        self.highest = self.highest.max(seq);
    }

    /// Different messages of it.
    pub(super) fn received_count(&self) -> u64 {
        self.received
    }

    /// Lines of it, repetitions included.
    pub(super) fn total(&self) -> u64 {
        self.received.saturating_add(self.duplicates)
    }

    pub(super) fn compare(&self, ledger: &Ledger) -> SourceFindings {
        let mut lost = 0u64;
        let mut first_lost = Vec::new();
        for span in &ledger.accepted {
            for seq in span.numbers().filter(|seq| !self.seen.holds(*seq)) {
                lost = lost.saturating_add(1);
                if first_lost.len() < EXAMPLES {
                    first_lost.push(seq);
                }
            }
        }
        let own = self.repeats.iter().filter(|seq| ledger.is_resent(**seq)).count() as u64;
        SourceFindings {
            producer: ledger.producer,
            sent: ledger.sent,
            accepted: ledger.accepted_count(),
            received: self.received,
            lost,
            first_lost,
            duplicates: self.duplicates.saturating_sub(own),
            resent_duplicates: own,
            inversions: self.inversions,
            rewinds: self.rewinds,
            deepest_rewind: self.deepest_rewind,
            never_sent: self.impossible.saturating_add(u64::from(self.highest > ledger.sent)),
        }
    }
}
