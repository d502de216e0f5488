//! A store in memory as the suite for sources sees it.
//!
//! Owns how the suite's words are said to a [`MemorySource`]. Left out: the store itself (`memory`).

use std::sync::Arc;
use std::time::Duration;

use cim_core::{ConfigSource, SourceErrorKind, async_trait};

use super::harness::{SourceFault, SourceHarness};
use super::memory::MemorySource;
use crate::CannotExpress;

/// The suite's view of a [`MemorySource`], and of anything that stands in front of one.
pub struct MemoryStore {
    /// The store.
    pub target: Arc<MemorySource>,
    source: Arc<dyn ConfigSource>,
    secrets: Vec<String>,
}

impl MemoryStore {
    /// A harness for what `build` puts in front of an empty store.
    #[must_use]
    pub fn new(build: impl FnOnce(&Arc<MemorySource>) -> Arc<dyn ConfigSource>) -> Self {
        let target = MemorySource::new("memory");
        let source = build(&target);
        Self { target, source, secrets: Vec::new() }
    }

    /// The same, with texts that must not be shown.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Vec<String>) -> Self {
        self.secrets = secrets;
        self
    }
}

#[async_trait]
impl SourceHarness for MemoryStore {
    fn build(&self) -> Arc<dyn ConfigSource> {
        Arc::clone(&self.source)
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), CannotExpress> {
        self.target.put(key, value);
        Ok(())
    }

    async fn put_leased(&self, key: &[u8], value: &[u8], time: Duration) -> Result<(), CannotExpress> {
        self.target.put_leased(key, value, time);
        Ok(())
    }

    async fn delete(&self, key: &[u8]) {
        self.target.delete(key);
    }

    async fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.target.value(key)
    }

    async fn forget_history(&self) -> Result<(), CannotExpress> {
        self.target.compact();
        Ok(())
    }

    async fn fail(&self, fault: SourceFault) -> Result<(), CannotExpress> {
        match fault {
            SourceFault::Absent => self.target.set_down(Some(SourceErrorKind::Unavailable)),
            SourceFault::Stalled => self.target.set_gate(false),
        }
        Ok(())
    }

    async fn heal(&self) {
        self.target.set_down(None);
        self.target.set_gate(true);
    }

    fn patience(&self) -> Duration {
        // Only what never ends waits for so long; a busy machine must not look like that.
        Duration::from_secs(2)
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }
}
