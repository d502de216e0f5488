//! A run that did not go through at once: repeated, split, set aside, or given to the fallback (`fallback`), until every
//! record of it has a name for its end.
//!
//! Order is kept: nothing after the run is sent before the run is settled (copies for a fallback excepted).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::condition::DeliveryState;
use super::decision::{Decision, decide};
use super::outlet::Attempt;
use super::span::Span;
use super::worker::{Phase, Worker};
use crate::chain;
use crate::deadletter::{DeadLetters, Letter, Origin};
use crate::queue::Settlement;
use crate::settings::FallbackMode;

/// What is known of a run so far.
pub(super) struct Run {
    pub span: Span,
    pub settlement: Settlement,
    /// Groups of records still to be delivered, the next one on top.
    pub open: Vec<Vec<u64>>,
}

impl Run {
    /// Each half of a group is next by itself; a single record, without any other on its way.
    pub(super) fn split(&mut self, group: &[u64]) {
        let (first, second) = group.split_at(group.len().div_ceil(2));
        let halves = [second, first].into_iter().filter(|half| !half.is_empty());
        self.open.extend(halves.map(<[u64]>::to_vec));
    }

    /// What became of the records before the first open one.
    fn settled(mut self) -> Settlement {
        if let Some(open) = self.open.iter().flatten().min() {
            self.settlement.end = *open;
        }
        self.settlement
    }
}

impl Worker {
    pub(super) fn begin(&self, span: Span) -> Run {
        Run { settlement: self.settlement(&span), span, open: Vec::new() }
    }

    /// Sees the run through to its end, given what the first attempt came to. One `behind` another that failed says no more
    /// than that by its failure. False: stopped on the way.
    pub(super) async fn resolve(&mut self, span: Span, mut attempt: Attempt, behind: bool) -> bool {
        let mut run = self.begin(span);
        match attempt.failed.take_if(|_| behind) {
            Some((_, open)) => {
                run.open.push(open);
                self.set_undecodable_aside(&mut run, attempt.broken).await;
            }
            // What was in flight beside it may be what the sink refused.
            None => self.absorb(&mut run, attempt, false).await,
        }
        self.see_through(run).await
    }

    /// Tries what is open until nothing is, and settles it. False: stopped on the way; from the first open record on, the
    /// run stays held.
    pub(super) async fn see_through(&mut self, mut run: Run) -> bool {
        while self.phase() < Phase::Landing
            && let Some(group) = run.open.pop()
        {
            match self.attempt(&self.outlet, &run.span, &group, true).await {
                Some(attempt) => self.absorb(&mut run, attempt, group.len() == 1).await,
                None => run.open.push(group),
            }
        }
        let through = run.open.is_empty();
        self.queue.settle(self.member, &run.settled());
        through
    }

    /// Takes in what an attempt came to; `alone`: nothing but one record was on its way.
    async fn absorb(&mut self, run: &mut Run, attempt: Attempt, alone: bool) {
        if !self.set_undecodable_aside(run, attempt.broken).await {
            run.open.extend(attempt.failed.map(|(_, open)| open));
            return;
        }
        let Some((error, open)) = attempt.failed else { return self.recovered() };
        let text = chain(&error);
        let (attempts, _) = self.condition.failed(error.kind(), &text);
        match decide(&error, alone, attempts, chance()) {
            Decision::Retry(pause) => self.put_off(run, open, DeliveryState::Retrying, pause).await,
            Decision::Suspend(pause) => self.put_off(run, open, DeliveryState::Suspended, pause).await,
            Decision::Split => {
                self.condition.refused();
                run.split(&open);
            }
            Decision::DeadLetter => {
                if self.set_aside(run, open, error.kind().as_str(), &text).await {
                    // It has answered: the sink is well, the record was not.
                    self.recovered();
                }
            }
        }
    }

    /// The sink is down: the fallback takes the group, or it waits for its next attempt.
    async fn put_off(&mut self, run: &mut Run, group: Vec<u64>, state: DeliveryState, pause: Duration) {
        self.report(state, pause);
        if !self.use_fallback() {
            run.open.push(group);
        } else if self.give_to_fallback(run, group).await {
            self.primary_due = Some(Instant::now() + pause);
            return;
        }
        self.pause(run, pause).await;
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

    pub(super) async fn set_undecodable_aside(&self, run: &mut Run, seqs: Vec<u64>) -> bool {
        self.set_aside(run, seqs, "undecodable", "the stored message cannot be decoded").await
    }

    /// Puts records into the dead-letter store. False: stopped on the way; the rest is open.
    pub(super) async fn set_aside(
        &self,
        run: &mut Run,
        mut seqs: Vec<u64>,
        reason: &'static str,
        text: &str,
    ) -> bool {
        for (put, seq) in seqs.iter().enumerate() {
            if !self.put_aside(run, *seq, reason, text).await {
                run.open.push(seqs.split_off(put));
                return false;
            }
        }
        true
    }

    /// Puts one record into the dead-letter store. Where that has no place for it, it is dropped, and counted as such.
    async fn put_aside(&self, run: &mut Run, seq: u64, reason: &'static str, text: &str) -> bool {
        let Some(store) = &self.dead_letters else {
            tracing::error!(route = %self.label, seq, reason, error = %text, "record dropped: no dead-letter store");
            run.settlement.rejected.push(seq);
            return true;
        };
        let Some(letter) = self.letter(run, seq, reason, text) else { return true };
        if !store.can_hold(&letter) {
            // No wait makes room for it, and what stands behind it would wait as well.
            tracing::error!(route = %self.label, seq, reason, error = %text, bytes = letter.record().len(),
                "record dropped: larger than the whole dead-letter store");
            run.settlement.rejected.push(seq);
            return true;
        }
        if !self.put(store, letter, seq).await {
            return false;
        }
        tracing::warn!(route = %self.label, seq, reason, error = %text, "record moved to the dead letters");
        run.settlement.dead.push(seq);
        true
    }

    /// Stores a letter, however long the disk does not take it. False: stopped on the way.
    async fn put(&self, store: &Arc<DeadLetters>, letter: Letter, seq: u64) -> bool {
        let (letter, mut place) = (Arc::new(letter), None);
        loop {
            let (store, letter) = (Arc::clone(store), Arc::clone(&letter));
            let put = tokio::task::spawn_blocking(move || store.put(&letter, place)).await;
            let Err(failed) = put.unwrap_or_else(|panic| Err(std::io::Error::other(panic).into())) else {
                return true;
            };
            tracing::error!(route = %self.label, seq, error = %failed, "cannot store a dead letter; it stays held");
            place = failed.place.or(place);
            self.condition.waits(DeliveryState::Suspended, Duration::from_secs(1));
            if !self.wait(Duration::from_secs(1)).await {
                return false;
            }
        }
    }

    /// The letter of a record of the run.
    fn letter(&self, run: &Run, seq: u64, reason: &'static str, text: &str) -> Option<Letter> {
        let (_, record) = run.span.records().find(|(at, _)| *at == seq)?;
        Some(Letter::new(Origin::Queue(self.queue.class()), seq, &self.label, reason, text, record))
    }

    /// Whether each of these records can become a letter.
    pub(super) fn has_place_for(&self, run: &Run, seqs: &[u64], reason: &'static str, text: &str) -> bool {
        let Some(store) = &self.dead_letters else { return false };
        let mut letters = seqs.iter().filter_map(|seq| self.letter(run, *seq, reason, text));
        letters.all(|letter| store.can_hold(&letter))
    }

    /// Waits before the next attempt. Meanwhile a fallback that wants copies gets them, and one that is not used yet gets ready.
    async fn pause(&mut self, run: &Run, pause: Duration) {
        let copies = self.use_fallback()
            && self.fallback.as_ref().is_some_and(|fallback| fallback.mode == FallbackMode::Copy);
        let until = Instant::now() + pause;
        if copies {
            self.copy_until(run.span.first(), until).await;
        }
        tokio::select! {
            _ = self.wait(until.saturating_duration_since(Instant::now())) => {}
            () = self.prepare_fallback() => {}
        }
    }

    /// Waits; false when told to stop meanwhile.
    pub(super) async fn wait(&self, pause: Duration) -> bool {
        self.before(Phase::Landing, tokio::time::sleep(pause)).await.is_some()
    }
}

/// A number in 0..=1 that differs between processes and calls: good enough to spread retries.
fn chance() -> f64 {
    let hash = RandomState::new().build_hasher().finish();
    f64::from(u32::try_from(hash >> 32).unwrap_or(u32::MAX)) / f64::from(u32::MAX)
}
