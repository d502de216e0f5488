//! The list of properties of an orchestrator, and how one is checked.
//!
//! Owns names, order (simple ones first) and the verdicts. Left out: what each property does. Invariant: a panic of the
//! orchestrator is a violation of the property under test, and a skip is always announced.

use std::fmt;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt as _;
use thiserror::Error;

use super::harness::OrchestratorHarness;
use super::properties::{self, Trial};
use crate::property::{Outcome, Verdict, in_test, panic_text};

/// One promise of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OrchestratorProperty {
    /// The pod is told exactly, and from memory once it was read.
    Identity,
    /// Neighbours are found by their label, and nobody by one that nobody has.
    Neighbours,
    /// A document is read exactly; one that does not exist is none.
    Documents,
    /// A document is made once; the second time changes nothing and says so.
    CreateOnce,
    /// A restart concerns this very pod, and no other of the same name.
    Restart,
    /// While it is absent every call says so in time, and a notice keeps nobody.
    Absent,
    /// The same object works again once it is back.
    Recovery,
    /// A call dropped at any point blocks nothing.
    Cancellation,
    /// Closing twice is fine.
    CloseTwice,
    /// Secrets appear in no error, probe or debug text.
    SecretsHidden,
}

impl OrchestratorProperty {
    /// All, in the order in which they build on each other.
    pub const ALL: [Self; 10] = [
        Self::Identity,
        Self::Neighbours,
        Self::Documents,
        Self::CreateOnce,
        Self::Restart,
        Self::Absent,
        Self::Recovery,
        Self::Cancellation,
        Self::CloseTwice,
        Self::SecretsHidden,
    ];
}

impl fmt::Display for OrchestratorProperty {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The property does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{property} does not hold: {finding}")]
pub struct OrchestratorViolation {
    /// Which one.
    pub property: OrchestratorProperty,
    /// What was seen.
    pub finding: String,
}

/// Checks one property. The harness must be fresh.
///
/// # Errors
/// [`OrchestratorViolation`] when the property does not hold.
///
/// # Cancel safety
/// May be dropped; the harness is then in an unknown state.
pub async fn check_orchestrator(
    property: OrchestratorProperty,
    harness: &dyn OrchestratorHarness,
) -> Result<Verdict, OrchestratorViolation> {
    let violation = |finding| OrchestratorViolation { property, finding };
    match AssertUnwindSafe(try_property(property, harness)).catch_unwind().await {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => Err(violation(format!("the orchestrator panicked: {}", panic_text(panic.as_ref())))),
    }
}

async fn try_property(property: OrchestratorProperty, harness: &dyn OrchestratorHarness) -> Outcome {
    let trial = Trial::new(harness);
    match property {
        OrchestratorProperty::Identity => properties::identity(trial).await,
        OrchestratorProperty::Neighbours => properties::neighbours(trial).await,
        OrchestratorProperty::Documents => properties::documents(trial).await,
        OrchestratorProperty::CreateOnce => properties::create_once(trial).await,
        OrchestratorProperty::Restart => properties::restart(trial).await,
        OrchestratorProperty::Absent => properties::absent(trial).await,
        OrchestratorProperty::Recovery => properties::recovery(trial).await,
        OrchestratorProperty::Cancellation => properties::cancellation(trial).await,
        OrchestratorProperty::CloseTwice => properties::close_twice(trial).await,
        OrchestratorProperty::SecretsHidden => properties::secrets_hidden(trial).await,
    }
}

/// The first violation in the order of [`OrchestratorProperty::ALL`], which is the simplest one.
///
/// # Cancel safety
/// May be dropped; nothing outlives the call but what the harnesses leave.
pub async fn first_orchestrator_violation<H: OrchestratorHarness>(
    fresh: impl Fn() -> H,
) -> Option<OrchestratorViolation> {
    for property in OrchestratorProperty::ALL {
        if let Err(violation) = check_orchestrator(property, &fresh()).await {
            return Some(violation);
        }
    }
    None
}

/// The body of a generated test: runs the property on a runtime of its own.
///
/// # Panics
/// When the property does not hold: that is how a test fails.
pub fn check_orchestrator_in_test<H: OrchestratorHarness>(
    property: OrchestratorProperty,
    fresh: impl FnOnce() -> H,
) {
    in_test(&property.to_string(), async { check_orchestrator(property, &fresh()).await });
}
