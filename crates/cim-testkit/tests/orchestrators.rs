//! The suite for orchestrators finds every planted flaw, by the property that names it, and finds nothing wrong with one
//! that works.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[path = "orchestrators/alone.rs"]
mod alone;

use std::sync::Arc;

use alone::Alone;
use cim_core::{Document, Identity, Notice, Orchestrator, OrchestratorErrorKind, RestartReason};
use cim_testkit::{
    FakeCluster, FakeOrchestrator, OrchestratorFlaw, OrchestratorMutant, OrchestratorProperty,
    first_orchestrator_violation,
};

cim_testkit::orchestrator_conformance!(
    fake,
    FakeCluster::new(|target| Arc::clone(target) as Arc<dyn Orchestrator>)
);

cim_testkit::orchestrator_conformance!(standalone, Alone::new());

/// The simplest property that a flaw violates is the one that names it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_mutant_fails_by_its_property() {
    let trials = OrchestratorFlaw::ALL.into_iter().map(|(flaw, expected)| async move {
        let found = first_orchestrator_violation(|| OrchestratorMutant::harness(flaw)).await;
        (flaw, found, expected)
    });
    let mut surprises = futures_util::future::join_all(trials).await;
    surprises.retain(|(_, found, expected)| found.as_ref().map(|found| found.property) != Some(*expected));
    assert!(surprises.is_empty(), "flaw, violation, expected: {surprises:#?}");
}

#[test]
fn every_property_is_proven_by_a_mutant() {
    for property in OrchestratorProperty::ALL {
        assert!(
            OrchestratorFlaw::ALL.iter().any(|(_, found_by)| *found_by == property),
            "{property} has no mutant"
        );
    }
}

#[tokio::test]
async fn the_fake_orchestrator_remembers_what_it_was_asked() {
    let pod = FakeOrchestrator::new(Identity { pod: "pod-1".to_owned(), ..Identity::default() });
    assert_eq!(pod.identity().await.unwrap().pod, "pod-1");
    let document = Document { name: "map".to_owned(), ..Document::default() };
    assert!(pod.create_document(&document).await.unwrap());
    assert!(!pod.create_document(&document).await.unwrap());
    assert_eq!(pod.document("map").await.unwrap(), Some(document));
    let reason = RestartReason { reason: "R".to_owned(), message: "m".to_owned() };
    pod.restart(&reason).await.unwrap();
    pod.set_down(Some(OrchestratorErrorKind::Forbidden));
    assert!(pod.restart(&reason).await.is_err());
    pod.notify(&Notice { reason: "R".to_owned(), message: "m".to_owned(), is_warning: false }).await;
    assert_eq!((pod.restarts().len(), pod.notices().len()), (1, 0));
}
