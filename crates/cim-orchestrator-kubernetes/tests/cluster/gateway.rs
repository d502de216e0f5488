//! Where the topology engine is.

use cim_core::{Orchestrator as _, OrchestratorErrorKind};
use cim_orchestrator_kubernetes::Features;

use crate::rig::{ANNOTATIONS, LABELS, Workplace};

const GATEWAY: Features =
    Features { documents: false, restart: false, notices: false, node_agents: false, topology_gateway: true };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_annotation_of_the_pod_counts_before_the_cluster_role_of_the_network() {
    let Some(workplace) = Workplace::shared(GATEWAY) else { return };
    let mut annotations = ANNOTATIONS.to_vec();
    annotations.push(("topogw.fqdn", "topo-gw.here:8080"));
    workplace.namespace.create_pod("pod-2", "node-1", LABELS, &annotations);
    let gateway = workplace.orchestrator_of("pod-2").topology_gateway().await.unwrap();
    assert_eq!(gateway.as_deref(), Some("topo-gw.here:8080"));
    assert_eq!(workplace.asked(), ["get pods"]);

    workplace.wait_for_right("get", "clusterroles", true);
    let orchestrator = workplace.orchestrator();
    assert_eq!(orchestrator.topology_gateway().await.unwrap(), None);
    workplace.kubernetes.apply(
        "apiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata:\n  name: x1-xgvela\n  \
         annotations: { topo-gw.fqdn: \"topo-gw.there:8080\" }\nrules: []\n",
    );
    let gateway = orchestrator.topology_gateway().await.unwrap();
    assert_eq!(gateway.as_deref(), Some("topo-gw.there:8080"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_right_is_told_with_its_name() {
    let none = Features { topology_gateway: false, ..GATEWAY };
    let Some(workplace) = Workplace::shared(none) else { return };
    let error = workplace.orchestrator().topology_gateway().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Forbidden);
    assert!(cim_core::chain(&error).contains("get clusterroles.rbac.authorization.k8s.io"), "{error}");
}
