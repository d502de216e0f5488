//! What the engine remembers for the next process, and who waits until it does.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_core::configuration::Registration;
use cim_core::intake::Class;
use cim_testkit::MemorySource;
use tokio::time::sleep;

use super::application::Manner;
use super::{COMMIT, LEASE, Pod, key, until};

/// The file of it in the spool directory.
const MEMORY: &str = "configuration.json";

/// A pod over that store, on what the one before left.
pub fn on_spool(store: &Arc<MemorySource>, spool: &Path) -> Pod {
    Pod::over(Arc::clone(store), Manner::Works, |plan| plan.dir = Some(spool.to_owned()))
}

/// A process that ends with changes 56 and 57 of a map settled, and judged: the config server removes a result then.
pub async fn through_an_old_count(store: &Arc<MemorySource>, spool: &Path) {
    let pod = on_spool(store, spool);
    pod.register().await;
    for revision in 56..=57 {
        pod.change(revision);
        pod.commits(revision).await;
    }
    pod.stop().await;
    store.reopen();
    store.delete(COMMIT.as_bytes());
}

#[tokio::test(start_paused = true)]
async fn a_kill_and_a_store_that_was_set_back_at_once_bring_no_change_back_after_a_later_one() {
    let dirs = tempfile::tempdir().unwrap();
    let (dir, left) = (dirs.path().join("spool"), dirs.path().join("left"));
    std::fs::create_dir(&dir).unwrap();
    std::fs::create_dir(&left).unwrap();
    let store = MemorySource::new("store");
    for revision in 1..=5 {
        store.put_leased(key(revision), "[]", LEASE);
    }
    let pod = Pod::over(store, Manner::Works, |plan| plan.dir = Some(dir.clone()));
    let at_death = left.join(MEMORY);
    pod.app.at_call(move |revision| {
        if revision == 5 {
            std::fs::copy(dir.join(MEMORY), &at_death).unwrap();
        }
    });
    pod.register().await;
    pod.commits(5).await;

    // As it was when the fifth was handed over; the store has every change again and no result.
    let store = MemorySource::new("store");
    for revision in 1..=5 {
        store.put_leased(key(revision), "[]", LEASE);
    }
    let next = Pod::over(store, Manner::Works, |plan| plan.dir = Some(left));
    next.commits(5).await;
    assert_eq!(next.app.handed_over(), [5]);
}

/// A pod whose application never takes its first configuration, until it is given up.
async fn never_loaded(store: &Arc<MemorySource>, spool: &Path) -> Pod {
    // Read after the registration: what an earlier process left half done is loaded for it as well, and not counted here.
    store.set_gate(false);
    let pod = Pod::over(Arc::clone(store), Manner::Answers(503), |plan| {
        plan.nf_revision = Some("0".to_owned());
        plan.dir = Some(spool.to_owned());
        plan.restart_budget = 3;
    });
    pod.register().await;
    store.set_gate(true);
    pod.cim.intake().accept(Class::Event, br#"{"eventName":"NotConfigured"}"#).await.unwrap();
    until("the end of all attempts", || pod.announced("LoadConfigRequestFailure")).await;
    assert_eq!(pod.app.loads(), 10, "one failure is none");
    pod
}

fn with_first_configuration() -> Arc<MemorySource> {
    let store = MemorySource::new("store");
    store.put("config/ns/svc/0", "{}");
    store
}

#[tokio::test(start_paused = true)]
async fn a_pod_is_restarted_for_its_first_configuration_within_a_budget_that_outlives_it() {
    let spool = tempfile::tempdir().unwrap();
    let mut restarts = 0;
    for _ in 0..6 {
        let pod = never_loaded(&with_first_configuration(), spool.path()).await;
        pod.stop().await;
        restarts += pod.orchestrator.restarts().len();
    }
    assert_eq!(restarts, 3);
}

#[tokio::test(start_paused = true)]
async fn pods_whose_spools_end_with_them_share_the_budget_of_their_microservice() {
    let store = with_first_configuration();
    let mut restarts = Vec::new();
    for _ in 0..6 {
        let spool = tempfile::tempdir().unwrap();
        let pod = never_loaded(&store, spool.path()).await;
        pod.stop().await;
        store.reopen();
        restarts.push(pod.orchestrator.restarts().len());
    }
    assert_eq!(restarts, [1, 1, 1, 0, 0, 0]);
    let note = store.value(b"cim-status/ns/svc/_restarts").unwrap();
    let note: serde_json::Value = serde_json::from_slice(&note).unwrap();
    assert_eq!(note["restarts"].as_array().unwrap().len(), 3, "{note}");

    // Garbage is as good as nothing, and a store that does not answer leaves the count of the spool.
    store.put("cim-status/ns/svc/_restarts", "[7");
    let spool = tempfile::tempdir().unwrap();
    let pod = never_loaded(&store, spool.path()).await;
    pod.stop().await;
    assert_eq!(pod.orchestrator.restarts().len(), 1);
}

#[tokio::test]
async fn a_registration_is_answered_when_it_can_be_remembered() {
    let spool = tempfile::tempdir().unwrap();
    let pod =
        Pod::over(MemorySource::new("store"), Manner::Works, |plan| plan.dir = Some(spool.path().to_owned()));
    let register = async |id: &str| {
        let registration = Registration { container_name: "app".to_owned(), container_id: id.to_owned() };
        pod.configuration.register(registration).await;
        std::fs::read_to_string(spool.path().join(MEMORY)).unwrap()
    };
    for turn in 0..20 {
        let second = format!("second-{turn}");
        let ((), memory) = tokio::join!(async { drop(register("first").await) }, async {
            // While the first one is being written.
            sleep(Duration::from_micros(turn * 50)).await;
            register(&second).await
        });
        assert!(memory.contains(&second), "{second}: {memory}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_map_that_was_made_anew_counts_from_one_and_none_of_its_changes_is_taken_for_an_old_one() {
    let spool = tempfile::tempdir().unwrap();
    let store = MemorySource::new("store");
    let start = || on_spool(&store, spool.path());
    through_an_old_count(&store, spool.path()).await;
    for revision in 1..=2 {
        store.put_leased(key(revision), "[]", LEASE);
    }
    // Registered it is: who registers again while a change is with him gets it again.
    let next = start();
    next.commits(2).await;
    next.change(3);
    next.commits(3).await;
    assert_eq!(
        next.app.handed_over(),
        [1, 2, 3],
        "the old changes are still in the store, and have their result"
    );
    next.stop().await;

    store.reopen();
    let last = start();
    last.change(4);
    last.commits(4).await;
    assert_eq!(last.app.handed_over(), [4]);
}

#[tokio::test(start_paused = true)]
async fn a_story_of_the_other_level_says_nothing_of_a_document_of_the_same_name() {
    let spool = tempfile::tempdir().unwrap();
    let store = MemorySource::new("store");
    let start = || on_spool(&store, spool.path());
    let pod = start();
    pod.register().await;
    store.put_leased("change-set/ns/svc/v0/nf/app.json/9", "[]", LEASE);
    until("the change of the network function", || pod.app.handed_over() == [9]).await;
    pod.change(4);
    pod.commits(4).await;
    pod.stop().await;
    store.reopen();
    let next = start();
    store.put_leased("change-set/ns/svc/v0/nf/app.json/10", "[]", LEASE);
    until("the next one", || next.app.handed_over().contains(&10)).await;
    next.change(5);
    next.commits(5).await;
    assert_eq!(next.app.handed_over(), [10, 5]);
}
