//! Why a delivery failed, in terms the engine can act on.
//!
//! A backend maps its own errors to a [`DeliveryErrorKind`]; what is done about each kind (retry, split, dead letter,
//! suspend) is decided in one place, `delivery::decision`.

use std::error::Error;
use std::fmt;
use std::time::Duration;

/// What kind of failure it was. The engine's reaction depends on nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeliveryErrorKind {
    /// The other side cannot be reached or does not answer. Retried for ever, in order.
    Unavailable,
    /// The other side asks to slow down. Retried after `retry_after`.
    Throttled,
    /// The batch or a record is above a size limit. Split; a single record goes to the dead letters.
    TooLarge,
    /// A record is refused for what it is. Split; a single record goes to the dead letters.
    Rejected,
    /// Credentials are not accepted. Retried slowly, because somebody has to change something.
    Unauthorized,
    /// The target does not exist or the configuration cannot work. Retried slowly.
    Misconfigured,
    /// The sink has been closed. Retried until the engine stops.
    Closed,
}

impl DeliveryErrorKind {
    /// The name used in metrics, status and dead letters.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unavailable => "unavailable",
            Self::Throttled => "throttled",
            Self::TooLarge => "too_large",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
            Self::Misconfigured => "misconfigured",
            Self::Closed => "closed",
        }
    }
}

/// Which records of the batch are not delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Undelivered {
    /// All of them, or it is not known which.
    All,
    /// Exactly these positions in the batch; every other record is delivered.
    Only(Vec<usize>),
}

impl Undelivered {
    /// How many records of a batch of that many are delivered for certain.
    #[must_use]
    pub fn delivered_of(&self, records: usize) -> usize {
        match self {
            Self::All => 0,
            Self::Only(positions) => records.saturating_sub(positions.len()),
        }
    }
}

/// A failed delivery.
#[derive(Debug)]
pub struct DeliveryError {
    kind: DeliveryErrorKind,
    undelivered: Undelivered,
    retry_after: Option<Duration>,
    what: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl DeliveryError {
    /// An error of that kind; `what` completes the sentence "failed to deliver: …", in lower case.
    #[must_use]
    pub fn new(kind: DeliveryErrorKind, what: impl Into<String>) -> Self {
        Self { kind, undelivered: Undelivered::All, retry_after: None, what: what.into(), source: None }
    }

    /// Keeps the underlying error as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// Names the records that are not delivered, by position in the batch.
    #[must_use]
    pub fn only(mut self, positions: Vec<usize>) -> Self {
        self.undelivered = Undelivered::Only(positions);
        self
    }

    /// Asks for a pause before the next attempt.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = Some(pause);
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> DeliveryErrorKind {
        self.kind
    }

    /// The records that are not delivered.
    #[must_use]
    pub fn undelivered(&self) -> &Undelivered {
        &self.undelivered
    }

    /// The pause the other side asked for.
    #[must_use]
    pub fn pause(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl fmt::Display for DeliveryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl Error for DeliveryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.source.as_deref().map(|source| source as &(dyn Error + 'static))
    }
}
