//! Limits on what one payload may become.
//!
//! Owns the numbers and the running account of one decode; leaves out the size of the payload itself, which the
//! listener limits. Invariant: a message whose parts do not overlap is never refused for its bytes.

use crate::flatbuffer::Fault;

/// Most bytes of field content (names and values of pairs included) that one message may decode to: 8 MiB, or
/// the size of the payload when that is larger. Only a FlatBuffer that refers to the same string many times can
/// pass it (wire contract §3.3). JSON escaping of the output can grow the content by at most six times.
pub const MAX_APPARENT_BYTES: usize = 8 * 1024 * 1024;

/// Most pairs in one event, all lists together.
pub const MAX_PAIRS: usize = 65_536;

/// Largest payload read as JSON: 8 MiB.
pub const MAX_JSON_BYTES: usize = 8 * 1024 * 1024;

/// Deepest nesting of objects and arrays in a JSON payload.
pub const MAX_JSON_DEPTH: usize = 64;

/// What the rest of one message may still take.
#[derive(Debug)]
pub(crate) struct Budget {
    bytes: usize,
    pairs: usize,
}

impl Budget {
    pub(crate) fn for_payload(length: usize) -> Self {
        Self { bytes: MAX_APPARENT_BYTES.max(length), pairs: MAX_PAIRS }
    }

    /// Takes `count` bytes of content.
    #[inline]
    pub(crate) fn take_bytes(&mut self, count: usize) -> Result<(), Fault> {
        self.bytes = self.bytes.checked_sub(count).ok_or(Fault::TooLarge)?;
        Ok(())
    }

    /// Takes `count` pairs.
    #[inline]
    pub(crate) fn take_pairs(&mut self, count: usize) -> Result<(), Fault> {
        self.pairs = self.pairs.checked_sub(count).ok_or(Fault::TooLarge)?;
        Ok(())
    }
}
