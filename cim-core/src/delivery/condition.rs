//! How the delivery of one route member is doing, for the status page and the books.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;

/// What a worker is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum DeliveryState {
    /// Deliveries succeed, or there is nothing to deliver.
    Ready,
    /// The last attempt failed and is being repeated.
    Retrying,
    /// The sink refuses until somebody changes something; tried again slowly.
    Suspended,
    /// The fallback is used.
    Fallback,
}

/// A copy of the condition at one moment.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct DeliveryStatus {
    /// What the worker is doing.
    pub state: DeliveryState,
    /// Since when, milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// Text of the last failure.
    pub last_error: Option<String>,
    /// Failures in a row.
    pub attempts: u32,
    /// How often deliveries have begun to fail.
    pub outages: u64,
    /// When the next attempt is due, milliseconds since the Unix epoch.
    pub next_try_ms: Option<u64>,
    /// Arrival of the oldest record being delivered, milliseconds since the Unix epoch; stale when nothing is held.
    pub oldest_ms: u64,
}

/// Written by the worker, read by everybody.
#[derive(Debug)]
pub(crate) struct Condition {
    status: Mutex<(DeliveryStatus, Option<Instant>)>,
}

impl Condition {
    pub(crate) fn new() -> Self {
        let status = DeliveryStatus {
            state: DeliveryState::Ready,
            since_ms: clock::now_ms(),
            last_error: None,
            attempts: 0,
            outages: 0,
            next_try_ms: None,
            oldest_ms: 0,
        };
        Self { status: Mutex::new((status, None)) }
    }

    pub(crate) fn status(&self) -> DeliveryStatus {
        self.with(|(status, _)| status.clone())
    }

    /// A run that starts with a record of that arrival is next.
    pub(crate) fn heads(&self, arrived_ms: u64) {
        self.with(|(status, _)| status.oldest_ms = arrived_ms);
    }

    /// A delivery succeeded. Returns the state before.
    pub(crate) fn succeeded(&self) -> DeliveryState {
        self.with(|(status, failing)| {
            let before = status.state;
            if before != DeliveryState::Ready {
                status.state = DeliveryState::Ready;
                status.since_ms = clock::now_ms();
            }
            status.attempts = 0;
            status.next_try_ms = None;
            *failing = None;
            before
        })
    }

    /// A delivery failed. Returns the number of failures in a row, and for how long they have lasted.
    pub(crate) fn failed(&self, error: &str) -> (u32, Duration) {
        self.with(|(status, failing)| {
            status.attempts = status.attempts.saturating_add(1);
            status.last_error = Some(error.to_owned());
            status.outages += u64::from(failing.is_none());
            (status.attempts, failing.get_or_insert_with(Instant::now).elapsed())
        })
    }

    /// For how long deliveries have failed; `None` when the last one succeeded.
    pub(crate) fn failing_for(&self) -> Option<Duration> {
        self.with(|(_, failing)| failing.map(|since| since.elapsed()))
    }

    /// The next attempt is due after that pause. Returns whether the state changed.
    pub(crate) fn waits(&self, state: DeliveryState, pause: Duration) -> bool {
        self.with(|(status, _)| {
            let changed = status.state != state;
            if changed {
                status.state = state;
                status.since_ms = clock::now_ms();
            }
            let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            status.next_try_ms = Some(clock::now_ms().saturating_add(pause));
            changed
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut (DeliveryStatus, Option<Instant>)) -> T) -> T {
        work(&mut self.status.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
