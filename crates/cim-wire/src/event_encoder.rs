//! Events as JSON (wire contract §7.1).
//!
//! Owns the members and their order; leaves out the record key (`event_key`). Invariant: consumers of the original
//! find every member where it was; `thresholdInfo` and `monitoredAttributes`, which it forgot, are added.

use crate::{Event, Pair, SourceHeaders, json};

/// Turns events into JSON; the identity is rendered once.
#[derive(Debug, Clone)]
pub struct EventEncoder {
    source_headers: Vec<u8>,
    own_headers: Vec<u8>,
}

impl EventEncoder {
    /// An encoder for events of one identity. Events that CIM raises itself have the same headers.
    #[must_use]
    pub fn new(headers: &SourceHeaders) -> Self {
        let source_headers = rendered(headers);
        Self { own_headers: source_headers.clone(), source_headers }
    }

    /// The same with other headers for events that CIM raises itself (wire contract §7.4).
    #[must_use]
    pub fn with_own(self, headers: &SourceHeaders) -> Self {
        Self { own_headers: rendered(headers), ..self }
    }

    /// Appends the JSON of `event`, without a separator. Empty optional members are left out; `managedObject` is
    /// `null` instead.
    pub fn encode(&self, event: &Event<'_>, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"eventName\":");
        json::push_string(&event.event_name, out);
        out.extend_from_slice(b",\"eventTime\":");
        push_number(event.event_time, out);
        push_text(b",\"eventSourceType\":", &event.event_source_type, out);
        match event.managed_object.as_deref() {
            None | Some([]) => out.extend_from_slice(b",\"managedObject\":null"),
            Some(pairs) => push_list(b",\"managedObject\":", Some(pairs), out),
        }
        push_list(b",\"additionalInfo\":", event.additional_info.as_deref(), out);
        push_list(b",\"thresholdInfo\":", event.threshold_info.as_deref(), out);
        push_list(b",\"monitoredAttributes\":", event.monitored_attributes.as_deref(), out);
        push_list(b",\"stateChangeDefinition\":", event.state_change_definition.as_deref(), out);
        out.extend_from_slice(if event.own { &self.own_headers } else { &self.source_headers });
        out.extend_from_slice(b",\"containerId\":");
        json::push_string(&event.container_id, out);
        push_text(b",\"sourceName\":", &event.source_name, out);
        push_text(b",\"sourceId\":", &event.source_id, out);
        out.push(b'}');
    }
}

fn rendered(headers: &SourceHeaders) -> Vec<u8> {
    let mut json = b",\"sourceHeaders\":".to_vec();
    headers.push_json(&mut json);
    json
}

fn push_number(number: i64, out: &mut Vec<u8>) {
    use std::io::Write as _;
    // Writing to a vector cannot fail.
    let _ = write!(out, "{number}");
}

fn push_text(member: &[u8], content: &[u8], out: &mut Vec<u8>) {
    if !content.is_empty() {
        out.extend_from_slice(member);
        json::push_string(content, out);
    }
}

fn push_list(member: &[u8], pairs: Option<&[Pair<'_>]>, out: &mut Vec<u8>) {
    let Some(pairs) = pairs.filter(|pairs| !pairs.is_empty()) else { return };
    out.extend_from_slice(member);
    let mut separator = b'[';
    for pair in pairs {
        out.push(separator);
        out.extend_from_slice(b"{\"name\":");
        json::push_string(&pair.name, out);
        out.extend_from_slice(b",\"value\":");
        json::push_string(pair.value.as_deref().unwrap_or_default(), out);
        out.push(b'}');
        separator = b',';
    }
    out.push(b']');
}
