//! The checker: compares what producers know to be accepted with what a sink shows.
//!
//! Leaves out where captures come from (`capture.rs`), how payloads are found and numbers counted (`cim-verify`), and the
//! verdict (`findings.rs`). It trusts nothing the product says: only the ledgers of the producers and the stamps in the
//! captured lines.

mod capture;
mod findings;
mod source;

pub use capture::{read_path, read_stream};
pub use findings::{Findings, SourceFindings, Tolerance};

use std::collections::BTreeMap;

use cim_verify::{Found, Sequence};

use crate::ledger::Ledger;

/// Reads captured lines one by one.
#[derive(Debug, Default)]
pub struct Checker {
    run: u32,
    sources: BTreeMap<u32, Sequence>,
    lines: u64,
    foreign: u64,
    altered: u64,
    torn: u64,
}

impl Checker {
    /// A checker for messages of that run; others are foreign.
    #[must_use]
    pub fn new(run: u32) -> Self {
        Self { run, ..Self::default() }
    }

    /// One captured line without its line end: a bare payload, or JSON with a payload inside.
    pub fn line(&mut self, line: &[u8]) {
        self.lines = self.lines.saturating_add(1);
        cim_verify::scan(line, |found| match found {
            Found::Payload(stamp) if stamp.run == self.run => {
                self.sources.entry(stamp.producer).or_default().arrived(stamp.seq);
            }
            Found::Payload(_) | Found::Foreign => self.foreign = self.foreign.saturating_add(1),
            Found::Torn | Found::Beginning => self.torn = self.torn.saturating_add(1),
            Found::Altered => self.altered = self.altered.saturating_add(1),
        });
    }

    /// Different messages received from that producer so far.
    #[must_use]
    pub fn received(&self, producer: u32) -> u64 {
        self.sources.get(&producer).map_or(0, Sequence::received)
    }

    /// Compares with the producers' ledgers.
    #[must_use]
    pub fn finish(self, ledgers: &[Ledger]) -> Findings {
        let mut sources = Vec::new();
        let mut foreign = self.foreign;
        for (producer, arrived) in &self.sources {
            if !ledgers.iter().any(|ledger| ledger.producer == *producer) {
                foreign = foreign.saturating_add(arrived.received()).saturating_add(arrived.duplicates());
            }
        }
        let silent = Sequence::default();
        for ledger in ledgers {
            let arrived = self.sources.get(&ledger.producer).unwrap_or(&silent);
            sources.push(source::compare(arrived, ledger));
        }
        Findings { lines: self.lines, foreign, altered: self.altered, torn: self.torn, sources }
    }
}

#[cfg(test)]
mod tests;
