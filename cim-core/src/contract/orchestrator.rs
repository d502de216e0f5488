//! What runs the pod: who we are, where neighbours are, shared documents, and a restart as the last resort.
//!
//! Never on the data path: an orchestrator may be away for hours.

use std::error::Error;
use std::net::SocketAddr;
use std::time::Duration;

use async_trait::async_trait;

use super::component::Component;
use super::identity::Identity;

/// Which neighbours are looked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PeerQuery {
    /// Agents on the same node: pods with that label, and the port they listen on (wire contract §8.4).
    NodeAgent {
        /// Label selector, for example `k8s-app=fluent-bit`.
        selector: String,
        /// Their port.
        port: u16,
    },
}

/// A neighbour.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Its name, for people.
    pub name: String,
    /// Where it listens.
    pub address: SocketAddr,
}

/// A document that the orchestrator keeps for several pods (a ConfigMap in Kubernetes; wire contract §9.4).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: String,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// Annotations.
    pub annotations: Vec<(String, String)>,
    /// Texts by name.
    pub data: Vec<(String, String)>,
}

/// Why the pod is to be restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestartReason {
    /// In CamelCase, for machines.
    pub reason: String,
    /// For people.
    pub message: String,
}

/// How this pod is made to end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PodEnd {
    /// Time that its containers get between SIGTERM and SIGKILL; `None` when nobody tells.
    pub grace: Option<Duration>,
    /// Init containers that are restarted always: native sidecars, which end after the containers of the application.
    pub sidecars: Vec<String>,
}

/// Whether the pod goes, asked when it is told to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Departure {
    /// Nobody deletes it: only this container is stopped.
    Staying,
    /// It is being deleted; its containers are killed after this time.
    Leaving(Duration),
}

/// Something an operator should find where they look first (a Kubernetes Event).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// In CamelCase, for machines.
    pub reason: String,
    /// For people.
    pub message: String,
    /// Whether something is wrong.
    pub is_warning: bool,
}

/// What runs the pod.
#[async_trait]
pub trait Orchestrator: Component {
    /// Who this pod is. Read once, then answered from memory.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told yet, or the pod is not described as it must be.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    async fn identity(&self) -> Result<Identity, OrchestratorError>;

    /// The neighbours that fit, those first that are ready; empty when there are none.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn locate(&self, query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError>;

    /// A document of the own namespace; `None` when it does not exist.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn document(&self, name: &str) -> Result<Option<Document>, OrchestratorError>;

    /// Makes a document unless one of that name exists; returns whether it was made.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be made.
    ///
    /// # Cancel safety
    /// When dropped, the document may or may not have been made.
    async fn create_document(&self, document: &Document) -> Result<bool, OrchestratorError>;

    /// Has the pod replaced. Names this very pod: one of the same name that came after it is not touched.
    ///
    /// # Errors
    /// [`OrchestratorError`] when that is not possible here or not allowed.
    ///
    /// # Cancel safety
    /// When dropped, the restart may or may not have been asked for.
    async fn restart(&self, reason: &RestartReason) -> Result<(), OrchestratorError>;

    /// Where the topology engine of the network is, `host:port`; `None` when nobody says (wire contract §2.3).
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told yet.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn topology_gateway(&self) -> Result<Option<String>, OrchestratorError> {
        Ok(None)
    }

    /// How this pod is made to end. Read with the identity and answered from memory only: pages that are asked for often tell
    /// it, and must cost the orchestrator no call. By default nothing is known.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told yet.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    async fn pod_end(&self) -> Result<PodEnd, OrchestratorError> {
        Ok(PodEnd::default())
    }

    /// Whether the pod is being deleted at this moment, and how long its containers have. Asked once, at the end of the
    /// process. `None`, which is the default, where nobody knows.
    ///
    /// # Errors
    /// [`OrchestratorError`] when it cannot be told.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    async fn departure(&self) -> Result<Option<Departure>, OrchestratorError> {
        Ok(None)
    }

    /// Tells the operator something. Losing it is no failure.
    ///
    /// # Cancel safety
    /// When dropped, the notice may or may not have been sent.
    async fn notify(&self, _notice: &Notice) {}
}

/// What kind of failure of an orchestrator it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum OrchestratorErrorKind {
    /// Cannot be reached or does not answer in time.
    Unavailable,
    /// Credentials or rights are missing.
    Forbidden,
    /// The pod is not described as it must be: somebody has to change that.
    Misconfigured,
    /// This orchestrator cannot do that.
    Unsupported,
}

/// An orchestrator that failed.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct OrchestratorError {
    kind: OrchestratorErrorKind,
    what: String,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl OrchestratorError {
    /// An error of that kind; `what` says what could not be done and why, in lower case.
    #[must_use]
    pub fn new(kind: OrchestratorErrorKind, what: impl Into<String>) -> Self {
        Self { kind, what: what.into(), source: None }
    }

    /// Keeps the underlying error as the source.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// The kind of failure.
    #[must_use]
    pub fn kind(&self) -> OrchestratorErrorKind {
        self.kind
    }
}
