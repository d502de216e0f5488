//! An API server that is away, comes back, hangs, or is slow. Each test has a server of its own.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::time::{Duration, Instant};

use cim_core::settings::Period;
use cim_core::{Component as _, Health, Notice, Orchestrator as _, OrchestratorErrorKind, RestartReason};
use cim_orchestrator_kubernetes::{Features, KubernetesOrchestrator, KubernetesSettings};
use cim_services::Kubernetes;
use cim_testkit::{Behaviour, ChaosProxy, Direction, Flow};
use rig::{PATIENCE, Workplace};

const LIMIT: Period = Period::seconds(1);
/// For a server that is killed, which refuses at once: a busy machine must not look like one that does not answer.
const LONG_LIMIT: Period = Period::seconds(5);
/// Longest time for calls that have a limit, on a loaded machine.
const IN_TIME: Duration = Duration::from_secs(20);

/// Fails as it must while the server gives no answer, and in time.
async fn assert_unavailable(orchestrator: &KubernetesOrchestrator, why: &str) {
    let begun = Instant::now();
    let error = orchestrator.document("any").await.expect_err(why);
    let taken = begun.elapsed();
    assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable, "{error}");
    assert!(error.to_string().contains(why), "`{error}` does not say `{why}`");
    assert!(taken < IN_TIME, "it took {taken:?}");
    assert_eq!(orchestrator.probe().await, Health::Degraded(cim_core::chain(&error)));
}

/// Works again at the latest after a while.
async fn assert_recovers(orchestrator: &KubernetesOrchestrator) {
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = orchestrator.document("any").await {
        assert!(Instant::now() < deadline, "still: {error}");
    }
    assert_eq!(orchestrator.probe().await, Health::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_killed_and_comes_back_is_used_again_and_the_identity_is_never_lost() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let workplace = Workplace::new(&kubernetes, Features::ALL);
    workplace.wait_for_right("get", "configmaps", true);
    let orchestrator = workplace.hasty_orchestrator(LONG_LIMIT);
    let identity = orchestrator.identity().await.unwrap();

    kubernetes.kill();
    assert_unavailable(&orchestrator, "cannot be reached").await;
    assert_eq!(orchestrator.identity().await.unwrap(), identity, "from memory");
    let begun = Instant::now();
    orchestrator.notify(&Notice { reason: "Any".into(), message: "x".into(), is_warning: false }).await;
    let reason = RestartReason { reason: "Test".into(), message: "x".into() };
    let error = orchestrator.restart(&reason).await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable, "{error}");
    assert!(begun.elapsed() < IN_TIME);

    kubernetes.restart();
    assert_recovers(&orchestrator).await;
    let asked = workplace.asked().iter().filter(|call| *call == "get pods").count();
    assert_eq!(asked, 1, "the identity was asked for again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_at_the_start_is_waited_for() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let workplace = Workplace::new(&kubernetes, Features::ALL);
    kubernetes.kill();
    let orchestrator = workplace.hasty_orchestrator(LIMIT);
    assert_eq!(orchestrator.probe().await, Health::Ready, "nothing was asked yet");
    for _ in 0..3 {
        let error = orchestrator.identity().await.unwrap_err();
        assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable);
    }
    kubernetes.restart();
    let deadline = Instant::now() + PATIENCE;
    while let Err(error) = orchestrator.identity().await {
        assert!(Instant::now() < deadline, "still: {error}");
    }
    assert_eq!(orchestrator.probe().await, Health::Ready);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_hangs_holds_a_call_for_its_limit_only_and_is_used_again_when_it_goes_on() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let workplace = Workplace::new(&kubernetes, Features::ALL);
    workplace.wait_for_right("get", "configmaps", true);
    let orchestrator = workplace.hasty_orchestrator(LIMIT);
    orchestrator.identity().await.unwrap();
    kubernetes.pause();
    for _ in 0..2 {
        assert_unavailable(&orchestrator, "has not answered within 1s").await;
    }
    kubernetes.resume();
    assert_recovers(&orchestrator).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_network_a_silent_one_and_one_that_garbles_are_errors_in_time() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let workplace = Workplace::new(&kubernetes, Features::ALL);
    workplace.wait_for_right("get", "configmaps", true);
    let proxy = ChaosProxy::start(kubernetes.address(), 1).unwrap();
    let settings =
        KubernetesSettings { port: proxy.address().port(), request_timeout: LIMIT, ..workplace.settings() };
    // A fresh one for each behaviour: its connection has known no other.
    let fresh =
        || KubernetesOrchestrator::new("cluster", settings.clone(), workplace.namespace.name(), "pod-1");
    assert_recovers(&fresh()).await;
    proxy.behave(Behaviour::both(Flow::faithful().delay(Duration::from_secs(3))));
    assert_unavailable(&fresh(), "has not answered within 1s").await;
    proxy.behave(Behaviour::faithful().flow(Direction::ToClient, Flow::faithful().garble(100)));
    assert_unavailable(&fresh(), "the API server at https://127.0.0.1").await;
    proxy.behave(Behaviour::blackhole());
    let patient = fresh();
    assert_unavailable(&patient, "has not answered within 1s").await;
    proxy.end_all(cim_testkit::Ending::Reset);
    proxy.behave(Behaviour::faithful());
    assert_recovers(&patient).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_with_a_certificate_of_another_authority_is_not_spoken_to() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let workplace = Workplace::new(kubernetes, Features::default());
    let home = tempfile::tempdir().unwrap();
    let Some(other) = cim_services::Authority::new(home.path()) else { return };
    let settings = KubernetesSettings { ca_file: other.certificate().to_owned(), ..workplace.settings() };
    let orchestrator = KubernetesOrchestrator::new("cluster", settings, workplace.namespace.name(), "pod-1");
    let error = orchestrator.identity().await.unwrap_err();
    assert_eq!(error.kind(), OrchestratorErrorKind::Unavailable, "{error}");
    assert_eq!(workplace.asked(), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_sent_while_nobody_asks() {
    if !cim_testkit::has_time("the traffic of 15 quiet seconds") {
        return;
    }
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let workplace = Workplace::new(kubernetes, Features::ALL);
    let proxy = ChaosProxy::start(kubernetes.address(), 1).unwrap();
    let settings = KubernetesSettings { port: proxy.address().port(), ..workplace.settings() };
    let orchestrator = KubernetesOrchestrator::new("cluster", settings, workplace.namespace.name(), "pod-1");
    orchestrator.identity().await.unwrap();
    let sent = proxy.forwarded(Direction::ToTarget);
    let quiet_until = Instant::now() + Duration::from_secs(15);
    let mut pace = tokio::time::interval(Duration::from_millis(100));
    while Instant::now() < quiet_until {
        orchestrator.identity().await.unwrap();
        orchestrator.probe().await;
        pace.tick().await;
        assert_eq!(proxy.forwarded(Direction::ToTarget), sent);
    }
    assert_eq!(workplace.asked(), ["get pods"]);
}
