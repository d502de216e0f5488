//! What the spool on disk proves about a sink that shows nothing.
//!
//! Between two lives nobody writes to the spool, so three facts must hold: every message a producer knows to be accepted
//! has a sequence number there; no intact frame is missing or damaged; and what the next life says it recovered is what
//! lies behind the cursors. The reading is the spool's own offline check, which shares its format but not its writer.

use std::path::{Path, PathBuf};

use super::load::{Accepted, is_event};
use super::report::KillReport;
use super::stage::Stage;
use crate::books::Books;
use crate::ledger::Ledger;

/// Position of one stream after a kill.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Position {
    /// Records that ever got a sequence number.
    written: u64,
    /// Records behind the cursors.
    undelivered: u64,
}

pub(super) struct Witness {
    spool: Option<PathBuf>,
    logs: Position,
    events: Position,
    lives: u32,
}

impl Witness {
    pub(super) fn new(stage: &Stage) -> Self {
        Self {
            spool: stage.witnessed_spool(),
            logs: Position::default(),
            events: Position::default(),
            lives: 0,
        }
    }

    pub(super) fn lived(&mut self) {
        self.lives = self.lives.saturating_add(1);
    }

    /// Everything accepted must be written.
    pub(super) fn after_kill(&mut self, life: u32, accepted: Accepted, report: &mut KillReport) {
        let Some(spool) = self.spool.clone() else { return };
        self.logs = self.look(&spool, "logs", report);
        self.events = self.look(&spool, "events", report);
        for (class, accepted, position) in
            [("logs", accepted.logs, self.logs), ("events", accepted.events, self.events)]
        {
            if accepted > position.written {
                let written = position.written;
                report.violation(format!("kill {life}: {accepted} {class} accepted, {written} ever written"));
            }
        }
    }

    fn look(&self, spool: &Path, class: &str, report: &mut KillReport) -> Position {
        let found = match cim_spool::check(spool) {
            Ok(found) => found,
            Err(error) => {
                report.violation(format!("spool check: {error}"));
                return Position::default();
            }
        };
        let Some(stream) = found.streams.into_iter().find(|stream| stream.name == class) else {
            report.violation(format!("the spool has no stream {class}"));
            return Position::default();
        };
        for segment in &stream.segments {
            if segment.lost_records > 0 || segment.damaged_bytes > 0 {
                report.violation(format!("{class} {}: {segment:?}", segment.file));
            }
        }
        let ends = stream.segments.iter().map(|segment| segment.end_seq);
        let cursors = stream.cursors.iter().filter_map(|cursor| cursor.next_seq);
        let next = ends.chain(cursors.clone()).max().unwrap_or(1);
        let first = stream.segments.iter().map(|segment| segment.first_seq).min().unwrap_or(next);
        let delivered = cursors.min().unwrap_or(first).max(first);
        Position { written: next.saturating_sub(1), undelivered: next.saturating_sub(delivered) }
    }

    /// What was recovered must be what lay behind the cursors.
    pub(super) fn after_start(&mut self, life: u32, books: &Books, report: &mut KillReport) {
        report.recovered(books);
        report.note_books("a start", books);
        if self.spool.is_none() {
            return;
        }
        for (class, route, position) in
            [("logs", books.logs, self.logs), ("events", books.events, self.events)]
        {
            if route.recovered != position.undelivered {
                report.violation(format!(
                    "start {life}: {} {class} recovered, {} in the spool",
                    route.recovered, position.undelivered
                ));
            }
        }
    }

    /// At the end the spool has numbered at least what was accepted and at most what was sent, and holds nothing.
    pub(super) fn at_the_end(&mut self, ledgers: &[Ledger], report: &mut KillReport) {
        let Some(spool) = self.spool.clone() else { return };
        for (class, events) in [("logs", false), ("events", true)] {
            let of_class = |ledger: &&Ledger| is_event(ledger) == events;
            let accepted: u64 = ledgers.iter().filter(of_class).map(Ledger::accepted_count).sum();
            let sent: u64 = ledgers.iter().filter(of_class).map(|ledger| ledger.sent).sum();
            let position = self.look(&spool, class, report);
            if !(accepted..=sent).contains(&position.written) || position.undelivered > 0 {
                report
                    .violation(format!("end: {accepted} {class} accepted, {sent} sent, spool {position:?}"));
            }
        }
    }
}
