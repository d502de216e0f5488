//! A sink that fails every now and then, in front of a sink that works.
//!
//! Owns the rhythm of the failures, fixed by a seed. Invariant: a failed call either reached the inner sink whole or
//! not at all, and both happen: a lost delivery and a lost acknowledgement.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering as Memory};

use cim_core::{
    Batch, CloseError, Component, DeliveryError, DeliveryErrorKind, Event, EventSink, Health, LogRecord,
    LogSink, SinkProfile, async_trait,
};

use crate::seeded;

/// Fails about one call in `one_in`, half of the time after the inner sink took the batch.
#[derive(Debug)]
pub struct FlakySink<S> {
    inner: Arc<S>,
    one_in: u64,
    state: AtomicU64,
}

/// What is going to happen to a call.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    Pass,
    FailBefore,
    FailAfter,
}

impl<S> FlakySink<S> {
    /// Wraps a sink; `one_in` is at least 2, so that something gets through. The same seed gives the same failures.
    #[must_use]
    pub fn new(inner: Arc<S>, one_in: u64, seed: u64) -> Self {
        Self { inner, one_in: one_in.max(2), state: AtomicU64::new(seed) }
    }

    fn fate(&self) -> Fate {
        // A counter and a mix, so calls need no lock.
        let mixed = seeded::mix(self.state.fetch_add(seeded::STEP, Memory::Relaxed));
        match (mixed % self.one_in, mixed >> 63) {
            (0, 0) => Fate::FailBefore,
            (0, _) => Fate::FailAfter,
            _ => Fate::Pass,
        }
    }
}

fn failure(when: &str) -> DeliveryError {
    DeliveryError::new(DeliveryErrorKind::Unavailable, format!("the flaky sink fails {when} delivering"))
}

#[async_trait]
impl<S: Component> Component for FlakySink<S> {
    fn name(&self) -> &str {
        self.inner.name()
    }

    async fn probe(&self) -> Health {
        self.inner.probe().await
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.inner.close().await
    }
}

#[async_trait]
impl<S: LogSink> LogSink for FlakySink<S> {
    fn profile(&self) -> SinkProfile {
        self.inner.profile()
    }

    async fn prepare(&self) {
        self.inner.prepare().await;
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        match self.fate() {
            Fate::FailBefore => Err(failure("before")),
            Fate::Pass => self.inner.deliver(batch).await,
            Fate::FailAfter => self.inner.deliver(batch).await.and(Err(failure("after"))),
        }
    }

    async fn abandon(&self) {
        self.inner.abandon().await;
    }
}

#[async_trait]
impl<S: EventSink> EventSink for FlakySink<S> {
    fn profile(&self) -> SinkProfile {
        self.inner.profile()
    }

    async fn prepare(&self) {
        self.inner.prepare().await;
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        match self.fate() {
            Fate::FailBefore => Err(failure("before")),
            Fate::Pass => self.inner.deliver(batch).await,
            Fate::FailAfter => self.inner.deliver(batch).await.and(Err(failure("after"))),
        }
    }

    async fn abandon(&self) {
        self.inner.abandon().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemorySink;

    #[test]
    fn a_seed_gives_all_three_fates_and_always_the_same() {
        let fates = || {
            let flaky = FlakySink::new(MemorySink::new("m"), 4, 7);
            (0..1_000).map(|_| flaky.fate()).collect::<Vec<_>>()
        };
        let count = |fate| fates().iter().filter(|seen| **seen == fate).count();
        assert_eq!(fates(), fates());
        assert!((80..170).contains(&count(Fate::FailBefore)), "{}", count(Fate::FailBefore));
        assert!((80..170).contains(&count(Fate::FailAfter)), "{}", count(Fate::FailAfter));
    }
}
