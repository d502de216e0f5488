//! The check intake makes of every message.
//!
//! Owns the entry point only. Invariant: it accepts exactly what `decode` accepts, because both walk the payload
//! with the same reader.

use crate::{Class, DecodeError, Encoding, Event, Log};

/// Says whether `payload` can be decoded; never allocates for FlatBuffers and text.
///
/// # Errors
///
/// The same [`DecodeError`] that decoding would give.
#[inline]
pub fn verify(class: Class, encoding: Encoding, payload: &[u8]) -> Result<(), DecodeError> {
    match class {
        Class::Log => Log::verify(encoding, payload),
        Class::Event => Event::verify(encoding, payload),
    }
}
