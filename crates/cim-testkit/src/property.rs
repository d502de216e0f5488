//! The list of properties and how one is checked.
//!
//! Owns names, order (simple ones first) and the verdicts. Left out: what each property does (`properties`).
//! Invariant: a panic of the sink is a violation of the property under test, and a skip is always announced.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;

use cim_core::Class;
use futures_util::FutureExt as _;
use thiserror::Error;

use crate::properties::{delivery, faults, manners};
use crate::{Harness, Subject, skip};

/// One promise of the contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Property {
    /// Limits are usable, the name is not empty, a probe answers in time.
    ProfileSane,
    /// An empty batch is `Ok` and shows nothing.
    EmptyBatch,
    /// Every record is seen exactly once.
    EachOnce,
    /// Payloads arrive to the byte: non-UTF-8, newlines, NUL, empty, 1 MiB.
    ExactBytes,
    /// Records of one source are seen in order, within a batch and across batches.
    Order,
    /// What counts as durable is there when `Ok` is answered.
    Acknowledged,
    /// A record above the limits is delivered whole or refused as too large, and harms nobody else.
    TooLarge,
    /// While the target is absent a delivery fails in time, with a kind that is retried.
    AbsentTarget,
    /// The same object delivers again once the target is back.
    Recovery,
    /// A target that fails in the middle of a batch: what is not named as undelivered is there.
    CutMidBatch,
    /// A delivery dropped at any await point loses nothing and blocks nothing.
    Cancellation,
    /// Closing twice is fine, and a closed sink never claims a delivery it did not make.
    CloseTwice,
    /// Secrets appear in no error, probe or debug text.
    SecretsHidden,
}

impl Property {
    /// All, in the order in which they build on each other.
    pub const ALL: [Self; 13] = [
        Self::ProfileSane,
        Self::EmptyBatch,
        Self::EachOnce,
        Self::ExactBytes,
        Self::Order,
        Self::Acknowledged,
        Self::TooLarge,
        Self::AbsentTarget,
        Self::Recovery,
        Self::CutMidBatch,
        Self::Cancellation,
        Self::CloseTwice,
        Self::SecretsHidden,
    ];
}

impl fmt::Display for Property {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// The property was not violated.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It holds as far as this test can see.
    Held,
    /// It could not be tried; the text says why.
    Skipped(String),
}

/// The property does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{property} does not hold for {class:?}: {finding}")]
pub struct Violation {
    /// Which one.
    pub property: Property,
    /// For which class.
    pub class: Class,
    /// What was seen.
    pub finding: String,
}

/// What a property's own code answers.
pub(crate) type Outcome = Result<Verdict, String>;

/// Checks one property. The harness must be fresh.
///
/// # Errors
/// [`Violation`] when the property does not hold.
///
/// # Cancel safety
/// May be dropped; the harness is then in an unknown state.
pub async fn check(property: Property, class: Class, harness: &dyn Harness) -> Result<Verdict, Violation> {
    let violation = |finding| Violation { property, class, finding };
    let Some(subject) = Subject::of(harness.build(), class, harness.patience() * 2) else {
        return Err(violation("the harness builds a sink without this class".to_owned()));
    };
    let outcome = AssertUnwindSafe(try_property(property, class, harness, subject)).catch_unwind().await;
    match outcome {
        Ok(outcome) => outcome.map_err(violation),
        Err(panic) => Err(violation(format!("the sink panicked: {}", panic_text(panic.as_ref())))),
    }
}

/// What a panic said.
pub(crate) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default()
}

async fn try_property(property: Property, class: Class, harness: &dyn Harness, subject: Subject) -> Outcome {
    match property {
        Property::ProfileSane => manners::profile_sane(harness, subject).await,
        Property::EmptyBatch => delivery::empty_batch(harness, class, subject).await,
        Property::EachOnce => delivery::each_once(harness, class, subject).await,
        Property::ExactBytes => delivery::exact_bytes(harness, class, subject).await,
        Property::Order => delivery::order(harness, class, subject).await,
        Property::Acknowledged => delivery::acknowledged(harness, class, subject).await,
        Property::TooLarge => delivery::too_large(harness, class, subject).await,
        Property::AbsentTarget => faults::absent_target(harness, subject).await,
        Property::Recovery => faults::recovery(harness, class, subject).await,
        Property::CutMidBatch => faults::cut_mid_batch(harness, class, subject).await,
        Property::Cancellation => faults::cancellation(harness, class, subject).await,
        Property::CloseTwice => manners::close_twice(harness, class, subject).await,
        Property::SecretsHidden => manners::secrets_hidden(harness, subject).await,
    }
}

/// The first violation in the order of [`Property::ALL`], which is the simplest one; later ones often follow from it.
///
/// # Cancel safety
/// May be dropped; nothing outlives the call but what the harnesses leave.
pub async fn first_violation<H: Harness>(class: Class, fresh: impl Fn() -> H) -> Option<Violation> {
    for property in Property::ALL {
        if let Err(violation) = check(property, class, &fresh()).await {
            return Some(violation);
        }
    }
    None
}

/// The body of a generated test: runs the property on a runtime of its own.
///
/// # Panics
/// When the property does not hold: that is how a test fails.
pub fn check_in_test<H: Harness>(property: Property, class: Class, fresh: impl FnOnce() -> H) {
    in_test(&format!("{property} for {class:?}"), async { check(property, class, &fresh()).await });
}

/// Runs the check of a property on a runtime of its own, and makes its verdict that of the test.
#[allow(clippy::panic, reason = "called from tests only: a panic is how a test fails")]
pub(crate) fn in_test<E: fmt::Display>(what: &str, check: impl Future<Output = Result<Verdict, E>>) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let verdict = match runtime {
        Ok(runtime) => {
            let verdict = runtime.block_on(check);
            // A thread that a fault has blocked must not keep the test from ending.
            runtime.shutdown_background();
            verdict
        }
        Err(error) => panic!("no runtime for the test: {error}"),
    };
    match verdict {
        Ok(Verdict::Held) => {}
        Ok(Verdict::Skipped(why)) => skip::announce(&format!("{what}: {why}")),
        Err(violation) => panic!("{violation}"),
    }
}
