//! The list of properties of a source, and how one is checked.
//!
//! Owns names, order (simple ones first) and the verdicts. Left out: what each property does. Invariant: a panic of the
//! source is a violation of the property under test, and a skip is always announced.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use thiserror::Error;

use super::harness::SourceHarness;
use super::{faults, reporting, watching};
use crate::property::{Outcome, Verdict, in_test, panic_text};

/// One promise of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SourceProperty {
    /// The first item of a watch is a reset, even when nothing is there.
    FirstReset,
    /// A reset has every entry once, in the order of revisions.
    Listed,
    /// Each change after it is seen: a key written, written again, removed.
    Follows,
    /// Changes made without a pause are told in order, each once.
    Ordered,
    /// Keys of others are not told, however similar.
    Scope,
    /// Keys and values arrive to the byte: non-UTF-8, NUL, empty, 1 MiB.
    ExactBytes,
    /// A watch goes on where an earlier one ended, without loss or repetition.
    Resume,
    /// When that moment is not known any more, or not yet, it begins with a reset.
    HistoryGone,
    /// A result and its story are stored under their keys, to the byte.
    Reported,
    /// The same result again changes nothing.
    Idempotent,
    /// A lower revision is never written over a higher one.
    Monotonic,
    /// `-1` and `-2` are written over anything, and anything over them.
    FinalWords,
    /// What is stored is read back; what does not exist is told from what is empty.
    ReadBack,
    /// A note is written only over the value that was looked at; of many writers one wins.
    Swapped,
    /// Reports and watches do not wait for each other.
    ReportWhileWatching,
    /// A lease is told with its entry, and how long it lasts.
    Lease,
    /// While the store is absent every call says so in time.
    AbsentStore,
    /// The same object works again once the store is back.
    Recovery,
    /// A call or a watch dropped at any point loses nothing and blocks nothing.
    Cancellation,
    /// Closing twice is fine, and a closed source claims nothing.
    CloseTwice,
    /// Secrets appear in no error, probe or debug text.
    SecretsHidden,
}

impl SourceProperty {
    /// All, in the order in which they build on each other.
    pub const ALL: [Self; 21] = [
        Self::FirstReset,
        Self::Listed,
        Self::Follows,
        Self::Ordered,
        Self::Scope,
        Self::ExactBytes,
        Self::Resume,
        Self::HistoryGone,
        Self::Reported,
        Self::Idempotent,
        Self::Monotonic,
        Self::FinalWords,
        Self::ReadBack,
        Self::Swapped,
        Self::ReportWhileWatching,
        Self::Lease,
        Self::AbsentStore,
        Self::Recovery,
        Self::Cancellation,
        Self::CloseTwice,
        Self::SecretsHidden,
    ];
}

impl fmt::Display for SourceProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The property does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{property} does not hold: {finding}")]
pub struct SourceViolation {
    /// Which one.
    pub property: SourceProperty,
    /// What was seen.
    pub finding: String,
}

/// Checks one property. The harness must be fresh.
///
/// # Errors
/// [`SourceViolation`] when the property does not hold.
///
/// # Cancel safety
/// May be dropped; the harness is then in an unknown state.
pub async fn check_source(
    property: SourceProperty,
    harness: &dyn SourceHarness,
) -> Result<Verdict, SourceViolation> {
    let violation = |finding| SourceViolation { property, finding };
    match AssertUnwindSafe(try_property(property, harness)).catch_unwind().await {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => Err(violation(format!("the source panicked: {}", panic_text(panic.as_ref())))),
    }
}

async fn try_property(property: SourceProperty, harness: &dyn SourceHarness) -> Outcome {
    match property {
        SourceProperty::FirstReset => watching::first_reset(harness).await,
        SourceProperty::Listed => watching::listed(harness).await,
        SourceProperty::Follows => watching::follows(harness).await,
        SourceProperty::Ordered => watching::ordered(harness).await,
        SourceProperty::Scope => watching::scope(harness).await,
        SourceProperty::ExactBytes => watching::exact_bytes(harness).await,
        SourceProperty::Resume => watching::resume(harness).await,
        SourceProperty::HistoryGone => watching::history_gone(harness).await,
        SourceProperty::Reported => reporting::reported(harness).await,
        SourceProperty::Idempotent => reporting::idempotent(harness).await,
        SourceProperty::Monotonic => reporting::monotonic(harness).await,
        SourceProperty::FinalWords => reporting::final_words(harness).await,
        SourceProperty::ReadBack => reporting::read_back(harness).await,
        SourceProperty::Swapped => reporting::swapped(harness).await,
        SourceProperty::ReportWhileWatching => reporting::report_while_watching(harness).await,
        SourceProperty::Lease => watching::lease(harness).await,
        SourceProperty::AbsentStore => faults::absent_store(harness).await,
        SourceProperty::Recovery => faults::recovery(harness).await,
        SourceProperty::Cancellation => faults::cancellation(harness).await,
        SourceProperty::CloseTwice => faults::close_twice(harness).await,
        SourceProperty::SecretsHidden => faults::secrets_hidden(harness).await,
    }
}

/// The first violation in the order of [`SourceProperty::ALL`], which is the simplest one; later ones often follow from it.
///
/// # Cancel safety
/// May be dropped; nothing outlives the call but what the harnesses leave.
pub async fn first_source_violation<H: SourceHarness>(fresh: impl Fn() -> H) -> Option<SourceViolation> {
    for property in SourceProperty::ALL {
        if let Err(violation) = check_source(property, &fresh()).await {
            return Some(violation);
        }
    }
    None
}

/// The body of a generated test: runs the property on a runtime of its own.
///
/// # Panics
/// When the property does not hold: that is how a test fails.
pub fn check_source_in_test<H: SourceHarness>(property: SourceProperty, fresh: impl FnOnce() -> H) {
    in_test(&property.to_string(), async { check_source(property, &fresh()).await });
}
