//! Log agents of the own node.

use cim_core::{Orchestrator as _, PeerQuery};
use cim_orchestrator_kubernetes::Features;

use crate::rig::Workplace;

const AGENTS: Features =
    Features { documents: false, restart: false, notices: false, node_agents: true, topology_gateway: false };

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn agents_of_the_own_node_are_found_in_every_namespace_ready_ones_first() {
    let Some(workplace) = Workplace::shared(AGENTS) else { return };
    let here = &workplace.namespace;
    let elsewhere = workplace.kubernetes.namespace();
    let label = &[("k8s-app", here.name())];
    for (place, name, node) in [
        (here, "a-not-ready", "node-1"),
        (here, "b-ready", "node-1"),
        (&elsewhere, "c-ready-v6", "node-1"),
        (here, "d-without-address", "node-1"),
        (here, "e-ended", "node-1"),
        (here, "f-other-node", "node-2"),
    ] {
        place.create_pod(name, node, label, &[]);
    }
    here.create_pod("g-other-app", "node-1", &[("k8s-app", "other")], &[]);
    here.set_pod_status("a-not-ready", "Running", "10.0.0.1", false);
    here.set_pod_status("b-ready", "Running", "10.0.0.2", true);
    elsewhere.set_pod_status("c-ready-v6", "Running", "fd00::3", true);
    here.set_pod_status("e-ended", "Failed", "10.0.0.5", false);
    here.set_pod_status("f-other-node", "Running", "10.0.0.6", true);
    here.set_pod_status("g-other-app", "Running", "10.0.0.7", true);

    let orchestrator = workplace.orchestrator();
    workplace.wait_for_right("list", "pods", true);
    let query = PeerQuery::NodeAgent { selector: format!("k8s-app={}", here.name()), port: 5170 };
    let found = orchestrator.locate(&query).await.unwrap();
    let addresses: Vec<String> = found.iter().map(|peer| peer.address.to_string()).collect();
    assert_eq!(addresses, ["10.0.0.2:5170", "[fd00::3]:5170", "10.0.0.1:5170"]);
    assert_eq!(found[0].name, format!("{}/b-ready", here.name()));

    let nobody = PeerQuery::NodeAgent { selector: "k8s-app=nobody".into(), port: 5170 };
    assert_eq!(orchestrator.locate(&nobody).await.unwrap(), []);
    assert_eq!(workplace.asked(), ["get pods", "list pods", "list pods"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_selector_that_is_none_is_refused_with_its_text() {
    let Some(workplace) = Workplace::shared(AGENTS) else { return };
    workplace.wait_for_right("list", "pods", true);
    let query = PeerQuery::NodeAgent { selector: "a in (".into(), port: 1 };
    let error = workplace.orchestrator().locate(&query).await.unwrap_err();
    assert_eq!(error.kind(), cim_core::OrchestratorErrorKind::Misconfigured);
    assert!(error.to_string().contains("`a in (`"), "{error}");
}
