//! The list of properties of a feed, and how one is checked.
//!
//! Owns names, order (simple ones first) and the verdicts. Left out: what each property does. Invariant: a panic of the
//! source is a violation of the property under test, and a skip is always announced.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use thiserror::Error;

use super::harness::FeedHarness;
use super::properties;
use crate::property::{Outcome, Verdict, in_test, panic_text};

/// One promise of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FeedProperty {
    /// The place where reading begins is fixed when opening ends.
    Beginning,
    /// Records come in their order, each once.
    Order,
    /// Values and headers arrive to the byte, each with its own record.
    ExactBytes,
    /// A reader goes on behind what was committed.
    Resume,
    /// What was not committed is read again.
    Uncommitted,
    /// What is not kept is not handed out, and counts as read.
    LeftOut,
    /// A rest costs no record.
    Rest,
    /// Without a broker opening says so in time, and works later.
    Absent,
    /// A lost connection costs a reader nothing but time.
    Recovery,
    /// A call dropped at any point loses nothing.
    Cancellation,
    /// Closing ends, and closing twice is fine.
    CloseTwice,
    /// Secrets appear in no error, probe or debug text.
    SecretsHidden,
}

impl FeedProperty {
    /// All, in the order in which they build on each other.
    pub const ALL: [Self; 12] = [
        Self::Beginning,
        Self::Order,
        Self::ExactBytes,
        Self::Resume,
        Self::Uncommitted,
        Self::LeftOut,
        Self::Rest,
        Self::Absent,
        Self::Recovery,
        Self::Cancellation,
        Self::CloseTwice,
        Self::SecretsHidden,
    ];
}

impl fmt::Display for FeedProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The property does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{property} does not hold: {finding}")]
pub struct FeedViolation {
    /// Which one.
    pub property: FeedProperty,
    /// What was seen.
    pub finding: String,
}

/// Checks one property. The harness must be fresh.
///
/// # Errors
/// [`FeedViolation`] when the property does not hold.
///
/// # Cancel safety
/// May be dropped; the harness is then in an unknown state.
pub async fn check_feed(property: FeedProperty, harness: &dyn FeedHarness) -> Result<Verdict, FeedViolation> {
    let violation = |finding| FeedViolation { property, finding };
    match AssertUnwindSafe(try_property(property, harness)).catch_unwind().await {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => Err(violation(format!("the source panicked: {}", panic_text(panic.as_ref())))),
    }
}

async fn try_property(property: FeedProperty, harness: &dyn FeedHarness) -> Outcome {
    match property {
        FeedProperty::Beginning => properties::beginning(harness).await,
        FeedProperty::Order => properties::order(harness).await,
        FeedProperty::ExactBytes => properties::exact_bytes(harness).await,
        FeedProperty::LeftOut => properties::left_out(harness).await,
        FeedProperty::Resume => properties::resume(harness).await,
        FeedProperty::Uncommitted => properties::uncommitted(harness).await,
        FeedProperty::Rest => properties::rest(harness).await,
        FeedProperty::Absent => properties::absent(harness).await,
        FeedProperty::Recovery => properties::recovery(harness).await,
        FeedProperty::Cancellation => properties::cancellation(harness).await,
        FeedProperty::CloseTwice => properties::close_twice(harness).await,
        FeedProperty::SecretsHidden => properties::secrets_hidden(harness).await,
    }
}

/// The first violation in the order of [`FeedProperty::ALL`], which is the simplest one; later ones often follow from it.
///
/// # Cancel safety
/// May be dropped; nothing outlives the call but what the harnesses leave.
pub async fn first_feed_violation<H: FeedHarness>(fresh: impl Fn() -> H) -> Option<FeedViolation> {
    for property in FeedProperty::ALL {
        if let Err(violation) = check_feed(property, &fresh()).await {
            return Some(violation);
        }
    }
    None
}

/// The body of a generated test: runs the property on a runtime of its own.
///
/// # Panics
/// When the property does not hold: that is how a test fails.
pub fn check_feed_in_test<H: FeedHarness>(property: FeedProperty, fresh: impl FnOnce() -> H) {
    in_test(&property.to_string(), async { check_feed(property, &fresh()).await });
}
