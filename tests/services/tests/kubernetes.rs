//! The harness itself: an API server that starts, fails, comes back with what it had, and tells what it was asked.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_services::Kubernetes;

#[test]
fn a_server_keeps_address_and_objects_over_a_kill_and_answers_again_after_a_pause() {
    let Some(kubernetes) = Kubernetes::start() else { return };
    let namespace = kubernetes.namespace();
    namespace.create_pod("pod-1", "node-1", &[("yes", "true")], &[("a", "b: c")]);
    let (uid, address) = (namespace.pod_uid("pod-1"), kubernetes.address());
    assert!(uid.is_some());

    kubernetes.kill();
    kubernetes.try_kubectl(&["get", "--raw", "/readyz"]).unwrap_err();
    kubernetes.restart();
    assert_eq!((namespace.pod_uid("pod-1"), kubernetes.address()), (uid.clone(), address));

    kubernetes.pause();
    kubernetes.try_kubectl(&["get", "--raw", "/readyz", "--request-timeout=1s"]).unwrap_err();
    kubernetes.resume();
    assert_eq!(namespace.pod_uid("pod-1"), uid);
    assert_eq!(namespace.pod_uid("pod-2"), None);
}

#[test]
fn what_a_service_account_asks_is_written_down_with_the_answer() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let namespace = kubernetes.namespace();
    namespace.create_account("asker");
    assert_eq!(kubernetes.calls(namespace.name(), "asker"), []);
    let (token, place) = (format!("--token={}", namespace.token("asker")), namespace.name());
    // Without a kubeconfig: its certificate or token would win over this one.
    let server = format!("--server=https://{}", kubernetes.address());
    let ca = format!("--certificate-authority={}", kubernetes.ca_file().display());
    kubernetes
        .try_kubectl(&["--kubeconfig=/dev/null", &server, &ca, &token, "-n", place, "get", "pod", "x"])
        .expect_err("no right to it");
    let calls = kubernetes.calls(place, "asker");
    let call = calls.iter().find(|call| call.resource == "pods").expect("the call");
    assert_eq!((call.verb.as_str(), call.status), ("get", 403));
}
