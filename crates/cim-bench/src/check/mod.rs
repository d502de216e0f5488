//! The checker: compares what producers know to be accepted with what a sink shows.
//!
//! Leaves out where captures come from (`capture.rs`) and the verdict (`findings.rs`). It trusts nothing the product
//! says: only the ledgers of the producers and the stamps in the captured lines. One bit per message and producer.

mod bitmap;
mod capture;
mod findings;
mod source;

pub use bitmap::Bitmap;
pub use capture::{read_path, read_stream};
pub use findings::{Findings, SourceFindings, Tolerance};

use std::collections::BTreeMap;

use crate::ledger::Ledger;
use crate::stamp::{self, Reading};
use source::SourceCheck;

/// Start of a log on a JSON sink; a second one in a line means that the first was cut.
const JSON_LOG: &[u8] = b"{\"container_name\"";

/// Reads captured lines one by one.
#[derive(Debug, Default)]
pub struct Checker {
    run: u32,
    sources: BTreeMap<u32, SourceCheck>,
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
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        let mut at = 0usize;
        let mut found = false;
        while let Some(rest) = line.get(at..)
            && let Some(start) = memchr::memmem::find(rest, stamp::MAGIC)
        {
            self.prefix(rest.get(..start).unwrap_or_default(), found);
            found = true;
            let payload = rest.get(start..).unwrap_or_default();
            let used = self.payload(payload);
            at = at.saturating_add(start).saturating_add(used);
        }
        if !found && is_beginning(line) {
            self.torn = self.torn.saturating_add(1);
        } else if !found {
            self.foreign = self.foreign.saturating_add(1);
        }
    }

    /// What stands before a payload: nothing, the start of one JSON document, or the rest of a cut write.
    fn prefix(&mut self, prefix: &[u8], behind_another: bool) {
        let whole = if behind_another {
            false
        } else if prefix.starts_with(JSON_LOG) {
            memchr::memmem::rfind(prefix, JSON_LOG) == Some(0)
        } else {
            prefix.is_empty() || prefix.starts_with(b"{\"")
        };
        if !whole && !prefix.is_empty() {
            self.torn = self.torn.saturating_add(1);
        }
    }

    /// One payload at the start of `bytes`; returns how many bytes it takes.
    fn payload(&mut self, bytes: &[u8]) -> usize {
        // A cut payload may be followed by a whole one in the same line: it ends where the next magic stands.
        let next = bytes.get(stamp::MAGIC.len()..).and_then(|rest| memchr::memmem::find(rest, stamp::MAGIC));
        let end = next.map_or(bytes.len(), |next| next.saturating_add(stamp::MAGIC.len()));
        let own = bytes.get(..end).unwrap_or_default();
        match stamp::read(own) {
            Reading::Whole(stamp) => {
                let length = stamp.length as usize;
                if stamp.run != self.run {
                    self.foreign = self.foreign.saturating_add(1);
                } else if !ends_well(own.get(length), next.is_some()) {
                    self.altered = self.altered.saturating_add(1);
                } else {
                    self.sources.entry(stamp.producer).or_default().received(stamp.seq);
                }
                length
            }
            Reading::Torn => self.cut(own),
            Reading::Altered if next.is_some() => self.cut(own),
            Reading::Altered | Reading::Foreign => {
                self.altered = self.altered.saturating_add(1);
                own.len()
            }
        }
    }

    fn cut(&mut self, own: &[u8]) -> usize {
        self.torn = self.torn.saturating_add(1);
        own.len().max(1)
    }

    /// Different messages received from that producer so far.
    #[must_use]
    pub fn received(&self, producer: u32) -> u64 {
        self.sources.get(&producer).map_or(0, SourceCheck::received_count)
    }

    /// Compares with the producers' ledgers.
    #[must_use]
    pub fn finish(self, ledgers: &[Ledger]) -> Findings {
        let mut sources = Vec::new();
        let mut foreign = self.foreign;
        for (producer, source) in &self.sources {
            if !ledgers.iter().any(|ledger| ledger.producer == *producer) {
                foreign = foreign.saturating_add(source.total());
            }
        }
        let silent = SourceCheck::default();
        for ledger in ledgers {
            let source = self.sources.get(&ledger.producer).unwrap_or(&silent);
            sources.push(source.compare(ledger));
        }
        Findings { lines: self.lines, foreign, altered: self.altered, torn: self.torn, sources }
    }
}

/// Whether a kill may have left this of a line, before any stamp: a part of the magic, or of a JSON document.
fn is_beginning(line: &[u8]) -> bool {
    let document = || serde_json::from_slice::<serde::de::IgnoredAny>(line);
    !line.is_empty()
        && (stamp::MAGIC.starts_with(line)
            || (line.starts_with(b"{") && document().is_err_and(|error| error.is_eof())))
}

/// What may stand behind a payload: nothing, the end of a JSON string, or (the write was cut there) the next document.
fn ends_well(behind: Option<&u8>, another_follows: bool) -> bool {
    match behind {
        None | Some(b'"') => true,
        Some(b'{') => another_follows,
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests;
