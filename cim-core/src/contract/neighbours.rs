//! The one thing of an orchestrator that a backend may use: finding neighbours to connect to.
//!
//! Left out: everything else an orchestrator can do. The invariant: who holds this can ask, and can neither restart the pod
//! nor write anything.

use std::fmt;
use std::sync::Arc;

use super::orchestrator::{Orchestrator, OrchestratorError, OrchestratorErrorKind, Peer, PeerQuery};

/// Finds neighbours. Cheap to clone. By default there is nobody to ask.
#[derive(Clone, Default)]
pub struct Neighbours(Option<Arc<dyn Orchestrator>>);

impl Neighbours {
    /// Those that this orchestrator finds.
    #[must_use]
    pub fn of(orchestrator: Arc<dyn Orchestrator>) -> Self {
        Self(Some(orchestrator))
    }

    /// The neighbours that fit, best ones first; empty when there are none.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told, or there is nobody to ask.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn locate(&self, query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError> {
        match &self.0 {
            Some(orchestrator) => orchestrator.locate(query).await,
            None => {
                let text =
                    "there is no orchestrator that could find neighbours; set `type` in [orchestrator]";
                Err(OrchestratorError::new(OrchestratorErrorKind::Unsupported, text))
            }
        }
    }
}

impl fmt::Debug for Neighbours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.0.as_ref().map(|orchestrator| orchestrator.name());
        f.debug_tuple("Neighbours").field(&name).finish()
    }
}
