//! What the checker found, and whether that is clean.
//!
//! Invariant: a run is clean only if nothing accepted is lost, nothing is altered, foreign or out of order, and
//! repetitions stay inside the tolerance that the caller named (none, unless the server was killed).

use serde::Serialize;

/// What a run may show without being unclean. The default allows nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tolerance {
    /// Replays per source: at most one per kill.
    pub rewinds: u64,
    /// Messages a replay may reach back: the in-flight window.
    pub depth: u64,
    /// Writes cut by a kill.
    pub torn: u64,
}

/// Findings about one producer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SourceFindings {
    /// The producer.
    pub producer: u32,
    /// Highest number written.
    pub sent: u64,
    /// Messages covered by a PONG.
    pub accepted: u64,
    /// Different messages received.
    pub received: u64,
    /// Accepted messages that are not there.
    pub lost: u64,
    /// Numbers of the first of them.
    pub first_lost: Vec<u64>,
    /// Messages received again.
    pub duplicates: u64,
    /// Of the repetitions, those the producer itself sent twice (not in `duplicates`).
    pub resent_duplicates: u64,
    /// Messages that came for the first time after a newer one.
    pub inversions: u64,
    /// Times the sequence went back.
    pub rewinds: u64,
    /// Messages the deepest of them reached back.
    pub deepest_rewind: u64,
    /// Received numbers that were never sent.
    pub never_sent: u64,
}

/// Findings about a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Findings {
    /// Lines read.
    pub lines: u64,
    /// Lines or payloads that belong to no producer of this run.
    pub foreign: u64,
    /// Payloads with a wrong checksum.
    pub altered: u64,
    /// Payloads that end too early.
    pub torn: u64,
    /// Per producer.
    pub sources: Vec<SourceFindings>,
}

impl Findings {
    /// Whether the run is clean; the first reason against it otherwise.
    ///
    /// # Errors
    /// The reason, for people.
    pub fn verdict(&self, tolerance: Tolerance) -> Result<(), String> {
        for source in &self.sources {
            source.verdict(tolerance)?;
        }
        let checks = [
            (self.altered == 0, format!("{} altered payloads", self.altered)),
            (self.foreign == 0, format!("{} foreign lines", self.foreign)),
            (self.torn <= tolerance.torn, format!("{} torn payloads", self.torn)),
        ];
        first_failure(checks)
    }

    /// Sum over the producers.
    #[must_use]
    pub fn sum(&self, field: impl Fn(&SourceFindings) -> u64) -> u64 {
        self.sources.iter().map(field).sum()
    }
}

impl SourceFindings {
    fn verdict(&self, tolerance: Tolerance) -> Result<(), String> {
        let name = format!("producer {}:", self.producer);
        first_failure([
            (
                self.lost == 0,
                format!("{name} {} accepted messages lost, first {:?}", self.lost, self.first_lost),
            ),
            (self.inversions == 0, format!("{name} {} messages out of order", self.inversions)),
            (self.never_sent == 0, format!("{name} {} numbers that were never sent", self.never_sent)),
            (self.duplicates == 0 || tolerance.rewinds > 0, format!("{name} {} duplicates", self.duplicates)),
            (
                self.rewinds <= tolerance.rewinds || self.resent_duplicates > 0,
                format!("{name} went back {} times, {} allowed", self.rewinds, tolerance.rewinds),
            ),
            (
                self.deepest_rewind <= tolerance.depth || self.resent_duplicates > 0,
                format!("{name} went back {} messages, {} allowed", self.deepest_rewind, tolerance.depth),
            ),
        ])
    }
}

fn first_failure<const N: usize>(checks: [(bool, String); N]) -> Result<(), String> {
    checks.into_iter().find(|(good, _)| !good).map_or(Ok(()), |(_, reason)| Err(reason))
}
