//! Processes that end while a result is on its way, stores that are set back, and pods that begin with what is still a change.

use std::sync::Arc;
use std::time::Duration;

use cim_core::configuration::Plan;
use cim_core::intake::Class;
use cim_core::{OrchestratorErrorKind, SourceErrorKind};
use cim_testkit::MemorySource;
use tokio::time::sleep;

use super::application::Manner;
use super::remembered::{on_spool, through_an_old_count};
use super::{LEASE, Pod, key, until};

#[tokio::test(start_paused = true)]
async fn a_result_that_waits_for_the_store_outlives_the_process() {
    let (dir, left) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = MemorySource::new("store");
    let pod = on_spool(&store, dir.path());
    pod.register().await;
    pod.change(6);
    pod.commits(6).await;
    let away = Arc::clone(&store);
    pod.app.at_call(move |_| away.set_down(Some(SourceErrorKind::Unavailable)));
    pod.change(7);
    until("the result that waits", || pod.app.handed_over() == [6, 7]).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pod.view().await.commits_waiting, 1);
    // What a SIGKILL leaves.
    std::fs::copy(dir.path().join("configuration.json"), left.path().join("configuration.json")).unwrap();
    pod.stop().await;
    assert_eq!(pod.committed(), Some(6));
    store.reopen();
    store.set_down(None);
    let next = on_spool(&store, left.path());
    next.commits(7).await;
    next.change(8);
    next.commits(8).await;
    assert_eq!(next.app.handed_over(), [8], "7 has its result");
    assert_eq!(next.commits_written(), [6, 7, 8]);
}

#[tokio::test(start_paused = true)]
async fn a_process_that_is_told_to_end_uses_the_time_it_has_for_a_result_that_was_not_taken() {
    let pod = Pod::registered(Manner::Works).await;
    pod.store.fail_reports([SourceErrorKind::Unavailable; 3]);
    pod.change(7);
    until("the call", || pod.app.handed_over() == [7]).await;
    pod.stop().await;
    assert_eq!(pod.committed(), Some(7));
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_began_with_a_change_does_not_end_for_it() {
    let spool = tempfile::tempdir().unwrap();
    let began_with = |plan: &mut Plan| {
        plan.dir = Some(spool.path().to_owned());
        plan.ms_revision = Some("6".to_owned());
    };
    let store = MemorySource::new("store");
    store.put_leased(key(6), r#"[{"op":"remove","path":"/gone/already"}]"#, LEASE);
    let pod = Pod::over(Arc::clone(&store), Manner::Answers(500), began_with);
    pod.register().await;
    pod.commits(-2).await;
    assert!(pod.app.handed_over().len() > 1, "it is handed over, and more than once");
    let told = pod.view().await.history.last().unwrap().reason.clone();
    assert_eq!(told.as_deref(), Some("the application answered 500"));
    let story = store.value(b"cim-status/ns/svc/pod-1/app.json").unwrap();
    assert!(String::from_utf8_lossy(&story).contains("the pod began with a map that has it, and lives on"));
    pod.stop().await;
    // A sidecar that starts again in this pod is told the map of today: the application may not have it.
    store.reopen();
    store.put_leased(key(7), "[]", LEASE);
    let next = Pod::over(Arc::clone(&store), Manner::Answers(500), |plan| {
        began_with(plan);
        plan.ms_revision = Some("7".to_owned());
    });
    next.commits(-1).await;
}

#[tokio::test(start_paused = true)]
async fn in_a_store_that_was_set_back_no_change_is_taken_for_one_of_an_earlier_count() {
    let spool = tempfile::tempdir().unwrap();
    let store = MemorySource::new("store");
    let before = store.snapshot();
    through_an_old_count(&store, spool.path()).await;
    // The map is made anew, which a process that starts after that sees.
    store.put_leased(key(1), "[]", LEASE);
    let next = on_spool(&store, spool.path());
    next.commits(1).await;
    // All of it is lost: the store begins before any of this.
    store.set_back(&before);
    for revision in 2..=3 {
        next.change(revision);
        next.commits(revision).await;
    }
    assert_eq!(next.app.handed_over(), [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_restart_that_the_orchestrator_cannot_give_is_asked_for_again_and_counts_once() {
    let store = MemorySource::new("store");
    store.put("config/ns/svc/0", "{}");
    let pod = Pod::over(Arc::clone(&store), Manner::Answers(503), |plan| {
        plan.nf_revision = Some("0".to_owned());
        plan.restart_budget = 1;
    });
    pod.orchestrator.set_down(Some(OrchestratorErrorKind::Unavailable));
    pod.register().await;
    pod.cim.intake().accept(Class::Event, br#"{"eventName":"NotConfigured"}"#).await.unwrap();
    until("the end of all attempts", || pod.announced("LoadConfigRequestFailure")).await;
    sleep(Duration::from_secs(3600)).await;
    assert!(pod.orchestrator.restarts().is_empty());
    pod.orchestrator.set_down(None);
    until("the restart", || pod.orchestrator.restarts().len() == 1).await;
    sleep(Duration::from_secs(3600)).await;
    assert_eq!(pod.orchestrator.restarts().len(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_waits_for_calls_of_other_documents_is_no_failure_of_the_application() {
    let pod = Pod::registered(Manner::WorksAndHangs).await;
    let keys: Vec<_> = (0..200).map(|n| format!("change-set/ns/svc/v0/ms/document-{n}.json/1")).collect();
    for key in &keys {
        pod.store.put_leased(key.as_str(), "[]", LEASE);
    }
    sleep(LEASE).await;
    sleep(LEASE).await;
    assert!(!pod.commits_written().contains(&-1), "nobody but CIM kept them waiting");
    assert!(pod.app.handed_over().len() < keys.len(), "they did wait");
}
