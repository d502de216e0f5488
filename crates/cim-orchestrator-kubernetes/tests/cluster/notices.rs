//! Notices to operators.

use cim_core::{Component as _, Health, Notice, Orchestrator as _};
use cim_orchestrator_kubernetes::Features;

use crate::rig::Workplace;

const NOTICES: Features =
    Features { documents: false, restart: false, notices: true, node_agents: false, topology_gateway: false };

fn notice(reason: &str) -> Notice {
    Notice { reason: reason.into(), message: format!("{reason} happened"), is_warning: true }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_is_seen_by_describe_pod_and_not_repeated_within_a_minute() {
    let Some(workplace) = Workplace::shared(NOTICES) else { return };
    workplace.wait_for_right("create", "events.events.k8s.io", true);
    let orchestrator = workplace.orchestrator();
    for _ in 0..100 {
        orchestrator.notify(&notice("SinkDown")).await;
    }
    orchestrator.notify(&notice("SpoolFull")).await;
    assert_eq!(workplace.asked(), ["get pods", "create events", "create events"]);
    let seen = workplace.namespace.kubectl(&["describe", "pod", "pod-1"]);
    for part in ["Warning", "SinkDown", "SpoolFull happened", "cim"] {
        assert!(seen.contains(part), "{part}: {seen}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_notice_that_may_not_be_sent_is_no_failure_and_the_status_says_which_right_is_missing() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let orchestrator = workplace.orchestrator();
    orchestrator.notify(&notice("SinkDown")).await;
    let Health::Degraded(text) = orchestrator.probe().await else { panic!("nothing is said") };
    assert!(text.contains("`create events.events.k8s.io`"), "{text}");
    orchestrator.identity().await.expect("everything else works");
}
