//! What can go wrong in a bench: one error type for generator, checker, servers and benches.
//!
//! Leaves out findings of the checker: those are results, not errors. Display says only this level; `source()` has the rest.

use std::io;

/// Result of anything in this crate.
pub type Result<T> = std::result::Result<T, BenchError>;

/// Why a bench, a generator or a check could not do its work.
#[derive(Debug, thiserror::Error)]
pub enum BenchError {
    /// An operating system call failed.
    #[error("{what}")]
    Io {
        /// What was attempted, as a noun phrase.
        what: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// A capture could not be read.
    #[error(transparent)]
    Capture(#[from] cim_verify::CaptureError),
    /// The Kafka client library gave up.
    #[error("{what}")]
    Kafka {
        /// What was attempted.
        what: String,
        /// Its answer.
        #[source]
        source: rdkafka::error::KafkaError,
    },
    /// etcd did not do as asked.
    #[error("{what}")]
    Etcd {
        /// What was attempted.
        what: &'static str,
        /// Its answer.
        #[source]
        source: Box<etcd_client::Error>,
    },
    /// The peer said something a NATS or HTTP server does not say.
    #[error("unexpected answer: {0}")]
    Protocol(String),
    /// Something did not happen before its deadline.
    #[error("{what} not reached within {seconds} s")]
    Deadline {
        /// What was waited for.
        what: String,
        /// How long, seconds.
        seconds: u64,
    },
    /// The run is not clean, so it has no figure.
    #[error("unclean run: {0}")]
    Unclean(String),
    /// The request itself makes no sense.
    #[error("{0}")]
    Invalid(String),
}

impl BenchError {
    /// Wraps an I/O error with what was attempted; for `map_err`.
    pub fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }

    /// The error and its causes on one line, for people.
    #[must_use]
    pub fn chain(&self) -> String {
        cim_core::chain(self)
    }
}
