//! What a publisher that gave a reply subject is told, in the shape of a JetStream acknowledgement.
//!
//! Left out: when it is told. The invariant: either text is one JSON object, whatever the reason says.

use crate::Class;

/// `err_code` of a refusal: that of JetStream for a message that could not be stored.
const NOT_STORED: u32 = 10_077;

/// The message of that number in its class is safe at that level.
#[must_use]
pub fn accepted(class: Class, seq: u64, level: &str) -> String {
    format!("{{\"stream\":\"{}\",\"seq\":{seq},\"level\":\"{level}\"}}", stream(class))
}

/// The message is not taken.
#[must_use]
pub fn refused(class: Class, reason: &str) -> String {
    let reason: String = reason.chars().filter(|c| !matches!(c, '"' | '\\') && !c.is_control()).collect();
    format!(
        "{{\"error\":{{\"code\":400,\"err_code\":{NOT_STORED},\"description\":\"{reason}\"}},\"stream\":\"{}\"}}",
        stream(class)
    )
}

const fn stream(class: Class) -> &'static str {
    match class {
        Class::Log => "LOG",
        Class::Event => "EVENT",
    }
}
