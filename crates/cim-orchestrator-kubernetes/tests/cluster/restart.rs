//! The restart of the own pod. The test plays the kubelet: it ends a pod whose deletion was asked for.

use cim_core::{Orchestrator as _, RestartReason};
use cim_orchestrator_kubernetes::Features;

use crate::rig::{ANNOTATIONS, LABELS, Workplace};

const RESTART: Features =
    Features { documents: false, restart: true, notices: true, node_agents: false, topology_gateway: false };

fn reason() -> RestartReason {
    RestartReason { reason: "DayOneFailed".into(), message: "the first configuration was refused".into() }
}

fn deletion(workplace: &Workplace<'_>, path: &str) -> String {
    workplace.namespace.kubectl(&["get", "pod", "pod-1", "-o", &format!("jsonpath={{{path}}}")])
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_asks_for_the_deletion_of_the_own_pod_with_the_pods_own_grace_and_tells_why() {
    let Some(workplace) = Workplace::shared(RESTART) else { return };
    workplace.wait_for_right("delete", "pods", true);
    workplace.wait_for_right("create", "events.events.k8s.io", true);
    let orchestrator = workplace.orchestrator();
    orchestrator.restart(&reason()).await.unwrap();
    assert_ne!(deletion(&workplace, ".metadata.deletionTimestamp"), "");
    assert_eq!(deletion(&workplace, ".metadata.deletionGracePeriodSeconds"), "30", "that of the pod");
    let events = workplace.namespace.kubectl(&["describe", "pod", "pod-1"]);
    assert!(
        events.contains("DayOneFailed") && events.contains("the first configuration was refused"),
        "{events}"
    );

    orchestrator.restart(&reason()).await.expect("it is on its way already");
    workplace.namespace.kubectl(&["delete", "pod", "pod-1", "--grace-period=0", "--force"]);
    orchestrator.restart(&reason()).await.expect("it is gone already");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_of_the_same_name_that_came_after_this_one_is_not_touched() {
    let Some(workplace) = Workplace::shared(RESTART) else { return };
    workplace.wait_for_right("delete", "pods", true);
    let orchestrator = workplace.orchestrator();
    let uid = orchestrator.identity().await.unwrap().uid;
    workplace.namespace.kubectl(&["delete", "pod", "pod-1", "--grace-period=0", "--force"]);
    workplace.namespace.create_pod("pod-1", "node-1", LABELS, ANNOTATIONS);
    assert_ne!(workplace.namespace.pod_uid("pod-1").unwrap(), uid);

    orchestrator.restart(&reason()).await.expect("this pod is gone already");
    assert_eq!(deletion(&workplace, ".metadata.deletionTimestamp"), "", "the other one lives");
    assert!(workplace.calls().iter().any(|call| call.verb == "delete" && call.status == 409));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pod_that_is_described_wrongly_can_be_restarted() {
    let Some(workplace) = Workplace::shared(RESTART) else { return };
    workplace.wait_for_right("delete", "pods", true);
    workplace.namespace.kubectl(&["annotate", "pod", "pod-1", "xgvela.com/tmaas-"]);
    let orchestrator = workplace.orchestrator();
    orchestrator.identity().await.unwrap_err();
    orchestrator.restart(&reason()).await.unwrap();
    assert_ne!(deletion(&workplace, ".metadata.deletionTimestamp"), "");
}
