//! How the delivery of one route member is doing, for the status page and the books.

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::clock;
use crate::contract::DeliveryErrorKind;

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
    /// Kind of the last failure, by its name in the table of errors.
    pub last_kind: Option<&'static str>,
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

impl DeliveryStatus {
    fn enter(&mut self, state: DeliveryState) {
        if self.state != state {
            self.state = state;
            self.since_ms = clock::now_ms();
        }
    }
}

/// Written by the worker, read by everybody.
#[derive(Debug)]
pub(crate) struct Condition {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    status: DeliveryStatus,
    /// Since when deliveries fail.
    failing: Option<Instant>,
    /// The kind of failure that was told last.
    told: Option<&'static str>,
}

impl Condition {
    pub(crate) fn new() -> Self {
        let status = DeliveryStatus {
            state: DeliveryState::Ready,
            since_ms: clock::now_ms(),
            last_kind: None,
            last_error: None,
            attempts: 0,
            outages: 0,
            next_try_ms: None,
            oldest_ms: 0,
        };
        Self { inner: Mutex::new(Inner { status, failing: None, told: None }) }
    }

    pub(crate) fn status(&self) -> DeliveryStatus {
        self.with(|inner| inner.status.clone())
    }

    pub(crate) fn state(&self) -> DeliveryState {
        self.with(|inner| inner.status.state)
    }

    /// A run that starts with a record of that arrival is next.
    pub(crate) fn heads(&self, arrived_ms: u64) {
        self.with(|inner| inner.status.oldest_ms = arrived_ms);
    }

    /// A delivery succeeded. Returns the state before.
    pub(crate) fn succeeded(&self) -> DeliveryState {
        self.with(|Inner { status, failing, told }| {
            let before = status.state;
            status.enter(DeliveryState::Ready);
            status.attempts = 0;
            status.next_try_ms = None;
            (*failing, *told) = (None, None);
            before
        })
    }

    /// A delivery failed. Returns the number of failures in a row, and for how long they have lasted.
    pub(crate) fn failed(&self, kind: DeliveryErrorKind, error: &str) -> (u32, Duration) {
        self.with(|Inner { status, failing, .. }| {
            status.attempts = status.attempts.saturating_add(1);
            status.last_kind = Some(kind.as_str());
            status.last_error = Some(error.to_owned());
            status.outages += u64::from(failing.is_none());
            (status.attempts, failing.get_or_insert_with(Instant::now).elapsed())
        })
    }

    /// The sink has answered, though with a refusal: a failure that follows is the first of its kind, and soon tried again.
    pub(crate) fn refused(&self) {
        self.with(|inner| inner.status.attempts = 0);
    }

    /// For how long deliveries have failed; `None` when the last one succeeded.
    pub(crate) fn failing_for(&self) -> Option<Duration> {
        self.with(|inner| inner.failing.map(|since| since.elapsed()))
    }

    /// The fallback takes records. When the sink itself is due stays as it was.
    pub(crate) fn falls_back(&self) {
        self.with(|Inner { status, .. }| status.enter(DeliveryState::Fallback));
    }

    /// The next attempt is due after that pause. Returns whether there is news to tell: another state, or another kind of failure.
    pub(crate) fn waits(&self, state: DeliveryState, pause: Duration) -> bool {
        self.with(|Inner { status, told, .. }| {
            let changed = status.state != state;
            status.enter(state);
            let pause = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
            status.next_try_ms = Some(clock::now_ms().saturating_add(pause));
            let another = std::mem::replace(told, status.last_kind) != status.last_kind;
            changed || another
        })
    }

    fn with<T>(&self, work: impl FnOnce(&mut Inner) -> T) -> T {
        work(&mut self.inner.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
