//! How a record of either class looks on its topic: key, value, source (wire contract §7.1, §7.3, §8.2, §8.5).
//!
//! Left out: partition and headers. Invariant: the value of a log record is never null, not even when the application
//! left the payload out: on a compacted topic null would delete.

use cim_core::{Event, Identity, LogFormat, LogRecord, Record};
use cim_wire::{EventEncoder, LogEncoder, OWN_EVENT_KEY, event_key};

use crate::partition::Key;

/// What the records of one pod are made with.
#[derive(Debug)]
pub(crate) struct Encoders {
    logs: LogEncoder,
    events: EventEncoder,
    event_key: Key,
    own_event_key: Key,
}

impl Encoders {
    pub(crate) fn new(identity: &Identity, format: LogFormat) -> Self {
        let tmaas = &identity.tmaas;
        Self {
            logs: LogEncoder::new(&identity.log_context(), format),
            events: identity.event_encoder(),
            event_key: Key::new(event_key(&tmaas.nf_type, &tmaas.xgvela_id, &tmaas.nf_id)),
            own_event_key: Key::new(OWN_EVENT_KEY.to_owned()),
        }
    }
}

/// A record that can be sent.
pub(crate) trait Outgoing: Record {
    /// Appends its value.
    fn encode(&self, encoders: &Encoders, value: &mut Vec<u8>);

    /// Its key, which decides the partition.
    fn key<'e>(&self, encoders: &'e Encoders) -> Option<&'e Key>;

    /// Name and id of the container it comes from.
    fn source(&self) -> (&[u8], &[u8]);

    /// Header block of the message it came in.
    fn received_headers(&self) -> Option<&[u8]>;
}

impl Outgoing for LogRecord<'_> {
    fn encode(&self, encoders: &Encoders, value: &mut Vec<u8>) {
        encoders.logs.encode(&self.log, value);
    }

    fn key<'e>(&self, _: &'e Encoders) -> Option<&'e Key> {
        None
    }

    fn source(&self) -> (&[u8], &[u8]) {
        (&self.log.container_name, &self.log.container_id)
    }

    fn received_headers(&self) -> Option<&[u8]> {
        self.headers
    }
}

impl Outgoing for Event<'_> {
    fn encode(&self, encoders: &Encoders, value: &mut Vec<u8>) {
        encoders.events.encode(&self.event, value);
    }

    fn key<'e>(&self, encoders: &'e Encoders) -> Option<&'e Key> {
        Some(if self.event.own { &encoders.own_event_key } else { &encoders.event_key })
    }

    fn source(&self) -> (&[u8], &[u8]) {
        (&self.event.container_id, &[])
    }

    fn received_headers(&self) -> Option<&[u8]> {
        self.headers
    }
}
