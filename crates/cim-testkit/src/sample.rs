//! A record to test with.
//!
//! Owns its content and its two forms. Invariant: a sample's number is in its content, so that every sample of a
//! test shows differently to the reader.

use std::borrow::Cow;

use cim_core::{Event, LogRecord, Meta};
use cim_wire::{Log, Pair};

/// A record that owns its content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Its sequence number.
    pub seq: u64,
    /// Name of the container it comes from: its source.
    pub container: String,
    /// The payload of a log line, a value of an event.
    pub body: Vec<u8>,
}

impl Sample {
    /// A short ASCII record.
    #[must_use]
    pub fn numbered(seq: u64, container: &str) -> Self {
        Self { seq, container: container.to_owned(), body: format!("{container} says {seq:06}").into_bytes() }
    }

    /// A record with these bytes after its number.
    #[must_use]
    pub fn with_body(seq: u64, container: &str, body: &[u8]) -> Self {
        let mut bytes = format!("{seq:06} ").into_bytes();
        bytes.extend_from_slice(body);
        Self { seq, container: container.to_owned(), body: bytes }
    }

    fn meta(&self) -> Meta {
        Meta { seq: self.seq, epoch: 1, arrived_ms: 1_600_000_000_000 + self.seq, redelivered: false }
    }

    /// The record as a log line.
    #[must_use]
    pub fn log(&self) -> LogRecord<'_> {
        let log = Log {
            container_id: Cow::Borrowed(b"c0ffee"),
            container_name: Cow::Borrowed(self.container.as_bytes()),
            payload: Some(Cow::Borrowed(&self.body)),
        };
        LogRecord { meta: self.meta(), headers: None, log }
    }

    /// The record as an event.
    #[must_use]
    pub fn event(&self) -> Event<'_> {
        let body = Pair { name: Cow::Borrowed(b"body"), value: Some(Cow::Borrowed(&self.body)) };
        let event = cim_wire::Event {
            event_name: Cow::Borrowed(b"SampleRaised"),
            event_time: i64::try_from(self.seq).unwrap_or(i64::MAX),
            container_id: Cow::Borrowed(self.container.as_bytes()),
            additional_info: Some(vec![body]),
            ..cim_wire::Event::default()
        };
        Event { meta: self.meta(), headers: None, event }
    }
}
