//! Changes that are checked before they are handed over, and confirmed and undone after it.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_core::configuration::{Confirmation, Plan};
use cim_core::intake::Class;
use cim_testkit::MemorySource;
use tokio::time::sleep;

use super::application::Manner;
use super::{LEASE, Pod, key, until};

fn reading_back(plan: &mut Plan) {
    plan.dry_run = true;
    plan.confirmation =
        Some(Confirmation { read_back: Some("/{data_key}".to_owned()), ..Confirmation::default() });
}

fn level(value: u32) -> String {
    format!(r#"[{{"op":"replace","path":"/level","value":{value}}}]"#)
}

#[tokio::test(start_paused = true)]
async fn a_document_that_came_with_the_pod_is_asked_for_before_its_first_change() {
    let pod = Pod::over(MemorySource::new("store"), Manner::Works, reading_back);
    pod.app.show(r#"{"level":1}"#);
    pod.register().await;
    pod.store.put_leased(key(1), r#"[{"op":"remove","path":"/nowhere"}]"#, LEASE);
    pod.commits(-2).await;
    assert_eq!(pod.app.handed_over(), [0i32; 0], "it was refused");
    // It says that it has the change, and has not.
    pod.store.put_leased(key(2), level(2), LEASE);
    until("the change is undone", || pod.app.handed_over() == [2, 2]).await;
    let shown = pod.app.clone();
    pod.app.at_call(move |_| shown.show(r#"{"level":3}"#));
    pod.store.put_leased(key(3), level(3), LEASE);
    pod.commits(3).await;
    let stories: Vec<_> = pod.view().await.history.iter().map(|change| change.state.as_str()).collect();
    assert_eq!(stories, ["refused", "rolled_back", "applied"]);
}

#[tokio::test(start_paused = true)]
async fn an_application_that_began_anew_is_asked_again() {
    let pod = Pod::over(MemorySource::new("store"), Manner::Works, reading_back);
    pod.app.show(r#"{"level":1}"#);
    pod.register().await;
    let shown = pod.app.clone();
    pod.app.at_call(move |_| shown.show(r#"{"level":2}"#));
    pod.store.put_leased(key(1), level(2), LEASE);
    pod.commits(1).await;
    pod.register().await;
    pod.app.show(r#"{"other":1}"#);
    pod.store.put_leased(key(2), r#"[{"op":"remove","path":"/level"}]"#, LEASE);
    pod.commits(-2).await;
    assert_eq!(pod.app.handed_over(), [1], "the change does not fit what the application has now");
}

#[tokio::test(start_paused = true)]
async fn a_document_whose_last_change_was_not_remembered_is_asked_for_again() {
    let dirs = tempfile::tempdir().unwrap();
    let store = MemorySource::new("store");
    let on = |dir: &Path| {
        let dir = dirs.path().join(dir);
        std::fs::create_dir_all(&dir).unwrap();
        Pod::over(Arc::clone(&store), Manner::Works, |plan| {
            reading_back(plan);
            plan.dir = Some(dir);
        })
    };
    let pod = on("spool".as_ref());
    pod.app.show(r#"{"level":1}"#);
    pod.register().await;
    // The second change is handed over: the first one is remembered. What is remembered then is what a kill leaves behind
    // that comes after the second result is stored and before it is remembered.
    let (shown, left) = (pod.app.clone(), dirs.path().to_owned());
    pod.app.at_call(move |revision| {
        shown.show(&format!(r#"{{"level":{}}}"#, revision + 1));
        if revision == 2 {
            std::fs::create_dir(left.join("left")).unwrap();
            std::fs::copy(left.join("spool/configuration.json"), left.join("left/configuration.json"))
                .unwrap();
        }
    });
    for revision in 1..=2 {
        pod.store.put_leased(key(revision), level(u32::try_from(revision).unwrap() + 1), LEASE);
        pod.commits(revision).await;
    }
    pod.stop().await;
    store.reopen();
    let next = on("left".as_ref());
    next.app.show(r#"{"level":3}"#);
    let patch = r#"[{"op":"test","path":"/level","value":3},{"op":"replace","path":"/level","value":4}]"#;
    let shown = next.app.clone();
    next.app.at_call(move |_| shown.show(r#"{"level":4}"#));
    store.put_leased(key(3), patch, LEASE);
    next.commits(3).await;
    assert_eq!(next.app.handed_over(), [3], "it is neither refused nor undone");
}

#[tokio::test(start_paused = true)]
async fn where_no_patch_leads_back_the_last_good_document_is_loaded_as_soon_as_the_application_takes_it() {
    let pod = Pod::over(MemorySource::new("store"), Manner::Works, |plan| {
        let probe = Some("/health".to_owned());
        plan.confirmation = Some(Confirmation { probe, failures: 1, ..Confirmation::default() });
        plan.nf_revision = Some("0".to_owned());
    });
    pod.store.put("config/ns/svc/0", r#"{"app.json":{"level":1}}"#);
    pod.register().await;
    pod.cim.intake().accept(Class::Event, br#"{"eventName":"NotConfigured"}"#).await.unwrap();
    until("the first configuration", || pod.app.loads() == 1).await;
    // Nothing that can be followed: the document is unknown from here on.
    pod.store.put_leased(key(1), r#"[{"op":"remove","path":"/nowhere"}]"#, LEASE);
    pod.commits(1).await;
    pod.app.fall_ill(true);
    let app = pod.app.clone();
    pod.app.at_call(move |_| app.behave(Manner::WorksAndDies));
    pod.store.put_leased(key(2), level(2), LEASE);
    until("it is handed over", || pod.app.handed_over() == [1, 2]).await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(pod.committed(), Some(1), "it cannot be undone while the application is away");
    pod.app.behave(Manner::Works);
    pod.commits(-2).await;
    assert_eq!(pod.view().await.history.last().unwrap().state.as_str(), "rolled_back");
    assert!(pod.app.loads() > 2, "one call found nobody");
}
