//! What a backend tells the suite about its target.
//!
//! Owns the trait and its vocabulary. Left out: the properties. Invariant: what a harness cannot do it says, with
//! the reason.

use std::time::Duration;

use cim_core::{Class, Sink, async_trait};

use crate::Sample;

/// What can be wrong with a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It is not there, or takes nothing.
    Absent,
    /// It takes some records of the next batch (10 of about 2,000 bytes) and fails then.
    CutMidBatch,
    /// It takes nothing and gives no answer.
    Stalled,
}

/// The harness has no way to do that; the text says why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CannotExpress(pub String);

/// A target, a sink towards it, and a reader at its other end. Built anew for each test.
///
/// # Cancel safety
/// Not needed: the suite drops calls of the sink, never those of its harness.
#[async_trait]
pub trait Harness: Send + Sync {
    /// A sink towards the target, which may be absent. Called once per test.
    fn build(&self) -> Sink;

    /// What the reader sees of that record, separator included. As far as possible not made by the sink's code.
    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8>;

    /// Everything the reader has seen so far, per stream (a file, a connection, a partition), oldest first.
    async fn read(&self, class: Class) -> Vec<Vec<u8>>;

    /// Makes the target fail, until [`Harness::heal`].
    ///
    /// # Errors
    /// [`CannotExpress`] when this target cannot fail like that; the properties that need it are then skipped.
    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress>;

    /// Makes the target work again. What the reader has seen stays seen.
    async fn heal(&self);

    /// How long a record may take from `Ok` to the reader; a call of the sink may take twice that. Only what fails
    /// costs that time.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// What must never be shown: passwords, tokens.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Texts the backend shows that the suite cannot get by itself: `Debug` of the sink and of its settings.
    fn texts(&self) -> Vec<String> {
        Vec::new()
    }
}
