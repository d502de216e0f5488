//! What a kill loop found.
//!
//! Invariant: [`KillReport::verdict`] is good only if no promise was broken: nothing accepted lost, order kept, repetitions
//! inside the in-flight window, nothing dropped, refused or damaged, books balanced; and if the run was a test at all: the
//! load was what the plan asks for, and at least every second kill met records that the next life had to recover.

use std::time::Duration;

use serde::Serialize;

use super::load::is_event;
use super::plan::{KillPlan, KillSink};
use crate::books::Books;
use crate::check::{Findings, Tolerance};
use crate::ledger::Ledger;

/// Broken promises kept in words; more are only counted.
const KEPT: usize = 20;

/// The result of a kill loop.
#[derive(Debug, Clone, Serialize)]
pub struct KillReport {
    /// Seed that repeats the delays.
    pub seed: u64,
    /// Where records went.
    pub sink: KillSink,
    /// SIGKILLs sent.
    pub kills: u32,
    /// Restarts that found undelivered records in the spool.
    pub restarts_with_recovered: u32,
    /// Messages written by the producers.
    pub sent: u64,
    /// Messages covered by a PONG.
    pub accepted: u64,
    /// Messages whose connection broke before a PONG.
    pub uncertain: u64,
    /// Logs sent per second while CIM was being killed.
    pub rate_log: f64,
    /// Events sent per second while CIM was being killed.
    pub rate_event: f64,
    /// Slowest restart, exec to ready, milliseconds.
    pub slowest_start_ms: f64,
    /// What the checker found; none for the null sink.
    pub findings: Option<Findings>,
    /// Broken promises, in words; at most 20.
    pub violations: Vec<String>,
    /// How many there were.
    pub violation_count: u64,
    /// Length of the run up to the last kill, seconds.
    pub loaded_seconds: f64,
    /// Length of the run with drain and check, seconds.
    pub seconds: f64,
    #[serde(skip)]
    tolerance: Tolerance,
    #[serde(skip)]
    least_rates: (f64, f64),
}

impl KillReport {
    pub(super) fn new(plan: &KillPlan) -> Self {
        // The trigger is one more.
        let producers = plan.log_producers.saturating_add(plan.event_producers);
        let sources = u64::from(producers).saturating_add(1);
        let kills = u64::from(plan.kills);
        Self {
            seed: plan.seed,
            sink: plan.sink,
            kills: plan.kills,
            restarts_with_recovered: 0,
            sent: 0,
            accepted: 0,
            uncertain: 0,
            rate_log: 0.0,
            rate_event: 0.0,
            slowest_start_ms: 0.0,
            findings: None,
            violations: Vec::new(),
            violation_count: 0,
            loaded_seconds: 0.0,
            seconds: 0.0,
            tolerance: Tolerance {
                rewinds: kills,
                depth: plan.window_messages(),
                torn: kills.saturating_mul(sources),
            },
            least_rates: (plan.rate_log as f64, plan.rate_event as f64),
        }
    }

    /// Notes a broken promise.
    pub(super) fn violation(&mut self, what: String) {
        self.violation_count = self.violation_count.saturating_add(1);
        if self.violations.len() < KEPT {
            self.violations.push(what);
        }
    }

    pub(super) fn started(&mut self, took: Duration) {
        self.slowest_start_ms = self.slowest_start_ms.max(took.as_secs_f64() * 1e3);
    }

    pub(super) fn recovered(&mut self, books: &Books) {
        if books.logs.recovered > 0 || books.events.recovered > 0 {
            self.restarts_with_recovered = self.restarts_with_recovered.saturating_add(1);
        }
    }

    /// Nothing may be dropped, refused, dead-lettered or lost by the spool.
    pub(super) fn note_books(&mut self, when: &str, books: &Books) {
        let gone = books.logs.dropped + books.events.dropped;
        let dead = books.logs.dead_lettered + books.events.dead_lettered;
        if gone > 0 || dead > 0 || books.refused > 0 || books.lost_records > 0 {
            self.violation(format!("{when}: {books:?}"));
        }
    }

    /// At rest the books must balance.
    pub(super) fn balance(&mut self, books: &Books) {
        if !books.logs.balance() || !books.events.balance() {
            self.violation(format!("books do not balance: {books:?}"));
        }
    }

    pub(super) fn sources(&mut self, ledgers: &[Ledger]) {
        self.sent = ledgers.iter().map(|ledger| ledger.sent).sum();
        self.accepted = ledgers.iter().map(Ledger::accepted_count).sum();
        self.uncertain =
            ledgers.iter().flat_map(|ledger| &ledger.uncertain).map(crate::ledger::Span::count).sum();
        let rate = |events: bool| {
            let of_class = ledgers.iter().filter(|ledger| is_event(ledger) == events);
            of_class.map(|ledger| ledger.sent).sum::<u64>() as f64 / self.loaded_seconds.max(1e-9)
        };
        (self.rate_log, self.rate_event) = (rate(false), rate(true));
    }

    /// Whether every promise was kept.
    ///
    /// # Errors
    /// The first broken one.
    pub fn verdict(&self) -> Result<(), String> {
        if let Some(first) = self.violations.first() {
            return Err(format!("{} violations, first: {first}", self.violation_count));
        }
        if self.accepted == 0 {
            return Err("nothing was accepted, so nothing was tested".into());
        }
        if self.rate_log < self.least_rates.0 || self.rate_event < self.least_rates.1 {
            return Err(format!(
                "{:.0} logs and {:.0} events per second: the load was too low to test anything",
                self.rate_log, self.rate_event
            ));
        }
        if self.restarts_with_recovered.saturating_mul(2) < self.kills {
            return Err(format!(
                "{} of {} restarts had records to recover: too few to test anything",
                self.restarts_with_recovered, self.kills
            ));
        }
        match &self.findings {
            Some(findings) => findings.verdict(self.tolerance),
            None if self.sink == KillSink::Null => Ok(()),
            None => Err("the sink was not read".into()),
        }
    }

    /// The report on a few lines, for people.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = format!(
            "{:?} sink, {} kills, seed {}: sent {}, accepted {}, uncertain {}, {:.0} logs/s, {:.0} events/s, {} restarts with recovered > 0, slowest start {:.0} ms, {:.1} s",
            self.sink,
            self.kills,
            self.seed,
            self.sent,
            self.accepted,
            self.uncertain,
            self.rate_log,
            self.rate_event,
            self.restarts_with_recovered,
            self.slowest_start_ms,
            self.seconds
        );
        if let Some(found) = &self.findings {
            text.push_str(&format!(
                "\n  received {}, lost {}, duplicates {}, out of order {}, deepest replay {} messages ({} allowed), torn {}, altered {}, foreign {}",
                found.sum(|source| source.received),
                found.sum(|source| source.lost),
                found.sum(|source| source.duplicates),
                found.sum(|source| source.inversions),
                found.sources.iter().map(|source| source.deepest_rewind).max().unwrap_or(0),
                self.tolerance.depth,
                found.torn, found.altered, found.foreign
            ));
        }
        for violation in &self.violations {
            text.push_str("\n  broken: ");
            text.push_str(violation);
        }
        text
    }
}
