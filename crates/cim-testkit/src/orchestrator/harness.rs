//! What a backend tells the suite about what runs its pod.
//!
//! Owns the trait. Left out: the properties. Invariant: what a harness cannot do it says, with the reason.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{Document, Identity, Orchestrator, PeerQuery, async_trait};

use crate::CannotExpress;

/// A pod, what runs it, and somebody else who looks at that. Built anew for each test, without documents.
///
/// # Cancel safety
/// Not needed: the suite drops calls of the orchestrator, never those of its harness.
#[async_trait]
pub trait OrchestratorHarness: Send + Sync {
    /// An orchestrator, which may be absent. Called once per test.
    fn build(&self) -> Arc<dyn Orchestrator>;

    /// What it has to say of the pod.
    fn identity(&self) -> Identity;

    /// A question for neighbours, and how many there are; `None` when it knows none.
    fn neighbours(&self) -> Option<(PeerQuery, usize)> {
        None
    }

    /// Puts a document there, not by the orchestrator's code.
    ///
    /// # Errors
    /// [`CannotExpress`] when this orchestrator keeps no documents.
    async fn put_document(&self, document: &Document) -> Result<(), CannotExpress>;

    /// A document as somebody else sees it.
    async fn document(&self, name: &str) -> Option<Document>;

    /// How often this very pod was asked to be replaced; `None` when that cannot be seen or done.
    async fn restarts(&self) -> Option<usize>;

    /// Puts another pod of the same name in the place of this one.
    ///
    /// # Errors
    /// [`CannotExpress`] when that cannot be done.
    async fn replace_pod(&self) -> Result<(), CannotExpress> {
        Err(CannotExpress("the pod cannot be replaced here".to_owned()))
    }

    /// Makes it unreachable, until [`OrchestratorHarness::heal`].
    ///
    /// # Errors
    /// [`CannotExpress`] when that cannot be done.
    async fn fail(&self) -> Result<(), CannotExpress>;

    /// Makes it reachable again.
    async fn heal(&self);

    /// How long a call may take; one that fails may take twice that.
    fn patience(&self) -> Duration {
        Duration::from_secs(5)
    }

    /// What must never be shown: passwords, tokens.
    fn secrets(&self) -> Vec<String> {
        Vec::new()
    }

    /// Texts the backend shows that the suite cannot get by itself: `Debug` of the orchestrator and of its settings.
    fn texts(&self) -> Vec<String> {
        Vec::new()
    }
}
