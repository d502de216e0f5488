//! How a payload is to be read.
//!
//! Owns the choice between encodings by header or by first bytes; leaves out the decoding. Invariant: a payload
//! that starts like a FlatBuffer of the original is always read as one, unless a header says otherwise.

use crate::{Class, event_json, log_json};

/// The encoding of a stored payload. The numbers are stored on disk and never change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Encoding {
    /// FlatBuffers, the only encoding of the original (wire contract §3.3).
    FlatBuffer = 0,
    /// A JSON object: `{container_name, container_id, log}`, or an event with the members of wire contract §7.1.
    Json = 1,
    /// An event as a CloudEvent in structured JSON mode.
    CloudEvent = 2,
    /// A log as plain UTF-8 text without NUL.
    Text = 3,
}

impl Encoding {
    /// The encoding with this stored number, if there is one.
    #[must_use]
    pub const fn from_u8(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::FlatBuffer),
            1 => Some(Self::Json),
            2 => Some(Self::CloudEvent),
            3 => Some(Self::Text),
            _ => None,
        }
    }

    /// Lower-case name, for messages and listings.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::FlatBuffer => "flatbuffer",
            Self::Json => "json",
            Self::CloudEvent => "cloudevent",
            Self::Text => "text",
        }
    }
}

/// What besides FlatBuffers is accepted. Under the original program's name both are off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SniffRules {
    /// Plain text on LOG is a log line.
    pub text_logs: bool,
    /// JSON and CloudEvents are accepted.
    pub json: bool,
}

impl SniffRules {
    /// FlatBuffers only, as the original.
    pub const FLATBUFFERS_ONLY: Self = Self { text_logs: false, json: false };
    /// Everything this program can read.
    pub const ALL: Self = Self { text_logs: true, json: true };
}

impl Default for SniffRules {
    fn default() -> Self {
        Self::ALL
    }
}

/// How `payload` is to be read: by the `Content-Type` in the NATS header block, else by its first bytes.
///
/// `application/json`, `application/cloudevents+json` and `text/plain` are honoured where the class and `rules`
/// allow them; any other type leaves it to the bytes. A payload that opens with `{` is JSON on EVENT; on LOG it
/// is JSON only when it is exactly the log object, so that an application's own JSON line stays a line of text.
/// What is nothing else is called a FlatBuffer, and decoding it says what is wrong.
#[must_use]
pub fn sniff(class: Class, headers: Option<&[u8]>, payload: &[u8], rules: SniffRules) -> Encoding {
    let declared = headers.and_then(content_type);
    if let Some(encoding) = declared.and_then(|value| by_type(class, value, payload, rules)) {
        return encoding;
    }
    if may_be_flatbuffer(payload) {
        return Encoding::FlatBuffer;
    }
    let text = class == Class::Log && rules.text_logs;
    if rules.json && payload.trim_ascii_start().first() == Some(&b'{') {
        match class {
            Class::Event => return json_event(payload),
            Class::Log if !text || log_json::is_log_object(payload) => return Encoding::Json,
            Class::Log => {}
        }
    }
    if text { Encoding::Text } else { Encoding::FlatBuffer }
}

fn by_type(class: Class, declared: &[u8], payload: &[u8], rules: SniffRules) -> Option<Encoding> {
    let is = |name: &str| declared.eq_ignore_ascii_case(name.as_bytes());
    match class {
        Class::Event if rules.json && is("application/cloudevents+json") => Some(Encoding::CloudEvent),
        Class::Event if rules.json && is("application/json") => Some(json_event(payload)),
        Class::Log if rules.json && is("application/json") => Some(Encoding::Json),
        Class::Log if rules.text_logs && is("text/plain") => Some(Encoding::Text),
        _ => None,
    }
}

fn json_event(payload: &[u8]) -> Encoding {
    if event_json::is_cloud_event(payload) { Encoding::CloudEvent } else { Encoding::Json }
}

/// A FlatBuffer opens with a root offset inside the payload. Text never does below 16 MiB: it has no NUL, and
/// four bytes without NUL are an offset of at least 0x01010101. A NUL among the first four bytes, or no bytes at
/// all, is a broken FlatBuffer.
fn may_be_flatbuffer(payload: &[u8]) -> bool {
    match payload.first_chunk::<4>() {
        Some(root) => (u32::from_le_bytes(*root) as usize) < payload.len() || root.contains(&0),
        None => payload.is_empty() || payload.contains(&0),
    }
}

/// The media type of the first `Content-Type` line of a NATS header block, without parameters.
fn content_type(headers: &[u8]) -> Option<&[u8]> {
    headers.split(|byte| *byte == b'\n').skip(1).find_map(|line| {
        let colon = memchr::memchr(b':', line)?;
        let (name, value) = line.split_at_checked(colon)?;
        if !name.eq_ignore_ascii_case(b"content-type") {
            return None;
        }
        let value = value.strip_prefix(b":")?;
        value.split(|byte| *byte == b';').next().map(<[u8]>::trim_ascii)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(headers: Option<&str>, payload: &[u8]) -> Encoding {
        sniff(Class::Log, headers.map(str::as_bytes), payload, SniffRules::ALL)
    }

    fn event(headers: Option<&str>, payload: &[u8]) -> Encoding {
        sniff(Class::Event, headers.map(str::as_bytes), payload, SniffRules::ALL)
    }

    #[test]
    fn first_bytes_tell_a_log() {
        assert_eq!(log(None, b"hello"), Encoding::Text);
        assert_eq!(log(None, b"hi"), Encoding::Text);
        assert_eq!(log(None, b""), Encoding::FlatBuffer);
        assert_eq!(log(None, &[8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0]), Encoding::FlatBuffer);
        assert_eq!(log(None, &[0xff, 0, 0, 0, 1]), Encoding::FlatBuffer, "bad root, but no text either");
        assert_eq!(log(None, br#" {"log":"x"}"#), Encoding::Json);
        assert_eq!(log(None, br#"{"log":"x","level":"info"}"#), Encoding::Text, "the application's own JSON");
        assert_eq!(log(None, br#"{"log":7}"#), Encoding::Text);
        assert_eq!(log(None, b"{not json"), Encoding::Text);
    }

    #[test]
    fn first_bytes_tell_an_event() {
        assert_eq!(event(None, br#"{"eventName":"x"}"#), Encoding::Json);
        assert_eq!(event(None, br#"{"specversion":"1.0","type":"x"}"#), Encoding::CloudEvent);
        let pair = br#"{"eventName":"x","managedObject":[{"name":"specversion"}]}"#;
        assert_eq!(event(None, pair), Encoding::Json, "a nested mention is no CloudEvent");
        assert_eq!(event(None, b"text"), Encoding::FlatBuffer);
    }

    #[test]
    fn a_header_decides_where_the_class_knows_the_type() {
        let json = Some("NATS/1.0\r\nX: y\r\ncontent-TYPE: application/json; charset=utf-8\r\n\r\n");
        assert_eq!(log(json, br#"{"log":7}"#), Encoding::Json);
        assert_eq!(event(json, br#"{"specversion":"1.0"}"#), Encoding::CloudEvent);
        let text = Some("NATS/1.0\r\nContent-Type: text/plain\r\n\r\n");
        assert_eq!(log(text, br#"{"log":"x"}"#), Encoding::Text);
        assert_eq!(event(text, br#"{"eventName":"x"}"#), Encoding::Json, "no text events");
        let cloud = Some("NATS/1.0\r\nContent-Type:application/cloudevents+json\r\n\r\n");
        assert_eq!(event(cloud, b"{}"), Encoding::CloudEvent);
        assert_eq!(log(cloud, b"hello"), Encoding::Text);
        assert_eq!(
            log(Some("Content-Type: text/plain"), &[8, 0, 0, 0, 4, 0, 4, 0, 4, 0, 0, 0]),
            Encoding::FlatBuffer
        );
    }

    #[test]
    fn rules_turn_the_newer_encodings_off() {
        let json = b"NATS/1.0\r\nContent-Type: application/json\r\n\r\n".as_slice();
        let rules = SniffRules::FLATBUFFERS_ONLY;
        for payload in [b"hello".as_slice(), br#"{"log":"x"}"#] {
            assert_eq!(sniff(Class::Log, Some(json), payload, rules), Encoding::FlatBuffer);
            assert_eq!(sniff(Class::Event, Some(json), payload, rules), Encoding::FlatBuffer);
        }
        let no_text = SniffRules { text_logs: false, json: true };
        assert_eq!(sniff(Class::Log, None, br#"{"a":1}"#, no_text), Encoding::Json);
        let no_json = SniffRules { text_logs: true, json: false };
        assert_eq!(sniff(Class::Log, None, br#"{"log":"x"}"#, no_json), Encoding::Text);
    }

    #[test]
    fn stored_numbers_lead_back_to_their_encoding() {
        for encoding in [Encoding::FlatBuffer, Encoding::Json, Encoding::CloudEvent, Encoding::Text] {
            assert_eq!(Encoding::from_u8(encoding as u8), Some(encoding));
        }
        assert_eq!(Encoding::from_u8(4), None);
    }
}
