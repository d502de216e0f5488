//! How long a change and its result have, which only the store can tell: it may begin leases anew.

use std::time::Duration;

use cim_core::SourceErrorKind;
use cim_core::configuration::Registration;
use tokio::time::sleep;

use super::application::Manner;
use super::{LEASE, Pod, success, until};

#[tokio::test(start_paused = true)]
async fn a_result_outlives_a_store_that_was_down_for_longer_than_the_lease() {
    let pod = Pod::registered(Manner::Answers(202)).await;
    pod.change(1);
    until("push", || pod.app.handed_over() == [1]).await;
    pod.store.stop();
    pod.cim.lane().config_result(success(1).as_bytes());
    sleep(LEASE * 2).await;
    pod.store.restart();
    pod.commits(1).await;
    assert_eq!(pod.view().await.counts.commit_failures, 0);
}

#[tokio::test(start_paused = true)]
async fn no_failure_is_written_for_an_application_that_recovers_while_the_store_is_down() {
    let pod = Pod::registered(Manner::Answers(500)).await;
    pod.change(1);
    until("push", || !pod.app.handed_over().is_empty()).await;
    pod.store.stop();
    sleep(LEASE * 2).await;
    pod.app.behave(Manner::Works);
    pod.store.restart();
    pod.commits(1).await;
    assert_eq!(pod.commits_written(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_waits_for_the_result_before_it_is_no_failure() {
    let pod = Pod::registered(Manner::Works).await;
    // There is no room until shortly before the leases end.
    pod.store.fail_reports(std::iter::repeat_n(SourceErrorKind::Full, 1000));
    pod.change(1);
    pod.change(2);
    sleep(LEASE - Duration::from_secs(4)).await;
    assert_eq!(pod.committed(), None);
    pod.store.heal_reports();
    pod.commits(2).await;
    assert_eq!(pod.commits_written(), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn a_change_whose_application_never_came_gets_no_result() {
    let pod = Pod::start(Manner::Works);
    pod.change(1);
    sleep(LEASE * 2).await;
    assert_eq!((pod.commits_written(), pod.view().await.counts.expired), (Vec::new(), 1));
    pod.configuration.register(Registration::default()).await;
    pod.change(2);
    pod.commits(2).await;
    assert_eq!(pod.app.handed_over(), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_lease_that_the_config_server_renews_is_the_new_deadline() {
    let pod = Pod::registered(Manner::Answers(500)).await;
    pod.change(1);
    sleep(LEASE / 2).await;
    // Written again under another lease.
    pod.change(1);
    sleep(LEASE - Duration::from_secs(60)).await;
    assert!(pod.commits_written().is_empty(), "the first lease has ended");
    pod.app.behave(Manner::Works);
    pod.commits(1).await;
}
