//! The loop of one route member.
//!
//! Natural batching: a batch leaves at once when nothing is in flight; while something is, the next one gathers until
//! the answer comes or the batch is full. Where nobody answers, there is no answer to gather for: batches leave as long as
//! the sink takes more. There are no linger timers. Invariant: the queue's position moves only past
//! records that have been settled, in order.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt as _;
use futures_util::future::FusedFuture as _;
use tokio::sync::watch;

use super::condition::{Condition, DeliveryState};
use super::fallback::Fallback;
use super::feed::{Feed, Next};
use super::inline::in_runtime;
use super::outlet::{Attempt, Outlet};
use super::span::{Selection, Span};
use super::window::Window;
use crate::books::DropReason;
use crate::contract::{Durability, SinkProfile};
use crate::deadletter::DeadLetters;
use crate::queue::{ClassQueue, Settlement};

/// Most bytes that a thread delivers itself which took them in: with more of them two threads get further than one, and its other
/// publishers would wait. It bounds what a turn leaves to that thread, and the batch, which a small turn may complete.
pub(crate) const FEW_BYTES: usize = 16 << 10;

/// How far the shutdown has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Deliver.
    Running,
    /// Deliver what is there, then end.
    Draining,
    /// Launch nothing more; end once what is in flight has landed.
    Landing,
    /// End now; what is held stays held.
    Stop,
}

/// One route member at work.
pub(crate) struct Worker {
    pub queue: Arc<ClassQueue>,
    pub member: usize,
    /// `logs` or `logs/console`, for diagnostics.
    pub label: String,
    pub outlet: Outlet,
    pub fallback: Option<Fallback>,
    pub dead_letters: Option<Arc<DeadLetters>>,
    pub condition: Arc<Condition>,
    pub phase: watch::Receiver<Phase>,
    /// While the fallback is used, the sink itself is not tried before this moment.
    pub primary_due: Option<Instant>,
    /// Records before this sequence may have reached the reader already: in an earlier life, or as a copy.
    pub seen_before: u64,
    /// The fallback got copies of the records before this sequence, as far as this worker knows.
    pub copied_to: u64,
}

impl Worker {
    /// Delivers until told to stop, or until there is nothing left while draining.
    pub(crate) async fn run(mut self) {
        let mut feed = Feed::new(Arc::clone(&self.queue), self.queue.position(self.member));
        let mut window = Window::new();
        let mut changed = self.queue.watch();
        let mut phase = self.phase.clone();
        let outlet = self.outlet.clone();
        let mut preparing = pin!(outlet.prepare().fuse());
        while self.phase() < Phase::Stop {
            let newest = *changed.borrow_and_update();
            if self.phase() == Phase::Landing && window.is_empty() {
                return;
            }
            if window.is_empty() && !self.serve_fallback(&mut feed).await {
                return;
            }
            let profile = self.outlet.profile();
            let landing = self.phase() >= Phase::Landing;
            // A disk that does not answer holds up neither the end nor a reload.
            let idle = landing
                || self
                    .before(Phase::Landing, self.launch(&mut feed, &mut window, &profile, newest))
                    .await
                    .unwrap_or(true);
            if idle && window.is_empty() && self.phase() == Phase::Draining {
                return;
            }
            let away = idle && window.is_empty() && self.condition.state() == DeliveryState::Fallback;
            let room = window.len() < profile.max_in_flight.max(1);
            tokio::select! {
                biased;
                Some(landed) = window.next(), if !window.is_empty() => {
                    if !self.landed(landed, &mut window, &mut feed).await {
                        return;
                    }
                }
                _ = changed.changed(), if room => {}
                changed = phase.changed() => {
                    if changed.is_err() {
                        return;
                    }
                }
                () = self.sink_is_back(), if away => {
                    self.primary_due = None;
                    self.recovered();
                }
                () = &mut preparing, if !preparing.is_terminated() => {}
            }
        }
    }

    pub(super) fn phase(&self) -> Phase {
        *self.phase.borrow()
    }

    /// Fills the window, or until one lands while the disk is read. Returns whether the queue had nothing more.
    ///
    /// # Cancel safety
    /// Dropped only when nothing more is launched: records that were read and not launched would be passed over.
    async fn launch(
        &self,
        feed: &mut Feed,
        window: &mut Window<Span>,
        profile: &SinkProfile,
        newest: u64,
    ) -> bool {
        let gathers = profile.durability != Durability::Unacknowledged;
        while window.is_empty()
            || (window.len() < profile.max_in_flight.max(1) && (!gathers || feed.has_batch(profile, newest)))
        {
            let next = tokio::select! {
                biased;
                next = feed.next(profile) => next,
                // What is under way goes on, however long the disk takes.
                () = window.fly(), if !window.is_empty() => return false,
            };
            match next {
                Next::Empty => return true,
                Next::Lost(through) if window.is_empty() => {
                    self.queue.lose(self.member, through, DropReason::Damaged);
                }
                Next::Lost(through) => {
                    // Booked once everything before it has landed: the position moves in order.
                    feed.rewind(through.saturating_sub(1));
                    return false;
                }
                Next::Span(span) => {
                    let (outlet, epoch) = (self.outlet.clone(), self.queue.epoch());
                    if window.is_empty() {
                        self.condition.heads(span.arrived_ms());
                    }
                    let again = span.first() < self.seen_before;
                    // Here, not in the flight: a flight that goes on elsewhere would be overtaken by those behind it.
                    if span.bytes() > FEW_BYTES {
                        in_runtime().await;
                    }
                    window.launch(async move {
                        let attempt = outlet.attempt(&span, &Selection::All, epoch, again).await;
                        (span, attempt)
                    });
                }
            }
        }
        false
    }

    /// Settles what landed; a failure is resolved before anything new is launched. False: stopped on the way.
    async fn landed(
        &mut self,
        landed: Option<(Span, Attempt)>,
        window: &mut Window<Span>,
        feed: &mut Feed,
    ) -> bool {
        // The disk behind a settlement may take milliseconds, when a segment goes.
        in_runtime().await;
        if let Some((span, attempt)) = &landed
            && attempt.is_clean()
        {
            self.recovered();
            self.queue.settle(self.member, &self.settlement(span));
            return true;
        }
        let Some(mut rest) = self.before(Phase::Stop, window.drain()).await else { return false };
        // Failures behind the first one follow from it. What delivered nothing at all is read again, and sent as if new.
        while let Some((span, _)) = rest.pop_if(|(span, attempt)| attempt.has_delivered_nothing_of(span)) {
            self.seen_before = self.seen_before.max(span.end());
        }
        for (at, (span, attempt)) in landed.into_iter().chain(rest).enumerate() {
            if !self.resolve(span, attempt, at > 0).await {
                return false;
            }
        }
        feed.rewind(self.queue.position(self.member));
        true
    }

    /// What the work comes to, unless the shutdown gets that far first: then it is dropped.
    pub(super) async fn before<T>(&self, end: Phase, work: impl Future<Output = T>) -> Option<T> {
        let mut phase = self.phase.clone();
        let ended = async {
            if phase.wait_for(|phase| *phase >= end).await.is_err() {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            done = work => Some(done),
            () = ended => None,
        }
    }

    /// Offers these records of a span to one of the sinks. `None`: stopped before there was an answer.
    pub(super) async fn attempt(
        &self,
        outlet: &Outlet,
        span: &Span,
        group: &[u64],
        again: bool,
    ) -> Option<Attempt> {
        let selection = Selection::Only(group.to_vec());
        self.before(Phase::Stop, outlet.attempt(span, &selection, self.queue.epoch(), again)).await
    }

    pub(super) fn recovered(&self) {
        if self.condition.succeeded() != DeliveryState::Ready {
            tracing::info!(route = %self.label, sink = self.outlet.component().name(), "deliveries succeed again");
        }
    }

    pub(super) fn settlement(&self, span: &Span) -> Settlement {
        Settlement {
            first: span.first(),
            end: span.end(),
            unacknowledged: self.outlet.profile().durability == Durability::Unacknowledged,
            ..Settlement::default()
        }
    }
}
