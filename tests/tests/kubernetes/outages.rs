//! An API server that is away, dies, hangs, refuses; a pod that is not described; a token that changes.

use std::time::{Duration, Instant};

use cim_services::Kubernetes;
use cim_testkit::{Behaviour, ChaosProxy, Flow};
use cim_tests::Daemon;
use cim_tests::cluster::{ACCOUNT, ANNOTATIONS, Berth, LABELS, NODE, POD, TMAAS};

use crate::{delivered, events, known, publish, register, says};

/// The program does its work and says what it misses.
fn assert_works_without(daemon: &Daemon, reason: &str) {
    publish(daemon, 0..3);
    says(daemon, "/readyz", "[+] orchestrator: degraded: cannot get pod");
    says(daemon, "/readyz", reason);
    says(daemon, "/statusz", reason);
    let page = daemon.get("/readyz").unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "no reason to take the pod out of service: {page}");
    assert!(page.contains("events wait until the orchestrator tells who this pod is; 3 held"), "{page}");
    assert!(events(daemon).is_empty(), "an event left without saying whose it is");
    let mut wire = daemon.connect();
    wire.publish("LOG", b"logs do not wait");
    wire.flush();
    cim_tests::until("the log line", || daemon.stdout().contains("logs do not wait"));
}

/// What was held back is delivered, and nothing is wrong any more.
fn assert_heals(daemon: &Daemon) {
    known(daemon);
    delivered(daemon, 3);
    register(daemon);
    says(daemon, "/readyz", "[+] orchestrator: kubernetes\n");
}

#[test]
fn an_api_server_that_is_away_at_the_start_holds_events_back_until_it_comes() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let berth = Berth::new(&kubernetes);
    kubernetes.kill();
    let daemon = Daemon::start(&berth.settings());
    assert_works_without(&daemon, "cannot be reached");
    kubernetes.restart();
    assert_heals(&daemon);
}

#[test]
fn an_api_server_that_hangs_at_the_start_holds_events_back_until_it_goes_on() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let berth = Berth::new(&kubernetes);
    kubernetes.pause();
    let daemon = Daemon::start(&berth.settings());
    assert_works_without(&daemon, "has not answered within 3s");
    kubernetes.resume();
    assert_heals(&daemon);
}

#[test]
fn an_api_server_that_is_too_slow_holds_events_back_until_it_is_faster() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let proxy = ChaosProxy::start(kubernetes.address(), 1).unwrap();
    proxy.behave(Behaviour::both(Flow::faithful().delay(Duration::from_secs(4))));
    let port = |address: std::net::SocketAddr| format!("port = {}\n", address.port());
    let settings = berth.settings().replace(&port(kubernetes.address()), &port(proxy.address()));
    let daemon = Daemon::start(&settings);
    assert_works_without(&daemon, "has not answered within 3s");
    proxy.behave(Behaviour::faithful());
    assert_heals(&daemon);
}

#[test]
fn what_is_known_outlives_the_api_server_and_this_program() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let berth = Berth::new(&kubernetes);
    let mut daemon = Daemon::start(&berth.settings());
    known(&daemon);
    publish(&daemon, 0..3);
    delivered(&daemon, 3);
    kubernetes.kill();
    publish(&daemon, 3..100);
    delivered(&daemon, 100);
    let asked = Instant::now();
    register(&daemon);
    assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
    // Events of a fresh start carry what the last one learned.
    daemon.kill_and_restart();
    known(&daemon);
    publish(&daemon, 100..110);
    delivered(&daemon, 110);
    kubernetes.restart();
    says(&daemon, "/readyz", "[+] orchestrator: kubernetes\n");
    kubernetes.pause();
    publish(&daemon, 110..200);
    delivered(&daemon, 200);
    kubernetes.resume();
    assert_eq!(daemon.get("/readyz").unwrap().matches("degraded").count(), 0);
}

#[test]
fn a_missing_right_is_named_and_works_as_soon_as_it_is_granted() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.create_pod();
    let daemon = Daemon::start(&berth.settings());
    assert_works_without(
        &daemon,
        "the service account has no right to `get pods` in its namespace; `cim manifest --rbac`",
    );
    berth.grant(&[]);
    assert_heals(&daemon);
}

#[test]
fn a_pod_that_is_not_described_is_said_so_and_found_as_soon_as_it_is() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    berth.namespace.create_pod(POD, NODE, LABELS, &[]);
    let mut daemon = Daemon::start(&berth.settings());
    publish(&daemon, 0..3);
    let problem = "is not described as it must be: annotation `xgvela.com/tmaas` is missing; set it to";
    says(
        &daemon,
        "/readyz",
        &format!("[+] orchestrator: degraded: pod {}/{POD} {problem}", berth.namespace.name()),
    );
    says(&daemon, "/statusz", "\"known\": false");
    // It is no reason to die, nor does dying change anything.
    daemon.kill_and_restart();
    says(&daemon, "/readyz", problem);
    assert!(events(&daemon).is_empty());
    let annotations: Vec<String> = ANNOTATIONS.iter().map(|(key, value)| format!("{key}={value}")).collect();
    berth.namespace.kubectl(&["annotate", "pod", POD, &annotations[0], &annotations[1]]);
    assert!(annotations[1].contains(TMAAS));
    assert_heals(&daemon);
}

#[test]
fn a_token_that_is_replaced_is_used_without_a_restart_and_never_shown() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    berth.write_token("worn-out-canary");
    let daemon = Daemon::start(&berth.settings());
    assert_works_without(&daemon, "does not accept the credentials (401)");
    berth.write_token(&berth.namespace.token(ACCOUNT));
    assert_heals(&daemon);
    for page in [daemon.get("/readyz"), daemon.get("/statusz"), Some(daemon.stderr())] {
        assert!(!page.unwrap().contains("canary"));
    }
}
