//! A run that did not go through at once: repeated, split, set aside, or given to the fallback, until every record of it
//! has a name for its end.
//!
//! Order is kept: nothing after the run is sent before the run is settled (copies for a fallback excepted).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::{Duration, Instant};

use super::condition::DeliveryState;
use super::decision::{Decision, decide};
use super::feed::{Feed, Next};
use super::outlet::Attempt;
use super::span::{Selection, Span};
use super::worker::{Phase, Worker};
use crate::contract::{DeliveryError, Durability};
use crate::deadletter::{Letter, Origin};
use crate::queue::Settlement;
use crate::settings::FallbackMode;

/// What is known of a run so far.
struct Run {
    span: Span,
    settlement: Settlement,
    /// Groups of records still to be delivered, the first one on top.
    open: Vec<Vec<u64>>,
}

impl Worker {
    /// Sees the run through to its end. False: stopped on the way, and the run stays held.
    pub(super) async fn resolve(&mut self, span: Span, attempt: Attempt) -> bool {
        let mut run = Run { settlement: self.settlement(&span), span, open: Vec::new() };
        if !self.absorb(&mut run, attempt).await {
            return false;
        }
        while let Some(group) = run.open.pop() {
            if self.phase() >= Phase::Landing {
                return false;
            }
            let epoch = self.queue.epoch();
            let attempt = self.outlet.attempt(&run.span, &Selection::Only(group), epoch, true).await;
            if !self.absorb(&mut run, attempt).await {
                return false;
            }
        }
        self.queue.settle(self.member, &run.settlement);
        true
    }

    /// Takes in what an attempt came to. False: stopped while waiting.
    async fn absorb(&mut self, run: &mut Run, attempt: Attempt) -> bool {
        for seq in attempt.broken {
            if !self.set_aside(run, seq, "undecodable", "the stored message cannot be decoded").await {
                return false;
            }
        }
        let Some((error, open)) = attempt.failed else {
            self.recovered();
            return true;
        };
        let text = describe(&error);
        let (attempts, _) = self.condition.failed(error.kind(), &text);
        match decide(&error, open.len(), attempts, chance()) {
            Decision::Retry(pause) => self.put_off(run, open, DeliveryState::Retrying, pause).await,
            Decision::Suspend(pause) => self.put_off(run, open, DeliveryState::Suspended, pause).await,
            Decision::Split => {
                let half = open.len().div_ceil(2);
                let (first, second) = open.split_at(half.min(open.len()));
                run.open.push(second.to_vec());
                run.open.push(first.to_vec());
                true
            }
            Decision::DeadLetter => {
                let mut through = true;
                for seq in open {
                    through &= self.set_aside(run, seq, error.kind().as_str(), &text).await;
                }
                through
            }
        }
    }

    /// The sink is down: the fallback takes the group, or it waits for its next attempt.
    async fn put_off(
        &mut self,
        run: &mut Run,
        group: Vec<u64>,
        state: DeliveryState,
        pause: Duration,
    ) -> bool {
        self.report(state, pause);
        if self.use_fallback() && self.give_to_fallback(run, &group).await {
            self.primary_due = Some(Instant::now() + pause);
            return true;
        }
        run.open.push(group);
        self.pause(run, pause).await
    }

    /// Serves the queue through the fallback until the sink itself is due for another attempt.
    pub(super) async fn serve_fallback(&mut self, feed: &mut Feed) {
        let Some(fallback) = &self.fallback else { return };
        let profile = fallback.outlet.profile();
        while self.phase() < Phase::Landing && self.primary_due.is_some_and(|due| Instant::now() < due) {
            let Next::Span(span) = feed.next(&profile).await else { return };
            let first = span.first();
            let mut run = Run { settlement: self.settlement(&span), span, open: Vec::new() };
            let all = Selection::All.of(&run.span);
            if !self.give_to_fallback(&mut run, &all).await {
                self.primary_due = None;
                feed.rewind(first);
                return;
            }
            self.queue.settle(self.member, &run.settlement);
        }
    }

    /// Tells of the failure that was noted last: loud when it is another state, or another kind, than before.
    fn report(&self, state: DeliveryState, pause: Duration) {
        let sink = self.outlet.component().name();
        let is_news = self.condition.waits(state, pause);
        let status = self.condition.status();
        let (kind, error) = (status.last_kind.unwrap_or_default(), status.last_error.unwrap_or_default());
        if is_news {
            tracing::warn!(route = %self.label, sink, kind, %error, "delivery failed; records are held and retried");
        } else {
            tracing::debug!(route = %self.label, sink, kind, %error, ?pause, "delivery failed again");
        }
    }

    /// Puts one record into the dead-letter store. Without a store it is dropped, and counted as such.
    async fn set_aside(&self, run: &mut Run, seq: u64, reason: &'static str, text: &str) -> bool {
        let Some(store) = &self.dead_letters else {
            tracing::error!(route = %self.label, seq, reason, error = %text, "record dropped: no dead-letter store");
            run.settlement.rejected.push(seq);
            return true;
        };
        let Some((_, record)) = run.span.records().find(|(at, _)| *at == seq) else { return true };
        let letter = Letter::new(Origin::Queue(self.queue.class()), seq, &self.label, reason, text, record);
        let letter = std::sync::Arc::new(letter);
        loop {
            let (store, copy) = (std::sync::Arc::clone(store), std::sync::Arc::clone(&letter));
            let put = tokio::task::spawn_blocking(move || store.put(&copy)).await;
            match put.unwrap_or_else(|panic| Err(std::io::Error::other(panic))) {
                Ok(()) => break,
                Err(error) => {
                    tracing::error!(route = %self.label, seq, %error, "cannot store a dead letter; it stays held");
                    self.condition.waits(DeliveryState::Suspended, Duration::from_secs(1));
                    if !self.wait(Duration::from_secs(1)).await {
                        return false;
                    }
                }
            }
        }
        tracing::warn!(route = %self.label, seq, reason, error = %text, "record moved to the dead letters");
        run.settlement.dead.push(seq);
        true
    }

    /// Waits before the next attempt; a fallback that wants copies gets them meanwhile.
    async fn pause(&mut self, run: &Run, pause: Duration) -> bool {
        let copies = self.use_fallback()
            && self.fallback.as_ref().is_some_and(|fallback| fallback.mode == FallbackMode::Copy);
        if copies { self.copy_for(run.span.first(), pause).await } else { self.wait(pause).await }
    }

    /// Waits; false when told to stop meanwhile.
    async fn wait(&self, pause: Duration) -> bool {
        let mut phase = self.phase.clone();
        let stopped = async {
            while *phase.borrow_and_update() < Phase::Landing {
                if phase.changed().await.is_err() {
                    std::future::pending::<()>().await;
                }
            }
        };
        tokio::select! {
            () = stopped => false,
            () = tokio::time::sleep(pause) => true,
        }
    }

    /// Whether the sink has failed for long enough.
    fn use_fallback(&self) -> bool {
        let Some(fallback) = &self.fallback else { return false };
        self.condition.failing_for().is_some_and(|failing| failing >= fallback.after)
    }

    /// Gives a group to the fallback for good (mode `final`). True: it took them.
    async fn give_to_fallback(&self, run: &mut Run, group: &[u64]) -> bool {
        let Some(fallback) = self.fallback.as_ref().filter(|fallback| fallback.mode == FallbackMode::Final)
        else {
            return false;
        };
        // What the sink still has of it must not arrive there as well.
        self.outlet.abandon().await;
        let selection = Selection::Only(group.to_vec());
        let attempt = fallback.outlet.attempt(&run.span, &selection, self.queue.epoch(), true).await;
        if attempt.failed.is_some() || !attempt.broken.is_empty() {
            return false;
        }
        self.condition.waits(DeliveryState::Fallback, Duration::ZERO);
        run.settlement.fallback.extend_from_slice(group);
        run.settlement.fallback_unacknowledged =
            fallback.outlet.profile().durability == Durability::Unacknowledged;
        true
    }

    /// Delivers copies to the fallback for that long; everything stays held.
    async fn copy_for(&mut self, from: u64, pause: Duration) -> bool {
        let until = Instant::now() + pause;
        let Some(fallback) = &self.fallback else { return self.wait(pause).await };
        let outlet = fallback.outlet.clone();
        let mut feed = Feed::new(std::sync::Arc::clone(&self.queue), from.max(self.seen_before));
        while Instant::now() < until {
            let Next::Span(span) = feed.next(&outlet.profile()).await else { break };
            let attempt = outlet.attempt(&span, &Selection::All, self.queue.epoch(), false).await;
            if attempt.failed.is_some() {
                break;
            }
            self.condition.waits(DeliveryState::Fallback, pause);
            self.seen_before = self.seen_before.max(span.end());
        }
        self.wait(until.saturating_duration_since(Instant::now())).await
    }
}

/// The error with its causes, on one line.
fn describe(error: &DeliveryError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}

/// A number in 0..=1 that differs between processes and calls: good enough to spread retries.
fn chance() -> f64 {
    let hash = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}
