//! The sink under test, the same for both classes.
//!
//! Owns the choice of the class and the deadline of every call. Invariant: a call that does not end in time is a
//! finding, never a hanging test.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{
    Batch, Class, CloseError, Component, DeliveryError, EventSink, Health, LogSink, Sink, SinkProfile,
    Undelivered,
};

use crate::Sample;

#[derive(Clone)]
enum Side {
    Logs(Arc<dyn LogSink>),
    Events(Arc<dyn EventSink>),
}

/// One side of a sink.
#[derive(Clone)]
pub struct Subject {
    side: Side,
    /// No call may take longer.
    patience: Duration,
}

impl Subject {
    /// The side for that class, and how long a call may take; `None` when the sink has no such side.
    #[must_use]
    pub fn of(sink: Sink, class: Class, patience: Duration) -> Option<Self> {
        let side = match class {
            Class::Log => Side::Logs(sink.logs?),
            Class::Event => Side::Events(sink.events?),
        };
        Some(Self { side, patience })
    }

    /// Delivers the samples as one batch. No deadline.
    ///
    /// # Errors
    /// What the sink answers.
    ///
    /// # Cancel safety
    /// As the sink's.
    pub async fn deliver(&self, samples: &[Sample]) -> Result<(), DeliveryError> {
        let bytes = samples.iter().map(|sample| sample.body.len()).sum();
        match &self.side {
            Side::Logs(sink) => {
                sink.deliver(&Batch::new(samples.iter().map(Sample::log).collect(), bytes)).await
            }
            Side::Events(sink) => {
                sink.deliver(&Batch::new(samples.iter().map(Sample::event).collect(), bytes)).await
            }
        }
    }

    /// Delivers and waits no longer than the suite's patience.
    pub(crate) async fn attempt(&self, samples: &[Sample]) -> Result<Result<(), DeliveryError>, String> {
        self.in_time("deliver", self.deliver(samples)).await
    }

    /// Delivers until nothing is undelivered, as the engine would: the rest again, in order.
    pub(crate) async fn insist(&self, samples: &[Sample]) -> Result<(), String> {
        let mut rest = samples.to_vec();
        let retries = async {
            loop {
                let Err(error) = self.deliver(&rest).await else {
                    return Ok(());
                };
                rest = undelivered(&error, &rest)?;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        self.in_time("retrying", retries).await?
    }

    /// Limits and promises.
    #[must_use]
    pub fn profile(&self) -> SinkProfile {
        match &self.side {
            Side::Logs(sink) => sink.profile(),
            Side::Events(sink) => sink.profile(),
        }
    }

    pub(crate) fn name(&self) -> String {
        self.component().name().to_owned()
    }

    pub(crate) async fn probe(&self) -> Result<Health, String> {
        self.in_time("probe", self.component().probe()).await
    }

    pub(crate) async fn close(&self) -> Result<Result<(), CloseError>, String> {
        self.in_time("close", self.component().close()).await
    }

    async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T, String> {
        let limit = self.patience;
        tokio::time::timeout(limit, call).await.map_err(|_| format!("{what} did not end within {limit:?}"))
    }

    fn component(&self) -> &dyn Component {
        match &self.side {
            Side::Logs(sink) => sink.as_ref(),
            Side::Events(sink) => sink.as_ref(),
        }
    }
}

/// The records an error names; a position outside the batch, or named twice, is a finding.
pub(crate) fn undelivered(error: &DeliveryError, samples: &[Sample]) -> Result<Vec<Sample>, String> {
    match error.undelivered() {
        Undelivered::All => Ok(samples.to_vec()),
        Undelivered::Only(positions) => {
            let ascending = positions.windows(2).all(|pair| pair.first() < pair.last());
            if !ascending || positions.is_empty() {
                return Err(format!("undelivered positions are not an ascending list: {positions:?}"));
            }
            let pick = |position: &usize| samples.get(*position).cloned();
            positions.iter().map(pick).collect::<Option<Vec<_>>>().ok_or_else(|| {
                format!("undelivered positions {positions:?} lie outside the batch of {}", samples.len())
            })
        }
    }
}
