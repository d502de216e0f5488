//! An engine that has nothing to do rests: in virtual time one that does not would never let the clock go on.

use std::sync::Arc;
use std::time::Duration;

use cim_core::SourceErrorKind;
use cim_core::intake::Class;
use cim_testkit::MemorySource;
use tokio::time::{sleep, timeout};

use super::application::Manner;
use super::{LEASE, Pod, until};

/// Lets an hour pass.
async fn an_hour() {
    sleep(Duration::from_secs(3_600)).await;
}

#[tokio::test(start_paused = true)]
async fn without_a_source_the_values_of_the_start_wait_for_nobody() {
    let pod = Pod::over(MemorySource::new("store"), Manner::Works, |plan| {
        plan.source = None;
        plan.ms_revision = Some("4".to_owned());
    });
    pod.register().await;
    an_hour().await;
    assert_eq!(pod.view().await.commits_waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn an_application_may_say_that_it_is_configured_while_it_is_being_loaded() {
    let store = MemorySource::new("store");
    store.put("config/ns/svc/0", "{}");
    let pod = Pod::over(store, Manner::WorksAndHangs, |plan| plan.nf_revision = Some("0".to_owned()));
    pod.register().await;
    let said = async |what: &str| {
        let event = format!(r#"{{"eventName":"{what}"}}"#);
        pod.cim.intake().accept(Class::Event, event.as_bytes()).await.unwrap();
    };
    said("NotConfigured").await;
    until("load", || pod.app.loads() == 1).await;
    said("Configured").await;
    an_hour().await;
    assert_eq!(pod.app.loads(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_store_that_goes_away_right_after_a_change_is_waited_for() {
    let pod = Pod::registered(Manner::Works).await;
    pod.store.put("change-set/ns/svc/v0/ms/app.json/1", "[]");
    until("the change", || pod.configuration.view().counts.received == 1).await;
    pod.store.set_down(Some(SourceErrorKind::Unavailable));
    an_hour().await;
    pod.store.set_down(None);
    pod.commits(1).await;
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_goes_on_without_a_word_is_told_as_watching() {
    let pod = Pod::registered(Manner::Works).await;
    pod.change(1);
    pod.commits(1).await;
    sleep(LEASE * 2).await;
    let store = Arc::clone(&pod.store);
    let is_watching = async || pod.view().await.watching == Some(true);
    assert!(is_watching().await);
    store.set_down(Some(SourceErrorKind::Unavailable));
    sleep(Duration::from_secs(60)).await;
    assert!(!is_watching().await);
    store.set_down(None);
    let again = async {
        while !is_watching().await {
            sleep(Duration::from_millis(100)).await
        }
    };
    timeout(Duration::from_secs(5), again).await.expect("watching, though nothing was written");
}
