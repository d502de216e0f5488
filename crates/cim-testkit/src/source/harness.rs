//! What a backend tells the suite about its store.
//!
//! Owns the trait and its vocabulary. Left out: the properties. Invariant: what a harness cannot do it says, with the
//! reason.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{ConfigScope, ConfigSource, async_trait};

use crate::CannotExpress;

/// What can be wrong with a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceFault {
    /// It is not there.
    Absent,
    /// It takes calls and gives no answer.
    Stalled,
}

/// A store, a source that reads it, and somebody else who writes into it. Built anew for each test, with nothing inside.
///
/// # Cancel safety
/// Not needed: the suite drops calls of the source, never those of its harness.
#[async_trait]
pub trait SourceHarness: Send + Sync {
    /// A source of that store, which may be absent. Called once per test.
    fn build(&self) -> Arc<dyn ConfigSource>;

    /// What the source is asked to watch.
    fn scope(&self) -> ConfigScope {
        ConfigScope { namespace: "ns".to_owned(), microservice: "amf".to_owned() }
    }

    /// Writes a key, not by the source's code. Returns once it is stored.
    ///
    /// # Errors
    /// [`CannotExpress`] when this store has no room for such a key or value.
    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), CannotExpress>;

    /// Writes a key that goes away by itself after that time.
    ///
    /// # Errors
    /// [`CannotExpress`] when this store knows no leases.
    async fn put_leased(&self, key: &[u8], value: &[u8], time: Duration) -> Result<(), CannotExpress> {
        let _ = (key, value, time);
        Err(CannotExpress("this store knows no leases".to_owned()))
    }

    /// Removes a key.
    async fn delete(&self, key: &[u8]);

    /// What is stored under a key, not read by the source's code.
    async fn value(&self, key: &[u8]) -> Option<Vec<u8>>;

    /// Whether every change can be seen, and in its order. Otherwise only what has become of a key counts.
    fn keeps_history(&self) -> bool {
        true
    }

    /// Makes the store forget every change so far, but not what came of it.
    ///
    /// # Errors
    /// [`CannotExpress`] when that cannot be done.
    async fn forget_history(&self) -> Result<(), CannotExpress> {
        Err(CannotExpress("this store cannot be made to forget its history".to_owned()))
    }

    /// Makes the store fail, until [`SourceHarness::heal`].
    ///
    /// # Errors
    /// [`CannotExpress`] when this store cannot fail like that; the properties that need it are then skipped.
    async fn fail(&self, fault: SourceFault) -> Result<(), CannotExpress>;

    /// Makes the store work again, with everything that was in it.
    async fn heal(&self);

    /// How long a change may take to be seen, and a call to end.
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
