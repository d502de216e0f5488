//! The contract of orchestrators, against the real API server, behind a proxy that can close its port.
//!
//! The pod is of a namespace of its own for each test; somebody else is `kubectl` as the administrator.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{Document, Identity, Orchestrator, PeerQuery, async_trait};
use cim_orchestrator_kubernetes::{Features, KubernetesOrchestrator, KubernetesSettings};
use cim_testkit::{
    Behaviour, CannotExpress, ChaosProxy, Ending, OrchestratorHarness, OrchestratorProperty,
    check_orchestrator_in_test,
};
use serde_json::{Map, Value, json};

use crate::rig::{ANNOTATIONS, LABELS, TMAAS, Workplace};

const PORT: u16 = 24_224;

struct Cluster {
    workplace: Workplace<'static>,
    /// The way to the API server.
    proxy: ChaosProxy,
    uid: String,
    secret: String,
}

impl Cluster {
    fn start() -> Option<Self> {
        let workplace = Workplace::shared(Features::ALL)?;
        for (verb, resource) in [
            ("create", "configmaps"),
            ("delete", "pods"),
            ("create", "events.events.k8s.io"),
            ("list", "pods"),
        ] {
            workplace.wait_for_right(verb, resource, true);
        }
        let namespace = &workplace.namespace;
        let label = &[("k8s-app", namespace.name())];
        for (pod, node, address) in [
            ("agent-1", "node-1", "10.0.0.1"),
            ("agent-2", "node-1", "10.0.0.2"),
            ("agent-3", "node-2", "10.0.0.3"),
        ] {
            namespace.create_pod(pod, node, label, &[]);
            namespace.set_pod_status(pod, "Running", address, true);
        }
        Some(Self {
            proxy: ChaosProxy::start(workplace.kubernetes.address(), 1).unwrap(),
            uid: namespace.pod_uid("pod-1").unwrap(),
            secret: std::fs::read_to_string(workplace.token_file()).unwrap(),
            workplace,
        })
    }

    fn settings(&self) -> KubernetesSettings {
        KubernetesSettings { port: self.proxy.address().port(), ..self.workplace.settings() }
    }

    fn orchestrator(&self) -> KubernetesOrchestrator {
        KubernetesOrchestrator::new("cluster", self.settings(), self.workplace.namespace.name(), "pod-1")
    }
}

/// An object of texts.
fn object(pairs: &[(String, String)]) -> Value {
    pairs.iter().map(|(name, value)| (name.clone(), value.clone().into())).collect::<Map<_, _>>().into()
}

fn pairs(object: &Value) -> Vec<(String, String)> {
    let members = object.as_object().into_iter().flatten();
    members.map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned())).collect()
}

#[async_trait]
impl OrchestratorHarness for Cluster {
    fn build(&self) -> Arc<dyn Orchestrator> {
        Arc::new(self.orchestrator())
    }

    fn identity(&self) -> Identity {
        let text = str::to_owned;
        Identity {
            namespace: text(self.workplace.namespace.name()),
            pod: text("pod-1"),
            microservice: text("shop"),
            version: text("v1"),
            node: text("node-1"),
            uhn: text("u"),
            cnfc_uuid: text("c"),
            uid: self.uid.clone(),
            tmaas: serde_json::from_str(TMAAS).unwrap(),
            ..Identity::default()
        }
    }

    fn neighbours(&self) -> Option<(PeerQuery, usize)> {
        let selector = format!("k8s-app={}", self.workplace.namespace.name());
        Some((PeerQuery::NodeAgent { selector, port: PORT }, 2))
    }

    async fn put_document(&self, document: &Document) -> Result<(), CannotExpress> {
        let map = json!({
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": document.name,
                "namespace": self.workplace.namespace.name(),
                "labels": object(&document.labels),
                "annotations": object(&document.annotations),
            },
            "data": object(&document.data),
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), map.to_string()).unwrap();
        // Not `apply`, which leaves an annotation of its own.
        self.workplace.kubernetes.kubectl(&["create", "-f", &file.path().display().to_string()]);
        Ok(())
    }

    async fn document(&self, name: &str) -> Option<Document> {
        let map =
            self.workplace.namespace.kubectl(&["get", "configmap", name, "--ignore-not-found", "-o", "json"]);
        let map: Value = serde_json::from_str(&map).ok()?;
        Some(Document {
            name: map["metadata"]["name"].as_str()?.to_owned(),
            labels: pairs(&map["metadata"]["labels"]),
            annotations: pairs(&map["metadata"]["annotations"]),
            data: pairs(&map["data"]),
        })
    }

    /// One, once the deletion of the pod of this name was asked for.
    async fn restarts(&self) -> Option<usize> {
        let ends = ["get", "pod", "pod-1", "-o", "jsonpath={.metadata.deletionTimestamp}"];
        Some(usize::from(!self.workplace.namespace.kubectl(&ends).is_empty()))
    }

    async fn replace_pod(&self) -> Result<(), CannotExpress> {
        let namespace = &self.workplace.namespace;
        namespace.kubectl(&["delete", "pod", "pod-1", "--grace-period=0", "--force"]);
        namespace.create_pod("pod-1", "node-1", LABELS, ANNOTATIONS);
        Ok(())
    }

    async fn fail(&self) -> Result<(), CannotExpress> {
        self.proxy.behave(Behaviour::refusing());
        self.proxy.end_all(Ending::Reset);
        Ok(())
    }

    async fn heal(&self) {
        self.proxy.behave(Behaviour::faithful());
    }

    fn patience(&self) -> Duration {
        // The limit of a call: the machine may be busy.
        self.workplace.settings().request_timeout.get()
    }

    fn secrets(&self) -> Vec<String> {
        vec![self.secret.clone()]
    }

    fn texts(&self) -> Vec<String> {
        vec![format!("{:?}", self.settings()), serde_json::to_string(&self.settings()).unwrap()]
    }
}

/// One test per property.
macro_rules! properties {
    ($($test:ident $property:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            let Some(cluster) = Cluster::start() else { return };
            check_orchestrator_in_test(OrchestratorProperty::$property, || cluster);
        })*

        #[test]
        fn every_property_is_checked() {
            assert_eq!([$(OrchestratorProperty::$property),*], OrchestratorProperty::ALL);
        }
    };
}

properties!(
    identity Identity,
    neighbours Neighbours,
    documents Documents,
    create_once CreateOnce,
    restart Restart,
    absent Absent,
    recovery Recovery,
    cancellation Cancellation,
    close_twice CloseTwice,
    secrets_hidden SecretsHidden,
);
