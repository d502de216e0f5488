//! Dead letters as documents, for people and programs.
//!
//! Left out: the store. The invariant: a payload is shown as text only when it is text; everything else is hex.

use std::fmt::Write;

use cim_core::Class;
use cim_core::deadletter::{Letter, Origin};
use serde_json::{Value, json};

/// The document of a letter.
#[must_use]
pub fn document(letter: &Letter) -> Value {
    let payload = letter.payload();
    let class = match letter.origin {
        Origin::Queue(Class::Log) => "logs",
        Origin::Queue(Class::Event) => "events",
        Origin::Subscription => "notifications",
    };
    let mut document = json!({
        "seq": letter.seq,
        "class": class,
        "route": letter.route,
        "reason": letter.reason,
        "error": letter.error,
        "arrived_ms": letter.arrived_ms(),
        "bytes": payload.len(),
    });
    let readable = |text: &&str| !text.contains(|c: char| c.is_control() && !c.is_whitespace());
    let (key, value) = match std::str::from_utf8(payload).ok().filter(readable) {
        Some(text) => ("payload", text.to_owned()),
        None => ("payload_hex", hex(payload)),
    };
    if let Some(members) = document.as_object_mut() {
        members.insert(key.to_owned(), Value::String(value));
    }
    document
}

/// Bytes as hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
