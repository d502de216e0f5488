//! One entry of a Forward chunk: `[time, record]` in MessagePack.
//!
//! Owns the mapping of records: a log line has the members of its JSON form (wire contract §8.2), an event those of wire contract §7.1. Left
//! out: the message around it. Invariant: no byte of a payload is changed: what is not UTF-8 becomes type `bin`.

use cim_core::{Event, Identity, LogRecord};
use cim_wire::EventEncoder;

/// Makes entries.
#[derive(Debug)]
pub(crate) struct EntryEncoder {
    /// The member `kubernetes` of every log line, ready made.
    kubernetes: Vec<u8>,
    events: EventEncoder,
}

impl EntryEncoder {
    pub(crate) fn new(identity: &Identity) -> Self {
        let mut kubernetes = Vec::new();
        push_text(b"kubernetes", &mut kubernetes);
        push_map(2, &mut kubernetes);
        push_text(b"namespace_name", &mut kubernetes);
        push_text(identity.namespace.as_bytes(), &mut kubernetes);
        push_text(b"pod_name", &mut kubernetes);
        push_text(identity.pod.as_bytes(), &mut kubernetes);
        Self { kubernetes, events: identity.event_encoder() }
    }

    /// Appends a log line; its time is that of its arrival.
    pub(crate) fn push_log(&self, record: &LogRecord<'_>, out: &mut Vec<u8>) {
        push_head(record.meta.arrived_ms, out);
        push_map(3, out);
        push_text(b"container_name", out);
        push_text(&record.log.container_name, out);
        push_text(b"log", out);
        push_text(record.log.text(), out);
        out.extend_from_slice(&self.kubernetes);
    }

    /// Appends an event; its time is its own, or that of its arrival when it has none.
    pub(crate) fn push_event(&self, record: &Event<'_>, out: &mut Vec<u8>) {
        let own = u64::try_from(record.event.event_time).unwrap_or_default();
        push_head(if own == 0 { record.meta.arrived_ms } else { own }, out);
        let mut json = Vec::new();
        self.events.encode(&record.event, &mut json);
        let members: serde_json::Value = serde_json::from_slice(&json).unwrap_or_default();
        // Writing to memory does not fail.
        let _ = rmp_serde::encode::write_named(out, &members);
    }
}

/// The array of an entry and its EventTime: extension type 0, seconds and nanoseconds in 32 bits each.
fn push_head(time_ms: u64, out: &mut Vec<u8>) {
    let seconds = u32::try_from(time_ms / 1000).unwrap_or(u32::MAX);
    let nanoseconds = u32::try_from(time_ms % 1000).unwrap_or_default().saturating_mul(1_000_000);
    let _ = rmp::encode::write_array_len(out, 2);
    let _ = rmp::encode::write_ext_meta(out, 8, 0);
    out.extend_from_slice(&seconds.to_be_bytes());
    out.extend_from_slice(&nanoseconds.to_be_bytes());
}

/// Appends the head of a map. Like everything here, writing to memory does not fail.
pub(crate) fn push_map(members: u32, out: &mut Vec<u8>) {
    let _ = rmp::encode::write_map_len(out, members);
}

/// Appends a string, or bytes where it is not UTF-8.
pub(crate) fn push_text(text: &[u8], out: &mut Vec<u8>) {
    match std::str::from_utf8(text) {
        Ok(text) => drop(rmp::encode::write_str(out, text)),
        Err(_) => drop(rmp::encode::write_bin(out, text)),
    }
}
