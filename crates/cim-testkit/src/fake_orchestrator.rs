//! An orchestrator in memory.
//!
//! Owns what it was asked and what it was told to answer. Left out: pods. Invariant: what it answers is what a test put
//! there; while it is down every call fails and changes nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_core::{
    Component, Document, Health, Identity, Notice, Orchestrator, OrchestratorError, OrchestratorErrorKind,
    Peer, PeerQuery, RestartReason, async_trait,
};
use tokio::sync::watch;

#[derive(Debug, Default)]
struct State {
    identity: Identity,
    peers: Vec<Peer>,
    documents: BTreeMap<String, Document>,
    restarts: Vec<RestartReason>,
    notices: Vec<Notice>,
    down: Option<OrchestratorErrorKind>,
}

/// Remembers what it was asked; fails as a test says.
#[derive(Debug)]
pub struct FakeOrchestrator {
    state: Mutex<State>,
    open: watch::Sender<bool>,
}

impl FakeOrchestrator {
    /// An orchestrator that runs that pod, without neighbours and documents.
    #[must_use]
    pub fn new(identity: Identity) -> Arc<Self> {
        let state = Mutex::new(State { identity, ..State::default() });
        Arc::new(Self { state, open: watch::Sender::new(true) })
    }

    /// What every question for neighbours is answered with.
    pub fn set_peers(&self, peers: Vec<Peer>) {
        self.state().peers = peers;
    }

    /// Puts a document there, or replaces it.
    pub fn put_document(&self, document: Document) {
        self.state().documents.insert(document.name.clone(), document);
    }

    /// Fails every call with that kind, until set to `None`.
    pub fn set_down(&self, kind: Option<OrchestratorErrorKind>) {
        self.state().down = kind;
    }

    /// Closes or opens the gate: with a closed one every call waits.
    pub fn set_gate(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// The documents there are.
    #[must_use]
    pub fn documents(&self) -> Vec<Document> {
        self.state().documents.values().cloned().collect()
    }

    /// Why the pod was to be restarted, in order.
    #[must_use]
    pub fn restarts(&self) -> Vec<RestartReason> {
        self.state().restarts.clone()
    }

    /// What the operator was told, in order.
    #[must_use]
    pub fn notices(&self) -> Vec<Notice> {
        self.state().notices.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits at the gate, and fails as a test says.
    async fn admit(&self) -> Result<(), OrchestratorError> {
        let mut open = self.open.subscribe();
        // The sender lives as long as this object, so the wait ends only by an open gate.
        let _ = open.wait_for(|open| *open).await;
        match self.state().down {
            Some(kind) => Err(OrchestratorError::new(kind, "the script of the fake orchestrator says so")),
            None => Ok(()),
        }
    }
}

#[async_trait]
impl Component for FakeOrchestrator {
    fn name(&self) -> &str {
        "fake orchestrator"
    }

    async fn probe(&self) -> Health {
        match self.state().down {
            Some(kind) => Health::Degraded(format!("down by script: {kind:?}")),
            None => Health::Ready,
        }
    }
}

#[async_trait]
impl Orchestrator for FakeOrchestrator {
    async fn identity(&self) -> Result<Identity, OrchestratorError> {
        self.admit().await?;
        Ok(self.state().identity.clone())
    }

    async fn locate(&self, _query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError> {
        self.admit().await?;
        Ok(self.state().peers.clone())
    }

    async fn document(&self, name: &str) -> Result<Option<Document>, OrchestratorError> {
        self.admit().await?;
        Ok(self.state().documents.get(name).cloned())
    }

    async fn create_document(&self, document: &Document) -> Result<bool, OrchestratorError> {
        self.admit().await?;
        let mut state = self.state();
        let is_new = !state.documents.contains_key(&document.name);
        if is_new {
            state.documents.insert(document.name.clone(), document.clone());
        }
        Ok(is_new)
    }

    async fn restart(&self, reason: &RestartReason) -> Result<(), OrchestratorError> {
        self.admit().await?;
        self.state().restarts.push(reason.clone());
        Ok(())
    }

    async fn notify(&self, notice: &Notice) {
        if self.admit().await.is_ok() {
            self.state().notices.push(notice.clone());
        }
    }
}
