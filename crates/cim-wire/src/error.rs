//! Why a payload cannot be read.
//!
//! Owns the reasons and their metric labels; leaves out what becomes of the payload. Invariant: every reason is
//! a constant, so a hostile payload cannot invent label values.

use crate::{Class, Encoding};

/// A payload that is not a message of its class.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload ends before a part that it announces.
    #[error("payload ends inside a field")]
    Truncated,
    /// An offset leads out of the payload.
    #[error("offset leads out of the payload")]
    BadOffset,
    /// A vtable is smaller than its own header.
    #[error("vtable is smaller than its header")]
    BadVtable,
    /// The decoded message would pass the limits of [`MAX_APPARENT_BYTES`](crate::MAX_APPARENT_BYTES),
    /// [`MAX_PAIRS`](crate::MAX_PAIRS) or [`MAX_JSON_BYTES`](crate::MAX_JSON_BYTES).
    #[error("decoded message is too large")]
    TooLarge,
    /// JSON nested deeper than [`MAX_JSON_DEPTH`](crate::MAX_JSON_DEPTH).
    #[error("json is nested too deeply")]
    TooDeep,
    /// No JSON, or not the members the message needs.
    #[error("payload is not the expected json")]
    BadJson {
        /// What the JSON reader found, with line and column.
        #[source]
        source: serde_json::Error,
    },
    /// The `time` of a CloudEvent is not an RFC 3339 time.
    #[error("time is not an rfc 3339 timestamp")]
    BadTime,
    /// A text log that is not UTF-8, or holds a NUL.
    #[error("text is not utf-8, or holds a nul")]
    NotText,
    /// The encoding has no meaning for the class, such as a plain-text event.
    #[error("{} is no encoding of a {} message", encoding.as_str(), class.as_str())]
    WrongEncoding {
        /// The class that was asked for.
        class: Class,
        /// The encoding that was asked for.
        encoding: Encoding,
    },
}

impl DecodeError {
    /// A short constant word for metric labels and counters.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Truncated => "truncated",
            Self::BadOffset => "bad_offset",
            Self::BadVtable => "bad_vtable",
            Self::TooLarge => "too_large",
            Self::TooDeep => "too_deep",
            Self::BadJson { .. } => "bad_json",
            Self::BadTime => "bad_time",
            Self::NotText => "not_text",
            Self::WrongEncoding { .. } => "wrong_encoding",
        }
    }
}

impl From<serde_json::Error> for DecodeError {
    fn from(source: serde_json::Error) -> Self {
        Self::BadJson { source }
    }
}
