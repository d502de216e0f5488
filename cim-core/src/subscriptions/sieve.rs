//! The judge of each record, by the filters of the moment.
//!
//! Owns what the filters made of the records since the last count. The invariant: there is one verdict for each record that was
//! kept, in order, unless no subscription wants answers; then there is none.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use super::Current;
use super::filter::Traits;
use super::view::Counts;
use crate::contract::{RecordPlace, Sift};

/// What became of a record that was kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) at: RecordPlace,
    /// A plain subscription asks for it.
    pub(super) plain: bool,
    /// The places, in [`Verdicts::numbers`], of the subscriptions that ask for it and want an answer.
    pub(super) asking: Range<usize>,
}

/// Those of one batch.
#[derive(Debug, Default)]
pub(super) struct Verdicts {
    pub(super) each: Vec<Verdict>,
    /// Numbers of subscriptions.
    pub(super) numbers: Vec<u32>,
}

/// The filters of the moment, and what they made of the records since the last count.
pub(super) struct Sieve {
    pub(super) current: Arc<Current>,
    most: usize,
    scratch: Vec<u8>,
    verdicts: Verdicts,
    read: u64,
    matched: u64,
    replayed: u64,
    too_large: u64,
}

impl Sieve {
    /// `most`: largest value that can be handed over, in bytes.
    pub(super) fn new(current: Arc<Current>, most: usize) -> Self {
        let (scratch, verdicts) = (Vec::new(), Verdicts::default());
        Self { current, most, scratch, verdicts, read: 0, matched: 0, replayed: 0, too_large: 0 }
    }

    /// Adds what was counted.
    pub(super) fn count(&mut self, counts: &Counts) {
        for (counter, count) in [
            (&counts.read, &mut self.read),
            (&counts.matched, &mut self.matched),
            (&counts.replayed, &mut self.replayed),
            (&counts.too_large, &mut self.too_large),
        ] {
            counter.fetch_add(std::mem::take(count), Relaxed);
        }
    }

    /// The verdicts since the last call.
    pub(super) fn verdicts(&mut self) -> Verdicts {
        std::mem::take(&mut self.verdicts)
    }
}

impl Sift for Sieve {
    fn keeps<'h>(
        &mut self,
        at: RecordPlace,
        headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>,
        bytes: usize,
    ) -> bool {
        self.read += 1;
        let traits = Traits::of(headers);
        if traits.is_replay {
            self.replayed += 1;
            return false;
        }
        let numbers = &mut self.verdicts.numbers;
        let start = numbers.len();
        let plain = self.current.index.matches(&traits, &mut self.scratch, numbers);
        if !plain && numbers.len() == start {
            return false;
        }
        self.matched += 1;
        if bytes > self.most {
            self.too_large += 1;
            numbers.truncate(start);
            tracing::warn!(
                bytes,
                most = self.most,
                "a subscribed event is larger than a NATS message; it is left out"
            );
            return false;
        }
        if !self.current.asking.is_empty() {
            self.verdicts.each.push(Verdict { at, plain, asking: start..numbers.len() });
        }
        true
    }
}
