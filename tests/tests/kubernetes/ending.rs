//! The end of a pod that a cluster deletes, and of a container in a pod that lives on.

use std::time::{Duration, Instant};

use cim_services::{Kubernetes, until};
use cim_tests::application::{Application, Manners};
use cim_tests::cluster::{Berth, PATIENCE, POD};
use cim_tests::{Daemon, Injection};

use crate::{events, known, register};

/// A program whose application answers 200 and says nothing more.
fn start(berth: &Berth<'_>, lifecycle: &str) -> (Application, Daemon) {
    let app = Application::start(Manners::default());
    let settings = berth.settings();
    let daemon = Daemon::start(&format!("{}{settings}[lifecycle]\n{lifecycle}\n", app.setting()));
    known(&daemon);
    register(&daemon);
    (app, daemon)
}

/// Ends the program and returns how long that took.
fn end(daemon: &mut Daemon) -> Duration {
    let asked = Instant::now();
    daemon.signal("TERM");
    assert_eq!(daemon.ended(), Some(0), "{}", daemon.stderr());
    asked.elapsed()
}

fn announced(daemon: &Daemon) -> usize {
    events(daemon).iter().filter(|event| event["eventName"] == "ApplicationShutdownInitiated").count()
}

#[test]
fn the_grace_of_the_deletion_counts_and_nobody_deletes_the_pod_a_second_time() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (app, mut daemon) = start(&berth, "");
    berth.namespace.kubectl(&["delete", "pod", POD, "--grace-period=10", "--wait=false"]);
    until("the deletion", PATIENCE, || berth.is_pod_leaving());
    let took = end(&mut daemon);
    // The clock of the API server counts in whole seconds, and some of them have passed.
    assert!(took > Duration::from_millis(500) && took < Duration::from_secs(8), "{took:?}");
    assert_eq!((app.calls().len(), announced(&daemon)), (1, 1));
    assert!(berth.deletions().is_empty(), "{:?}", berth.deletions());
}

#[test]
fn the_application_of_a_pod_that_its_kubelet_evicts_is_waited_for() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (app, mut daemon) = start(&berth, "grace = \"5s\"");
    // As the kubelet says it: nobody asks for a deletion.
    let evicted = r#"{"status":{"conditions":[{"type":"DisruptionTarget","status":"True"}]}}"#;
    berth.namespace.kubectl(&[
        "patch",
        "pod",
        POD,
        "--subresource=status",
        "--type=strategic",
        "-p",
        evicted,
    ]);
    assert!(!berth.is_pod_leaving());
    let took = end(&mut daemon);
    assert!(took >= Duration::from_secs(2) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!((app.calls().len(), announced(&daemon)), (1, 1));
}

#[test]
fn a_pod_that_lives_on_is_not_waited_for_and_not_deleted() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (app, mut daemon) = start(&berth, "");
    let took = end(&mut daemon);
    assert!(took < Duration::from_secs(4), "{took:?}");
    assert_eq!((app.calls().len(), announced(&daemon)), (1, 1));
    assert!(berth.deletions().is_empty() && !berth.is_pod_leaving());
}

#[test]
fn an_application_whose_pod_lives_on_is_left_in_peace_where_that_is_wanted() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (app, mut daemon) = start(&berth, "shutdown_call = \"deleted\"");
    assert!(end(&mut daemon) < Duration::from_secs(4));
    assert!(app.calls().is_empty());
}

#[test]
fn a_native_sidecar_is_known_by_the_object_of_its_pod() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    berth.create_native_pod("cim");
    let (app, mut daemon) = start(&berth, "");
    assert!(
        daemon.get("/statusz").unwrap().contains("\"sidecar\": \"native\""),
        "{:?}",
        daemon.get("/statusz")
    );
    berth.namespace.kubectl(&["delete", "pod", POD, "--grace-period=20", "--wait=false"]);
    until("the deletion", PATIENCE, || berth.is_pod_leaving());
    assert!(end(&mut daemon) < Duration::from_secs(4));
    assert!(app.calls().is_empty());
}

#[test]
fn an_api_server_that_is_away_costs_a_moment_and_the_grace_is_that_of_the_settings() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let berth = Berth::new(&kubernetes);
    let (app, mut daemon) = start(&berth, "grace = \"5s\"");
    kubernetes.kill();
    let took = end(&mut daemon);
    assert!(took > Duration::from_millis(1_900) && took < Duration::from_secs(5), "{took:?}");
    assert_eq!(app.calls().len(), 1);
}

/// Its epoll descriptor is as good as closed: nothing can be taken any more, whatever the process does.
#[test]
fn a_listener_that_dies_ends_the_container_with_code_1_and_leaves_the_pod() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let berth = Berth::new(kubernetes);
    let (app, mut daemon) = start(&berth, "");
    let mut wire = daemon.connect();
    wire.publish("LOG", b"accepted before");
    wire.flush();
    let Some(fault) = Injection::in_thread(&daemon, "nats listener", "epoll_wait,epoll_pwait", "error=EBADF")
    else {
        return;
    };
    let _ = wire.try_send(b"PING\r\n");
    assert_eq!(daemon.ended(), Some(1), "{}", daemon.stderr());
    fault.end();
    let said = daemon.stderr();
    assert!(
        said.contains("the NATS listener ended: Bad file descriptor") && said.contains("the process ends"),
        "{said}"
    );
    assert!(daemon.stdout().contains("accepted before"));
    assert!(app.calls().is_empty(), "the application goes on, and is not told to end");
    assert!(berth.deletions().is_empty() && !berth.is_pod_leaving());
    daemon.start_again();
    assert!(daemon.get("/readyz").unwrap().starts_with("HTTP/1.1 200"));
}
