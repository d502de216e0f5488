//! The configuration engine over a store and an application in memory, in virtual time: what the original did wrong is not
//! done here (`docs/reference/defects.md`).
//!
//! Left out: what a lane or the desk shows by itself, and lives with everything at once (`judge`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

#[path = "engine/application.rs"]
mod application;
#[path = "engine/checked.rs"]
mod checked;
#[path = "engine/ends.rs"]
mod ends;
#[path = "engine/leases.rs"]
mod leases;
mod pod;
#[path = "engine/remembered.rs"]
mod remembered;
#[path = "engine/rest.rs"]
mod rest;

use std::sync::Arc;
use std::time::Duration;

use application::{Manner, Obedient};
use cim_core::configuration::{Configuration, ConfigurationView, Plan, Registration};
use cim_core::intake::Class;
use cim_core::{Cim, Commit, SourceErrorKind};
use cim_testkit::{FakeOrchestrator, MemorySink, MemorySource};
use pod::identity;
use tokio::time::{Instant, sleep, timeout};

const LEASE: Duration = Duration::from_secs(180);
const COMMIT: &str = "commit-config/ns/svc/v0/ms/pod-1";

/// An engine with everything around it.
struct Pod {
    store: Arc<MemorySource>,
    app: Arc<Obedient>,
    orchestrator: Arc<FakeOrchestrator>,
    sink: Arc<MemorySink>,
    cim: Cim,
    configuration: Configuration,
}

impl Pod {
    fn start(manner: Manner) -> Self {
        Self::over(MemorySource::new("store"), manner, |_| {})
    }

    fn over(store: Arc<MemorySource>, manner: Manner, plan: impl FnOnce(&mut Plan)) -> Self {
        let sink = MemorySink::new("memory");
        let cim = Cim::builder().identity(identity()).sink("memory", sink.sink()).start().unwrap();
        let app = Obedient::new(manner);
        app.connect(cim.lane());
        let orchestrator = FakeOrchestrator::new(identity());
        let mut all = Plan::new(identity(), app.clone(), orchestrator.clone());
        all.source = Some(store.clone());
        plan(&mut all);
        let configuration = Configuration::start(&cim, all).unwrap();
        Self { store, app, orchestrator, sink, cim, configuration }
    }

    async fn registered(manner: Manner) -> Self {
        let pod = Self::start(manner);
        pod.register().await;
        pod
    }

    async fn register(&self) {
        self.configuration.register(Registration::default()).await;
    }

    fn change(&self, revision: i32) {
        self.store.put_leased(key(revision), "[]", LEASE);
    }

    /// What the config server reads.
    fn committed(&self) -> Option<i32> {
        std::str::from_utf8(&self.store.value(COMMIT.as_bytes())?).unwrap().parse().ok()
    }

    async fn commits(&self, value: i32) {
        until("the commit", || self.committed() == Some(value)).await;
    }

    /// Every value that was written for the config server, in order.
    fn commits_written(&self) -> Vec<i32> {
        let reports = self.store.reports();
        reports.iter().filter_map(|report| report.commit.as_ref()).map(|commit| commit.value).collect()
    }

    async fn view(&self) -> ConfigurationView {
        self.configuration.current().await
    }

    /// Whether CIM has raised an event of that name.
    fn announced(&self, name: &str) -> bool {
        let name = format!("\"eventName\":\"{name}\"");
        self.sink.kept().iter().any(|event| String::from_utf8_lossy(&event.body).contains(&name))
    }

    async fn stop(&self) {
        self.configuration.stop(Duration::from_secs(5)).await;
        self.cim.stop(Duration::ZERO).await;
    }
}

fn key(revision: i32) -> String {
    format!("change-set/ns/svc/v0/ms/app.json/{revision}")
}

/// The word of success for that change.
fn success(revision: i32) -> String {
    format!(r#"{{"change-set-key":"{}","status":"success"}}"#, key(revision))
}

/// Waits in virtual time.
async fn until(what: &str, condition: impl Fn() -> bool) {
    cim_testkit::until(what, LEASE * 2, async || condition()).await;
}

#[tokio::test(start_paused = true)]
async fn changes_and_results_pass_where_nobody_counts() {
    // No recorder of metrics is installed in this process, and no page asks for any.
    let pod = Pod::registered(Manner::Works).await;
    pod.change(1);
    pod.commits(1).await;
    until("announcement", || pod.announced("CimCommitConfigSuccess")).await;
}

#[tokio::test(start_paused = true)]
async fn a_result_that_cannot_be_stored_in_time_is_announced_and_the_next_change_goes_on() {
    let pod = Pod::registered(Manner::Answers(202)).await;
    pod.change(1);
    until("push", || pod.app.handed_over() == [1]).await;
    pod.store.set_down(Some(SourceErrorKind::Unavailable));
    pod.cim.lane().config_result(success(1).as_bytes());
    sleep(LEASE).await;
    pod.store.set_down(None);
    until("announcement", || pod.announced("CimCommitConfigFailure")).await;
    assert_eq!(pod.committed(), None, "a result that comes too late is none");
    pod.app.behave(Manner::Works);
    pod.change(2);
    pod.commits(2).await;
    assert_eq!(pod.view().await.counts.commit_failures, 1);
}

#[tokio::test(start_paused = true)]
async fn a_result_after_the_end_and_one_before_the_first_change_count_for_nothing() {
    let pod = Pod::start(Manner::Works);
    let result = success(1);
    let mut lane = pod.cim.lane();
    lane.config_result(result.as_bytes());
    until("count", || pod.configuration.view().counts.results_ignored == 1).await;
    pod.register().await;
    pod.change(1);
    pod.commits(1).await;
    pod.configuration.stop(Duration::from_secs(5)).await;
    lane.config_result(result.as_bytes());
    pod.cim.stop(Duration::ZERO).await;
    assert_eq!(pod.commits_written(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_change_that_was_there_before_the_start_is_handed_over() {
    let store = MemorySource::new("store");
    store.put_leased(key(1), "[]", LEASE);
    // As an earlier run left it, and what came while there was none.
    store.put(COMMIT, "1");
    store.put_leased(key(2), "[]", LEASE);
    let pod = Pod::over(store, Manner::Works, |_| {});
    pod.register().await;
    pod.commits(2).await;
    assert_eq!(pod.app.handed_over(), [2], "what the earlier run committed is settled");
}

#[tokio::test(start_paused = true)]
async fn a_watch_that_ended_is_begun_again_for_ever() {
    let pod = Pod::registered(Manner::Works).await;
    for revision in 1..=100 {
        pod.store.cut();
        if revision % 3 == 0 {
            pod.store.compact();
        }
        pod.change(revision);
        pod.commits(revision).await;
    }
    assert_eq!(pod.app.handed_over(), (1..=100).collect::<Vec<_>>());
    assert!(pod.view().await.counts.watch_restarts >= 100);
}

#[tokio::test(start_paused = true)]
async fn no_change_of_a_large_burst_is_missed() {
    let pod = Pod::start(Manner::Works);
    until("the watch", || pod.configuration.view().watching == Some(true)).await;
    for revision in 1..=3_000 {
        // Without a lease, which would be asked for each.
        pod.store.put(key(revision), "[]");
    }
    until("changes", || pod.configuration.view().counts.received > 0).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pod.view().await.counts.received, 3_000);
}

#[tokio::test(start_paused = true)]
async fn no_commit_waits_for_an_announcement() {
    let pod = Pod::registered(Manner::Works).await;
    pod.sink.set_gate(false);
    // The class of events is full: nothing can be announced.
    let event = cim_event(&"x".repeat(500_000));
    let intake = pod.cim.intake();
    while timeout(Duration::from_millis(50), intake.accept(Class::Event, &event)).await.is_ok() {}
    for revision in 1..=50 {
        let begun = Instant::now();
        pod.change(revision);
        pod.commits(revision).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    pod.sink.set_gate(true);
    until("announcement", || pod.announced("CimCommitConfigSuccess")).await;
}

fn cim_event(value: &str) -> Vec<u8> {
    format!(r#"{{"eventName":"Filler","additionalInfo":[{{"name":"x","value":"{value}"}}]}}"#).into_bytes()
}

#[tokio::test(start_paused = true)]
async fn a_store_that_is_absent_at_the_start_is_announced_once() {
    let absent = |told: bool| {
        let store = MemorySource::new("store");
        store.set_down(Some(SourceErrorKind::Unavailable));
        Pod::over(store, Manner::Works, |plan| plan.announce_absence = told)
    };
    let (pod, quiet) = (absent(true), absent(false));
    sleep(Duration::from_secs(9)).await;
    assert!(!pod.announced("CimConnectEtcdFailure"), "it may still come");
    sleep(Duration::from_secs(3_600)).await;
    let kept = pod.sink.kept();
    let told =
        kept.iter().filter(|event| String::from_utf8_lossy(&event.body).contains("CimConnectEtcdFailure"));
    assert_eq!(told.count(), 1);
    assert!(!quiet.announced("CimConnectEtcdFailure"));
}

#[tokio::test(start_paused = true)]
async fn a_registration_waits_for_no_store_and_the_values_of_the_start_follow() {
    let store = MemorySource::new("store");
    store.set_gate(false);
    let pod = Pod::over(Arc::clone(&store), Manner::Works, |plan| plan.ms_revision = Some("3".to_owned()));
    timeout(Duration::from_secs(1), pod.register()).await.expect("a registration within a second");
    sleep(Duration::from_secs(3_600)).await;
    store.fail_reports([SourceErrorKind::Unavailable; 5]);
    store.set_gate(true);
    pod.commits(3).await;
}

#[tokio::test(start_paused = true)]
async fn how_long_a_lease_lasts_is_asked_until_the_store_tells() {
    for lease in [60, 600].map(Duration::from_secs) {
        let pod = Pod::registered(Manner::Away).await;
        pod.store.fail_lease_questions(5);
        pod.store.put_leased(key(1), "[]", lease);
        sleep(lease - Duration::from_secs(10)).await;
        assert_eq!(pod.committed(), None, "of {lease:?}");
        sleep(Duration::from_secs(9)).await;
        assert_eq!(pod.committed(), Some(-1), "of {lease:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_word_that_corrects_an_answer_takes_the_change_out_of_the_document() {
    let pod = Pod::over(MemorySource::new("store"), Manner::Works, |plan| {
        plan.nf_revision = Some("0".to_owned());
    });
    pod.store.put("config/ns/svc/0", r#"{"app.json":{"level":1}}"#);
    pod.register().await;
    pod.cim.intake().accept(Class::Event, br#"{"eventName":"NotConfigured"}"#).await.unwrap();
    until("the first configuration", || pod.app.loads() == 1).await;
    pod.app.behave(Manner::Answers(200));
    let patch = r#"[{"op":"replace","path":"/level","value":2}]"#;
    pod.store.put_leased(key(1), patch, LEASE);
    pod.commits(1).await;
    assert_eq!(pod.configuration.last_change("app.json").await.unwrap()[0]["value"], 2);
    let failure = format!(r#"{{"change-set-key":"{}","status":"failure"}}"#, key(1));
    pod.cim.lane().config_result(failure.as_bytes());
    pod.commits(-1).await;
    assert!(pod.configuration.last_change("app.json").await.is_err());
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_failure_is_no_success_and_its_verdict_comes_before_the_lease_ends() {
    for manner in [Manner::Answers(500), Manner::Answers(404), Manner::Answers(409), Manner::Answers(302)] {
        let pod = Pod::registered(manner).await;
        pod.change(1);
        pod.commits(Commit::FAILED).await;
        assert!(pod.store.value(key(1).as_bytes()).is_some(), "{manner:?}: the lease has ended");
        let counts = pod.view().await.counts;
        assert_eq!((counts.push_successes, counts.failed), (0, 1), "{manner:?}");
        until("announcement", || pod.announced("CimConfigUpdateFailure")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn refused_connections_cost_nothing_while_the_lease_lasts() {
    let pod = Pod::registered(Manner::Away).await;
    pod.change(1);
    sleep(LEASE - Duration::from_secs(30)).await;
    assert_eq!(pod.committed(), None);
    pod.app.behave(Manner::Works);
    pod.commits(1).await;
    assert_eq!(pod.commits_written(), [1]);
}

#[tokio::test(start_paused = true)]
async fn a_word_of_success_is_not_taken_back_by_the_call_that_timed_out() {
    let pod = Pod::registered(Manner::WorksAndHangs).await;
    pod.change(1);
    pod.commits(1).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(pod.view().await.counts.push_failures, 1);
    assert_eq!((pod.commits_written(), pod.app.handed_over()), (vec![1], vec![1]));
}

#[tokio::test(start_paused = true)]
async fn two_engines_of_one_pod_never_take_a_result_back() {
    let store = MemorySource::new("store");
    let quick = Pod::over(Arc::clone(&store), Manner::Works, |_| {});
    let slow = Pod::over(Arc::clone(&store), Manner::Away, |_| {});
    quick.register().await;
    slow.register().await;
    for revision in 1..=20 {
        quick.change(revision);
        quick.commits(revision).await;
    }
    slow.app.behave(Manner::Works);
    until("the slow one has done its work", || slow.app.handed_over().last() == Some(&20)).await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(quick.committed(), Some(20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn everything_may_be_asked_and_told_at_the_same_time() {
    let pod = Arc::new(Pod::registered(Manner::Works).await);
    let workers: Vec<_> = (0..8)
        .map(|number| {
            let pod = Arc::clone(&pod);
            tokio::spawn(async move {
                let mut lane = pod.cim.lane();
                for turn in 0..50 {
                    match (number + turn) % 4 {
                        0 => pod.register().await,
                        1 => drop(pod.view().await),
                        2 => drop(pod.configuration.last_change("app.json").await),
                        _ => drop(lane.config_result(b"{}")),
                    }
                }
            })
        })
        .collect();
    for revision in 1..=50 {
        pod.change(revision);
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let patience = Instant::now() + Duration::from_secs(60);
    while pod.committed() != Some(50) {
        assert!(Instant::now() < patience, "{:?}", pod.committed());
        sleep(Duration::from_millis(5)).await;
    }
    assert!(pod.commits_written().is_sorted());
}
