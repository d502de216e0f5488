//! An orchestrator in memory.
//!
//! Owns what it was asked and what it was told to answer. Left out: pods. Invariant: what it answers is what a test put
//! there; while it is down every call fails and changes nothing.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_core::{
    Component, Document, Health, Identity, Notice, Orchestrator, OrchestratorError, OrchestratorErrorKind,
    Peer, PeerQuery, RestartReason, async_trait,
};
use tokio::sync::watch;

use super::harness::OrchestratorHarness;
use crate::CannotExpress;

#[derive(Debug, Default)]
struct State {
    identity: Identity,
    /// It was told once, and is told from memory since then.
    is_known: bool,
    /// The question that the neighbours are an answer to.
    answers: Option<PeerQuery>,
    peers: Vec<Peer>,
    /// How often neighbours were asked for.
    located: usize,
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

    /// What that question for neighbours is answered with; any other finds nobody.
    pub fn set_peers(&self, query: PeerQuery, peers: Vec<Peer>) {
        let mut state = self.state();
        state.answers = Some(query);
        state.peers = peers;
    }

    /// How often neighbours were asked for.
    #[must_use]
    pub fn located(&self) -> usize {
        self.state().located
    }

    /// Asks for the pod whatever was told before. For a mutant.
    pub(super) async fn ask_identity(&self) -> Result<Identity, OrchestratorError> {
        self.admit().await?;
        Ok(self.state().identity.clone())
    }

    /// Everybody. For a mutant.
    pub(super) fn peers(&self) -> Vec<Peer> {
        self.state().peers.clone()
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
        let is_known = self.state().is_known;
        if !is_known {
            self.ask_identity().await?;
        }
        let mut state = self.state();
        state.is_known = true;
        Ok(state.identity.clone())
    }

    async fn locate(&self, query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError> {
        self.state().located += 1;
        self.admit().await?;
        let state = self.state();
        Ok(if state.answers.as_ref() == Some(query) { state.peers.clone() } else { Vec::new() })
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

    async fn topology_gateway(&self) -> Result<Option<String>, OrchestratorError> {
        self.admit().await?;
        Ok(None)
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

/// The suite's view of a [`FakeOrchestrator`], and of anything that stands in front of one.
pub struct FakeCluster {
    /// What runs the pod.
    pub target: Arc<FakeOrchestrator>,
    subject: Arc<dyn Orchestrator>,
    secrets: Vec<String>,
}

/// The port of the one neighbour.
const PORT: u16 = 24_224;

impl FakeCluster {
    /// A harness for what `build` puts in front of an orchestrator that runs a pod with one neighbour.
    #[must_use]
    pub fn new(build: impl FnOnce(&Arc<FakeOrchestrator>) -> Arc<dyn Orchestrator>) -> Self {
        let target = FakeOrchestrator::new(pod());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        target.set_peers(query(), vec![Peer { name: "fluent-bit-x".to_owned(), address }]);
        let subject = build(&target);
        Self { target, subject, secrets: Vec::new() }
    }

    /// The same, with texts that must not be shown.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Vec<String>) -> Self {
        self.secrets = secrets;
        self
    }
}

fn pod() -> Identity {
    let text = str::to_owned;
    Identity {
        namespace: text("ns"),
        pod: text("pod-1"),
        microservice: text("amf"),
        version: text("v0"),
        uid: text("0b5c"),
        ..Identity::default()
    }
}

fn query() -> PeerQuery {
    PeerQuery::NodeAgent { selector: "k8s-app=fluent-bit".to_owned(), port: PORT }
}

#[async_trait]
impl OrchestratorHarness for FakeCluster {
    fn build(&self) -> Arc<dyn Orchestrator> {
        Arc::clone(&self.subject)
    }

    fn identity(&self) -> Identity {
        pod()
    }

    fn neighbours(&self) -> Option<(PeerQuery, usize)> {
        Some((query(), 1))
    }

    async fn put_document(&self, document: &Document) -> Result<(), CannotExpress> {
        self.target.put_document(document.clone());
        Ok(())
    }

    async fn document(&self, name: &str) -> Option<Document> {
        self.target.documents().into_iter().find(|document| document.name == name)
    }

    async fn restarts(&self) -> Option<usize> {
        Some(self.target.restarts().len())
    }

    async fn fail(&self) -> Result<(), CannotExpress> {
        self.target.set_down(Some(OrchestratorErrorKind::Unavailable));
        Ok(())
    }

    async fn heal(&self) {
        self.target.set_down(None);
    }

    fn patience(&self) -> Duration {
        // Only what never ends waits for so long; a busy machine must not look like that.
        Duration::from_secs(2)
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }
}
