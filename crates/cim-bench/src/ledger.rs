//! What one producer knows about its own messages: which are accepted, which may be, which were sent twice.
//!
//! Leaves out how it learned that. Invariant: a sequence number is in `accepted` only if a PONG came after it on the
//! connection it was written to; a number that was written to a connection that broke before its PONG is `uncertain`.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Sequence numbers `first..=last`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// First number of the span.
    pub first: u64,
    /// Last number of the span.
    pub last: u64,
}

impl Span {
    /// The numbers of it.
    #[must_use]
    pub fn numbers(&self) -> RangeInclusive<u64> {
        self.first..=self.last
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        (self.last.saturating_add(1)).saturating_sub(self.first)
    }
}

/// The books of one producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Run of the generator.
    pub run: u32,
    /// The producer.
    pub producer: u32,
    /// Highest number ever written, 0 if none.
    pub sent: u64,
    /// Covered by a PONG.
    pub accepted: Vec<Span>,
    /// Written, then the connection broke before a PONG: may or may not have arrived.
    pub uncertain: Vec<Span>,
    /// Written a second time after a break (only with `resend`): duplicates of these are the producer's own.
    pub resent: Vec<Span>,
    /// First number of the present connection that no PONG covers.
    #[serde(skip)]
    open_from: u64,
}

impl Ledger {
    /// An empty one; the first message will be number `first_seq`.
    #[must_use]
    pub fn new(run: u32, producer: u32, first_seq: u64) -> Self {
        Self {
            run,
            producer,
            sent: first_seq.saturating_sub(1),
            accepted: Vec::new(),
            uncertain: Vec::new(),
            resent: Vec::new(),
            open_from: first_seq,
        }
    }

    /// Everything up to `last` has been written.
    pub fn wrote(&mut self, last: u64) {
        self.sent = self.sent.max(last);
    }

    /// A PONG covers everything of this connection up to `last`.
    pub fn accept(&mut self, last: u64) {
        if last < self.open_from {
            return;
        }
        push(&mut self.accepted, Span { first: self.open_from, last });
        self.open_from = last.saturating_add(1);
    }

    /// The connection broke. With `resend` the uncertain numbers are to be written again.
    /// Returns the number to go on with.
    pub fn broke(&mut self, resend: bool) -> u64 {
        if self.open_from <= self.sent {
            let span = Span { first: self.open_from, last: self.sent };
            if resend {
                push(&mut self.resent, span);
                return span.first;
            }
            push(&mut self.uncertain, span);
        }
        self.open_from = self.sent.saturating_add(1);
        self.open_from
    }

    /// How many messages are accepted.
    #[must_use]
    pub fn accepted_count(&self) -> u64 {
        self.accepted.iter().map(Span::count).sum()
    }

    /// Whether that number is covered by a PONG.
    #[must_use]
    pub fn is_accepted(&self, seq: u64) -> bool {
        holds(&self.accepted, seq)
    }

    /// Whether the producer itself wrote that number more than once.
    #[must_use]
    pub fn is_resent(&self, seq: u64) -> bool {
        holds(&self.resent, seq)
    }
}

/// Spans are in ascending order, so a binary search finds the only candidate.
fn holds(spans: &[Span], seq: u64) -> bool {
    let after = spans.partition_point(|span| span.first <= seq);
    after.checked_sub(1).and_then(|at| spans.get(at)).is_some_and(|span| span.numbers().contains(&seq))
}

fn push(spans: &mut Vec<Span>, span: Span) {
    match spans.last_mut() {
        Some(last) if last.last.saturating_add(1) >= span.first => last.last = last.last.max(span.last),
        _ => spans.push(span),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_break_leaves_a_gap_of_uncertain_numbers() {
        let mut ledger = Ledger::new(1, 1, 1);
        ledger.wrote(100);
        ledger.accept(60);
        ledger.accept(60);
        assert_eq!(ledger.broke(false), 101);
        ledger.wrote(150);
        ledger.accept(150);
        assert_eq!(ledger.accepted, [Span { first: 1, last: 60 }, Span { first: 101, last: 150 }]);
        assert_eq!(ledger.uncertain, [Span { first: 61, last: 100 }]);
        assert_eq!(ledger.accepted_count(), 110);
        assert!(ledger.is_accepted(60) && !ledger.is_accepted(61) && ledger.is_accepted(101));
        assert!(!ledger.is_accepted(151) && !ledger.is_accepted(0));
    }

    #[test]
    fn resending_goes_back_to_the_first_open_number() {
        let mut ledger = Ledger::new(1, 1, 1);
        ledger.wrote(100);
        ledger.accept(60);
        assert_eq!(ledger.broke(true), 61);
        assert_eq!(ledger.broke(true), 61, "a second break before any progress changes nothing");
        ledger.wrote(100);
        ledger.accept(100);
        assert_eq!(ledger.accepted, [Span { first: 1, last: 100 }]);
        assert_eq!(ledger.resent, [Span { first: 61, last: 100 }]);
        assert!(ledger.is_resent(61) && !ledger.is_resent(60));
        assert_eq!(ledger.broke(true), 101);
    }
}
