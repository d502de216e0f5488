//! The sink used while the first one is down: from when on, what it gets, and how its use ends.
//!
//! Invariants: in mode `final` each record is given to one of the two for good; in mode `copy` the fallback gets copies, and
//! what becomes of them decides nothing.

use std::time::{Duration, Instant};

use super::decision::{Decision, decide};
use super::feed::{Feed, Next};
use super::inline::in_runtime;
use super::outlet::Outlet;
use super::resolve::Run;
use super::span::Selection;
use super::worker::{Phase, Worker};
use crate::books::DropReason;
use crate::chain;
use crate::contract::{Durability, Health};
use crate::settings::FallbackMode;

/// How often a sink is asked whether it is back while there is nothing to deliver.
const ASK_AGAIN: Duration = Duration::from_secs(1);

/// The sink used while the first one is down.
pub(crate) struct Fallback {
    pub outlet: Outlet,
    pub after: Duration,
    pub mode: FallbackMode,
}

impl Worker {
    /// Serves the queue through the fallback until the sink itself is due for another attempt. Nothing may be on its way.
    /// False: stopped on the way.
    pub(super) async fn serve_fallback(&mut self, feed: &mut Feed) -> bool {
        let Some(fallback) = &self.fallback else { return true };
        let profile = fallback.outlet.profile();
        while self.phase() < Phase::Landing && self.primary_due.is_some_and(|due| Instant::now() < due) {
            // Each round ends with a settlement.
            in_runtime().await;
            let Some(next) = self.before(Phase::Landing, feed.next(&profile)).await else { return true };
            let span = match next {
                Next::Span(span) => span,
                Next::Lost(through) => {
                    self.queue.lose(self.member, through, DropReason::Damaged);
                    continue;
                }
                Next::Empty => return true,
            };
            let all = Selection::All.of(&span);
            let mut run = self.begin(span);
            if !self.give_to_fallback(&mut run, all).await {
                self.primary_due = None;
            }
            if !self.see_through(run).await {
                return false;
            }
        }
        true
    }

    /// Waits until the sink says that it works, from the moment on at which it would be tried again: with nothing to
    /// deliver, nothing else ends the use of its fallback.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn sink_is_back(&self) {
        if let Some(due) = self.primary_due {
            tokio::time::sleep_until(due.into()).await;
        }
        while self.outlet.component().probe().await != Health::Ready {
            tokio::time::sleep(ASK_AGAIN).await;
        }
    }

    /// Lets the fallback do what its first delivery would wait for, since it may be needed next. Never ends.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn prepare_fallback(&self) {
        if let Some(fallback) = &self.fallback {
            fallback.outlet.prepare().await;
        }
        std::future::pending().await
    }

    /// Whether the sink has failed for long enough.
    pub(super) fn use_fallback(&self) -> bool {
        let Some(fallback) = &self.fallback else { return false };
        self.condition.failing_for().is_some_and(|failing| failing >= fallback.after)
    }

    /// Gives a group to the fallback for good (mode `final`). False: a part of it is still open, and is the run's next group.
    pub(super) async fn give_to_fallback(&self, run: &mut Run, group: Vec<u64>) -> bool {
        let others = std::mem::replace(&mut run.open, vec![group]);
        if let Some(fallback) = self.fallback.as_ref().filter(|fallback| fallback.mode == FallbackMode::Final)
        {
            // What the sink still has of it must not arrive there as well.
            let abandoned = self.before(Phase::Stop, self.outlet.abandon()).await;
            if abandoned.is_some() {
                self.offer(fallback, run).await;
                if !run.open.is_empty() {
                    // The sink gets it next: what the fallback still has of it must not arrive there as well.
                    self.before(Phase::Stop, fallback.outlet.abandon()).await;
                }
            }
        }
        let mut left: Vec<u64> = std::mem::replace(&mut run.open, others).into_iter().flatten().collect();
        left.sort_unstable();
        let all = left.is_empty();
        run.open.extend((!all).then_some(left));
        all
    }

    /// Delivers copies to the fallback, until then at most; everything stays held.
    pub(super) async fn copy_until(&mut self, from: u64, until: Instant) {
        let Some(fallback) = &self.fallback else { return };
        let profile = fallback.outlet.profile();
        let mut feed = Feed::new(std::sync::Arc::clone(&self.queue), from.max(self.copied_to));
        let mut copied_to = self.copied_to;
        while Instant::now() < until && self.phase() < Phase::Landing {
            let next = tokio::time::timeout_at(until.into(), feed.next(&profile));
            let span = match self.before(Phase::Landing, next).await {
                Some(Ok(Next::Span(span))) => span,
                // Booked when the sink itself gets there.
                Some(Ok(Next::Lost(_))) => continue,
                Some(Ok(Next::Empty) | Err(_)) | None => break,
            };
            let end = span.end();
            let mut run = self.begin(span);
            run.open.push(Selection::All.of(&run.span));
            self.offer(fallback, &mut run).await;
            if !run.open.is_empty() {
                break;
            }
            copied_to = copied_to.max(end);
        }
        self.copied_to = copied_to;
        self.seen_before = self.seen_before.max(copied_to);
    }

    /// Offers the open groups of a run to the fallback. What it refuses is halved, as with any sink, so that one record
    /// holds up no other; what is open afterwards waits for the sink itself.
    async fn offer(&self, fallback: &Fallback, run: &mut Run) {
        let for_good = fallback.mode == FallbackMode::Final;
        let unacknowledged = fallback.outlet.profile().durability == Durability::Unacknowledged;
        // An earlier life, or the sinks before a reload, may have made this copy already.
        let again = for_good || run.span.first() < self.seen_before;
        while let Some(group) = run.open.pop() {
            let Some(attempt) = self.attempt(&fallback.outlet, &run.span, &group, again).await else {
                run.open.push(group);
                return;
            };
            let taken = group.iter().filter(|seq| attempt.has_delivered(**seq));
            let before = run.settlement.fallback.len();
            run.settlement.fallback.extend(taken);
            run.settlement.fallback_unacknowledged = unacknowledged;
            if run.settlement.fallback.len() > before {
                self.condition.falls_back();
            }
            if for_good && !self.set_undecodable_aside(run, attempt.broken).await {
                run.open.extend(attempt.failed.map(|(_, open)| open));
                return;
            }
            let Some((error, open)) = attempt.failed else { continue };
            let (kind, text) = (error.kind().as_str(), chain(&error));
            match decide(&error, group.len() == 1, 1, 0.0) {
                Decision::Split => run.split(&open),
                // The sink itself gets it later.
                Decision::DeadLetter if !for_good => {}
                Decision::DeadLetter if self.has_place_for(run, &open, kind, &text) => {
                    if !self.set_aside(run, open, kind, &text).await {
                        return;
                    }
                }
                // Without a place for its letter a record that the sink may well take would be lost.
                Decision::DeadLetter | Decision::Retry(_) | Decision::Suspend(_) => {
                    run.open.push(open);
                    return;
                }
            }
        }
    }
}
