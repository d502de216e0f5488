//! What a backend tells the suite about its broker.
//!
//! Owns the trait and its vocabulary. Left out: the properties. Invariant: what a harness cannot do it says, with the reason.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{EventSource, async_trait};

use crate::CannotExpress;

/// A record that somebody adds to the feed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FeedRecord {
    /// Names and values, in their order.
    pub headers: Vec<(String, Vec<u8>)>,
    /// Its value.
    pub value: Vec<u8>,
}

/// A broker, a source that reads one feed of it, and somebody else who adds to that feed. Built anew for each test, with nothing
/// inside.
///
/// # Cancel safety
/// Not needed: the suite drops calls of the source, never those of its harness.
#[async_trait]
pub trait FeedHarness: Send + Sync {
    /// A source of that feed, whose broker may be absent. Called once per test.
    fn build(&self) -> Arc<dyn EventSource>;

    /// Adds records to one lane of the feed, not by the source's code. Returns once they are there.
    async fn add(&self, records: &[FeedRecord]);

    /// Makes the broker go away, until [`FeedHarness::heal`].
    ///
    /// # Errors
    /// [`CannotExpress`] when this one cannot; the properties that need it are then skipped.
    async fn fail(&self) -> Result<(), CannotExpress>;

    /// Makes the broker work again, with everything that was in it.
    async fn heal(&self);

    /// How long a record may take to be seen, and a call to end.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// What must never be shown: passwords, tokens.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Texts the backend shows that the suite cannot get by itself: `Debug` of the source and of its settings.
    fn texts(&self) -> Vec<String> {
        Vec::new()
    }
}
