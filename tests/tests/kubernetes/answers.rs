//! Answers that a real API server cannot be made to give: prepared ones.

use std::time::{Duration, Instant};

use cim_services::until;
use cim_testkit::CannedHttp;
use cim_tests::Daemon;
use cim_tests::cluster::{ANNOTATIONS, LABELS, PATIENCE};
use serde_json::json;

use crate::{delivered, known, publish, says};

/// A program of pod `ns1/pod-1` whose API server gives these answers.
fn start(server: &CannedHttp) -> Daemon {
    let home = tempfile::tempdir().unwrap();
    let kubeconfig = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: c, cluster: {{server: 'http://{}'}}}}]\n\
         users: [{{name: c, user: {{token: hidden}}}}]\ncontexts: [{{name: c, context: {{cluster: c, user: c}}}}]\n",
        server.address()
    );
    std::fs::write(home.path().join("kubeconfig"), kubeconfig).unwrap();
    let settings = "spool.dir = \"{home}/spool\"\n[orchestrator]\ntype = \"kubernetes\"\nrequest_timeout = \"3s\"\n\
                    kubeconfig = \"{home}/kubeconfig\"\n";
    Daemon::start_in(home, settings, Daemon::spawn)
}

/// The object of the pod.
fn pod() -> String {
    let map = |pairs: &[(&str, &str)]| -> serde_json::Map<_, _> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect()
    };
    let metadata = json!({
        "name": "pod-1", "namespace": "ns1", "uid": "u-1",
        "labels": map(LABELS), "annotations": map(ANNOTATIONS),
    });
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": { "containers": [] } })
        .to_string()
}

#[test]
fn an_api_server_that_asks_for_a_pause_or_fails_is_asked_again_and_not_more_often_than_it_likes() {
    let answers = [
        CannedHttp::answer("429 Too Many Requests", &["Retry-After: 2"], "slow down"),
        CannedHttp::answer("500 Internal Server Error", &[], "etcdserver: request timed out"),
        CannedHttp::answer("200 OK", &[], "<html>not an object"),
        CannedHttp::answer("200 OK", &[], &pod()),
    ];
    let server = CannedHttp::start(answers.to_vec()).unwrap();
    let begun = Instant::now();
    let daemon = start(&server);
    publish(&daemon, 0..3);
    says(&daemon, "/readyz", "orchestrator: degraded: cannot get pod ns1/pod-1: the API server");
    until("the pause is over", PATIENCE, || server.requests().len() > 1);
    assert!(begun.elapsed() >= Duration::from_secs(2), "after {:?}", begun.elapsed());
    known(&daemon);
    delivered(&daemon, 3);
    assert_eq!(server.requests().len(), 4, "{:?}", server.requests());
}
