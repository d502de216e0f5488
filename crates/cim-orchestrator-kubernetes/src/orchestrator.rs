//! The orchestrator itself: what the engine asks, as calls to the API server.
//!
//! Owns which call answers which question, and the memory of the own pod. Left out: how a call is made (`server`), what
//! objects look like (a file each). Invariant: the own pod is read once, and once more at the end; nothing is called unless somebody asks, and a
//! delete names the uid of the pod that this process runs in.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::{
    CloseError, Component, Departure, Document, Health, Identity, Notice, Orchestrator, OrchestratorError,
    OrchestratorErrorKind, Peer, PeerQuery, PodEnd, RestartReason, async_trait, chain,
};
use http::StatusCode;
use k8s_openapi::api::authorization::v1::SelfSubjectAccessReview;
use k8s_openapi::api::core::v1::{self, ConfigMap};
use k8s_openapi::api::rbac::v1::ClusterRole;
use kube::Resource;
use kube::api::{DeleteParams, GetParams, ListParams, PostParams, Preconditions};
use kube::core::{ObjectList, Request};
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use crate::access::{self, Access};
use crate::failure::CallFailure;
use crate::notices::Notices;
use crate::own_pod::OwnPod;
use crate::pod::Pod;
use crate::rights::{self, Features, Right};
use crate::server::{Built, Server};
use crate::settings::KubernetesSettings;
use crate::skew::Skew;
use crate::{agents, documents, leaving, notices};

/// Longest time that telling of a restart may hold the restart up.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The API server of a cluster as an orchestrator.
pub struct KubernetesOrchestrator {
    name: String,
    namespace: String,
    pod: String,
    server: Server,
    own: Mutex<Option<Arc<OwnPod>>>,
    /// Held while the own pod is asked for, so that many who want to know ask once.
    asking: tokio::sync::Mutex<()>,
    notices: Notices,
}

impl KubernetesOrchestrator {
    /// An orchestrator for the pod of that namespace and name. Opens and reads nothing: the API server may be away.
    #[must_use]
    pub fn new(
        name: impl Into<String>,
        settings: KubernetesSettings,
        namespace: impl Into<String>,
        pod: impl Into<String>,
    ) -> Self {
        Self {
            name: name.into(),
            namespace: namespace.into(),
            pod: pod.into(),
            server: Server::new(settings),
            own: Mutex::default(),
            asking: tokio::sync::Mutex::default(),
            notices: Notices::default(),
        }
    }

    /// Which of the rights for these features this process has.
    ///
    /// # Errors
    /// [`OrchestratorError`] when the API server does not tell.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn check_access(&self, features: Features) -> Result<Vec<Access>, OrchestratorError> {
        let mut found = Vec::new();
        for right in rights::rights(features) {
            let question = access::question(&right, &self.namespace);
            let object = format!("a review of `{}`", right.phrase());
            let request = create::<SelfSubjectAccessReview>(None, &question);
            let answer: SelfSubjectAccessReview = self.server.call(&access::ASK, &object, request).await?;
            found.push(Access { right, allowed: access::is_allowed(&answer) });
        }
        Ok(found)
    }

    /// How far the clock of the API server is from ours, by its last answer; `None` before there was one.
    #[must_use]
    pub fn skew(&self) -> Option<Skew> {
        self.server.skew()
    }

    /// The own pod from memory, else from the server. One that is not described as it must be is kept for its uid, and
    /// asked for again when `complete` is wanted.
    async fn own(&self, complete: bool) -> Result<Arc<OwnPod>, OrchestratorError> {
        let enough = |own: &Arc<OwnPod>| !complete || own.identity.is_ok();
        if let Some(own) = self.known().filter(enough) {
            return Ok(own);
        }
        let _asking = self.asking.lock().await;
        if let Some(own) = self.known().filter(enough) {
            return Ok(own);
        }
        let pod = self.read().await?;
        let own = Arc::new(OwnPod::read(&self.namespace, &self.pod, &pod));
        *self.own.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&own));
        Ok(own)
    }

    async fn read(&self) -> Result<Pod, CallFailure> {
        let object = format!("pod {}/{}", self.namespace, self.pod);
        let request =
            Request::new(v1::Pod::url_path(&(), Some(&self.namespace))).get(&self.pod, &GetParams::default());
        self.server.call(&rights::GET_POD, &object, request).await
    }

    /// Whether that is the pod that was read first, as far as it was; another one of its name may follow it.
    fn is_own(&self, pod: &Pod) -> bool {
        self.known().is_none_or(|own| pod.metadata.uid.as_ref() == Some(&own.uid))
    }

    fn known(&self) -> Option<Arc<OwnPod>> {
        self.own.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Posts an Event, unless one with that reason was posted just before.
    async fn post(&self, notice: &Notice) -> Result<(), OrchestratorError> {
        if !self.notices.pass(&notice.reason, Instant::now()) {
            return Ok(());
        }
        let sent = self.send(notice).await;
        if sent.is_err() {
            self.notices.take_back(&notice.reason);
        }
        sent
    }

    async fn send(&self, notice: &Notice) -> Result<(), OrchestratorError> {
        let own = self.own(false).await?;
        let event = notices::event(&self.namespace, &self.pod, &own.uid, notice);
        let object = format!("an event of pod {}/{}", self.namespace, self.pod);
        Ok(self.make(&rights::CREATE_EVENT, &object, &event).await?)
    }

    /// Creates an object of the own namespace.
    async fn make<K>(&self, right: &Right, name: &str, object: &K) -> Result<(), CallFailure>
    where
        K: Resource<DynamicType = ()> + Serialize + Sync,
    {
        let request = create::<K>(Some(&self.namespace), object);
        self.server.call::<Value>(right, name, request).await.map(drop)
    }
}

fn create<K: Resource<DynamicType = ()> + Serialize>(namespace: Option<&str>, object: &K) -> Built {
    let body = serde_json::to_vec(object).map_err(kube::core::request::Error::SerializeBody)?;
    Request::new(K::url_path(&(), namespace)).create(&PostParams::default(), body)
}

#[async_trait]
impl Component for KubernetesOrchestrator {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        let described = self.known().and_then(|own| own.identity.clone().err());
        match described.or_else(|| self.server.trouble()) {
            Some(trouble) => Health::Degraded(trouble),
            None => Health::Ready,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.server.close();
        Ok(())
    }
}

#[async_trait]
impl Orchestrator for KubernetesOrchestrator {
    async fn identity(&self) -> Result<Identity, OrchestratorError> {
        let own = self.own(true).await?;
        own.identity
            .clone()
            .map_err(|problem| OrchestratorError::new(OrchestratorErrorKind::Misconfigured, problem))
    }

    async fn locate(&self, query: &PeerQuery) -> Result<Vec<Peer>, OrchestratorError> {
        let PeerQuery::NodeAgent { selector, port } = query;
        let node = self.own(false).await?.node.clone();
        if node.is_empty() {
            let text =
                format!("pod {}/{} has no node yet: its agents cannot be told", self.namespace, self.pod);
            return Err(OrchestratorError::new(OrchestratorErrorKind::Unavailable, text));
        }
        let filter = ListParams::default().labels(selector).fields(&format!("spec.nodeName={node}"));
        let request = Request::new(v1::Pod::url_path(&(), None)).list(&filter);
        let object = format!("the pods `{selector}` of node {node}");
        let pods: ObjectList<Pod> = self.server.call(&rights::LIST_PODS, &object, request).await?;
        Ok(agents::peers(&pods.items, *port))
    }

    async fn document(&self, name: &str) -> Result<Option<Document>, OrchestratorError> {
        let object = format!("ConfigMap {}/{name}", self.namespace);
        let request =
            Request::new(ConfigMap::url_path(&(), Some(&self.namespace))).get(name, &GetParams::default());
        match self.server.call::<ConfigMap>(&rights::GET_DOCUMENT, &object, request).await {
            Ok(map) => Ok(Some(documents::from_config_map(map))),
            Err(failure) if failure.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn create_document(&self, document: &Document) -> Result<bool, OrchestratorError> {
        let map = documents::to_config_map(document, &self.namespace);
        let object = format!("ConfigMap {}/{}", self.namespace, document.name);
        match self.make(&rights::CREATE_DOCUMENT, &object, &map).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.is(StatusCode::CONFLICT) => Ok(false),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn restart(&self, reason: &RestartReason) -> Result<(), OrchestratorError> {
        let own = self.own(false).await?;
        let notice =
            Notice { reason: reason.reason.clone(), message: reason.message.clone(), is_warning: true };
        if let Ok(Err(error)) = tokio::time::timeout(LAST_WORDS, self.post(&notice)).await {
            tracing::debug!(error = chain(&error), "the restart is not told as an event");
        }
        // Without a grace period of our own: the pod's holds.
        let preconditions = Preconditions { uid: Some(own.uid.clone()), resource_version: None };
        let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
        let request =
            Request::new(v1::Pod::url_path(&(), Some(&self.namespace))).delete(&self.pod, &parameters);
        let object = format!("pod {}/{} (uid {})", self.namespace, self.pod, own.uid);
        match self.server.call::<Value>(&rights::DELETE_POD, &object, request).await {
            // Gone, or the name belongs to another pod by now: ours is not running any more.
            Err(failure) if failure.is(StatusCode::NOT_FOUND) || failure.is(StatusCode::CONFLICT) => Ok(()),
            Err(failure) => Err(failure.into()),
            Ok(_) => Ok(()),
        }
    }

    async fn topology_gateway(&self) -> Result<Option<String>, OrchestratorError> {
        let own = self.own(true).await?;
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        if let Some(gateway) = given(&own.topology_gateway) {
            return Ok(Some(gateway));
        }
        let Some(network) = own.identity.as_ref().ok().and_then(|own| given(&own.tmaas.xgvela_id)) else {
            return Ok(None);
        };
        let name = format!("{network}-xgvela");
        let request = Request::new(ClusterRole::url_path(&(), None)).get(&name, &GetParams::default());
        let object = format!("cluster role {name}");
        match self.server.call::<ClusterRole>(&rights::GET_CLUSTER_ROLE, &object, request).await {
            Ok(role) => {
                let annotations = role.metadata.annotations.unwrap_or_default();
                Ok(annotations.get("topo-gw.fqdn").and_then(given))
            }
            Err(failure) if failure.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn pod_end(&self) -> Result<PodEnd, OrchestratorError> {
        let text = || format!("pod {}/{} was not read yet", self.namespace, self.pod);
        let unknown = || OrchestratorError::new(OrchestratorErrorKind::Unavailable, text());
        self.known().map(|own| own.end.clone()).ok_or_else(unknown)
    }

    async fn departure(&self) -> Result<Option<Departure>, OrchestratorError> {
        match self.read().await {
            Ok(pod) if self.is_own(&pod) => {
                let now = cim_core::clock::now();
                let now = self.server.skew().map_or(now, |skew| skew.their_time(now));
                Ok(Some(leaving::departure(&pod, now)))
            }
            // Gone already, or replaced: nobody waits for this one any more.
            Ok(_) => Ok(Some(Departure::Leaving(Duration::ZERO))),
            Err(failure) if failure.is(StatusCode::NOT_FOUND) => Ok(Some(Departure::Leaving(Duration::ZERO))),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn notify(&self, notice: &Notice) {
        if let Err(error) = self.post(notice).await {
            tracing::debug!(
                error = chain(&error),
                reason = notice.reason,
                "a notice is not told as an event"
            );
        }
    }
}
