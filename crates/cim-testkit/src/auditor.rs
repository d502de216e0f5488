//! The rules by which the config server's auditor deletes pods (wire contract §4.6).
//!
//! Owns what one look at a result leads to. Left out: the store, the pods and the clock, which a test brings. Invariant: every
//! auditor of the tests judges by these rules.

use cim_core::Commit;

/// Why a pod is deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// It wrote `-1`.
    Failed,
    /// There was no result when the lease of a change ended.
    Missing(i32),
    /// The result was that of an earlier change.
    Behind {
        /// The change whose lease ended.
        change: i32,
        /// The result.
        found: i32,
    },
    /// The result was not a number.
    Unreadable(String),
}

/// What follows for a pod that is there and ready when the lease of a change ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ruling {
    /// Nothing more: `-1` had its consequence when it was written, `-2` has none.
    Nothing,
    /// The result is that of a later change.
    Satisfied,
    /// The result is exactly that of the change: its key is removed.
    Removed,
    /// The pod is deleted.
    Deleted(Death),
}

impl Ruling {
    /// The lease of this change has ended, and the pod has this result.
    #[must_use]
    pub fn at_the_end_of(change: i32, result: Option<&[u8]>) -> Self {
        let Some(result) = result else { return Self::Deleted(Death::Missing(change)) };
        let text = String::from_utf8_lossy(result);
        match text.parse::<i32>() {
            Ok(Commit::FAILED | Commit::UNUSED) => Self::Nothing,
            Ok(found) if found < change => Self::Deleted(Death::Behind { change, found }),
            Ok(found) if found == change => Self::Removed,
            Ok(_) => Self::Satisfied,
            Err(_) => Self::Deleted(Death::Unreadable(text.into_owned())),
        }
    }

    /// A pod has written this result: what does not wait for the end of a lease.
    #[must_use]
    pub fn at_once(result: &[u8]) -> Self {
        if result == b"-1" { Self::Deleted(Death::Failed) } else { Self::Nothing }
    }
}
