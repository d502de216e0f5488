//! The manifest grants what is needed, and nothing that is not.

use cim_core::{
    Component as _, Document, Health, Notice, Orchestrator as _, OrchestratorError, OrchestratorErrorKind,
    PeerQuery, RestartReason,
};
use cim_orchestrator_kubernetes::{Features, KubernetesOrchestrator, Right, Scope, rbac, rights};

use crate::rig::Workplace;

/// Does what needs the right; a notice tells by the status, since losing one is no failure.
async fn exercise(orchestrator: &KubernetesOrchestrator, right: &Right) -> Result<(), OrchestratorError> {
    let document = Document { name: "made".into(), ..Document::default() };
    match (right.verb, right.resource) {
        ("get", "pods") => orchestrator.identity().await.map(drop),
        ("get", "configmaps") => orchestrator.document("absent").await.map(drop),
        ("create", "configmaps") => orchestrator.create_document(&document).await.map(drop),
        ("list", "pods") => {
            let query = PeerQuery::NodeAgent { selector: "k8s-app=fluent-bit".into(), port: 5170 };
            orchestrator.locate(&query).await.map(drop)
        }
        ("delete", "pods") => {
            let reason = RestartReason { reason: "Test".into(), message: String::new() };
            orchestrator.restart(&reason).await
        }
        ("get", "clusterroles") => orchestrator.topology_gateway().await.map(drop),
        ("create", "events") => {
            orchestrator
                .notify(&Notice { reason: "Told".into(), message: "x".into(), is_warning: false })
                .await;
            match orchestrator.probe().await {
                Health::Ready => Ok(()),
                Health::Degraded(text) => Err(OrchestratorError::new(OrchestratorErrorKind::Forbidden, text)),
            }
        }
        other => panic!("no exercise for {other:?}"),
    }
}

/// The manifest without the rule for one right.
fn without(manifest: &str, right: &Right) -> String {
    let rule = format!(
        "  # {}\n  - apiGroups: [\"{}\"]\n    resources: [\"{}\"]\n    verbs: [\"{}\"]\n",
        right.purpose, right.group, right.resource, right.verb
    );
    assert!(manifest.contains(&rule), "no rule for {right:?}");
    // A role without rules is written with an empty list.
    manifest.replace(&rule, "").replace("rules:\n---", "rules: []\n---")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_works_with_the_manifest_and_no_right_of_it_can_be_spared() {
    let Some(workplace) = Workplace::shared(Features::ALL) else { return };
    let manifest = rbac(&workplace.subject(), Features::ALL);
    // The delete comes last: it ends the pod.
    let mut all = rights(Features::ALL);
    all.sort_by_key(|right| right.verb == "delete");
    let wait = |right: &Right, granted| {
        let group = if right.group.is_empty() { String::new() } else { format!(".{}", right.group) };
        workplace.wait_for_right(right.verb, &format!("{}{group}", right.resource), granted);
    };
    for right in &all {
        workplace.kubernetes.apply(&without(&manifest, right));
        wait(right, false);
        let orchestrator = workplace.orchestrator();
        for access in orchestrator.check_access(Features::ALL).await.unwrap() {
            assert_eq!(access.allowed, access.right != *right, "{access:?} without {right:?}");
        }
        let error = exercise(&orchestrator, right).await.expect_err(right.purpose);
        assert_eq!(error.kind(), OrchestratorErrorKind::Forbidden, "{error}");
        let place = if right.scope == Scope::Cluster { "all namespaces" } else { "its namespace" };
        for part in [&format!("`{} {}", right.verb, right.resource), place, "cim manifest --rbac"] {
            assert!(error.to_string().contains(part), "`{error}` does not say `{part}`");
        }

        workplace.kubernetes.apply(&manifest);
        wait(right, true);
        // One of its own: a notice is not repeated.
        exercise(&workplace.orchestrator(), right)
            .await
            .unwrap_or_else(|error| panic!("granted again: {error}"));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_ends_with_the_grant_and_is_forgotten() {
    let Some(workplace) = Workplace::shared(Features::default()) else { return };
    let orchestrator = workplace.orchestrator();
    let error = orchestrator.document("any").await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Forbidden);
    assert_eq!(orchestrator.probe().await, Health::Degraded(error.to_string()));
    workplace.grant(Features { documents: true, ..Features::default() });
    workplace.wait_for_right("get", "configmaps", true);
    assert_eq!(orchestrator.document("any").await.unwrap(), None);
    assert_eq!(orchestrator.probe().await, Health::Ready);
}
