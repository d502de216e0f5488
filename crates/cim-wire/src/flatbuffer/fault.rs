//! What can be wrong with a FlatBuffer.
//!
//! Owns the faults the reader meets; leaves out those of other encodings. Invariant: plain and small, so that the
//! reader's checks cost nothing to pass through: [`DecodeError`] owns memory, and dropping it shows on the hot path.

use crate::DecodeError;

/// A fault of the payload, before it becomes a [`DecodeError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// See [`DecodeError::Truncated`].
    Truncated,
    /// See [`DecodeError::BadOffset`].
    BadOffset,
    /// See [`DecodeError::BadVtable`].
    BadVtable,
    /// See [`DecodeError::TooLarge`].
    TooLarge,
}

impl From<Fault> for DecodeError {
    #[cold]
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Truncated => Self::Truncated,
            Fault::BadOffset => Self::BadOffset,
            Fault::BadVtable => Self::BadVtable,
            Fault::TooLarge => Self::TooLarge,
        }
    }
}
