//! What `/statusz` and `/metrics` tell of each document while a change of it waits, and afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_core::ChangeState;
use cim_services::Etcd;
use cim_tests::application::{Application, Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::{Daemon, until};
use serde_json::{Value, json};

/// Takes what it is handed and does not come back to it.
fn slow() -> Manners {
    Manners { status: Some(202), told: Told::Never, ..Manners::default() }
}

/// What `/statusz` says of a document; null before its first change.
fn shown(daemon: &Daemon, level: &str, document: &str) -> Value {
    let page = daemon.get("/statusz").unwrap();
    let (_, body) = page.split_once("\r\n\r\n").unwrap();
    let status: Value = serde_json::from_str(body).unwrap();
    let documents = status["configuration"]["documents"].as_array().cloned().unwrap_or_default();
    let is_it = |shown: &&Value| shown["level"] == level && shown["data_key"] == document;
    documents.iter().find(is_it).cloned().unwrap_or_default()
}

/// What `/metrics` says of it: settled revision, pending changes, age of the oldest, time left.
fn figures(daemon: &Daemon, level: &str, document: &str) -> [f64; 4] {
    figures_on(&daemon.get("/metrics").unwrap(), level, document)
}

/// The same on a page of `/metrics`.
fn figures_on(page: &str, level: &str, document: &str) -> [f64; 4] {
    let of = |name: &str| {
        let series = format!("cim_config_{name}{{level=\"{level}\",data_key=\"{document}\"}} ");
        let value = page.lines().find_map(|line| line.strip_prefix(series.as_str()));
        value.map_or(0.0, |value| value.parse().unwrap())
    };
    [of("settled_revision"), of("pending_changes"), of("oldest_pending_seconds"), of("deadline_seconds")]
}

/// The states of which `/metrics` says that the document is in them.
fn states(daemon: &Daemon, level: &str, document: &str) -> Vec<&'static str> {
    let is_in = |state: &&str| {
        let labels = format!("level=\"{level}\",data_key=\"{document}\",state=\"{state}\"");
        daemon.metric(&format!("cim_config_state{{{labels}}}")) > 0.5
    };
    ChangeState::ALL.map(ChangeState::as_str).into_iter().filter(is_in).collect()
}

#[test]
fn a_change_that_waits_is_told_by_document_and_its_age_and_time_left_pass_while_nothing_happens() {
    let pod = Pod::with(slow(), "patience = \"60s\"\n");
    pod.register();
    pod.change(4);
    until("push", || shown(&pod.daemon, "ms", "app.json")["state"] == "pushed");
    pod.change(5);
    until("the one behind it", || shown(&pod.daemon, "ms", "app.json")["pending"] == 2);
    pod.put("change-set/ns1/svc/v1/nf/app.json/7", "[]");
    until("the other level", || shown(&pod.daemon, "nf", "app.json")["state"] == "pushed");

    let first = shown(&pod.daemon, "ms", "app.json");
    assert_eq!((&first["revision"], &first["state"]), (&json!(4), &json!("pushed")));
    assert_eq!((&first["attempts"], &first["settled_revision"]), (&json!(1), &json!(0)));
    let age = |shown: &Value| shown["oldest_pending_seconds"].as_f64().unwrap();
    let left = |shown: &Value| shown["deadline_left_seconds"].as_f64().unwrap();
    // The last tenth of the time, five seconds at most, is for storing the result.
    assert!(left(&first) <= 55.0 && left(&first) + age(&first) > 54.0, "{first}");
    until("a second to pass", || age(&shown(&pod.daemon, "ms", "app.json")) > age(&first) + 1.0);
    let second = shown(&pod.daemon, "ms", "app.json");
    assert!(left(&second) < left(&first) - 0.9, "{first} {second}");

    // Both on one page: their ages are those of one moment.
    let page = pod.daemon.get("/metrics").unwrap();
    let [settled, pending, oldest, time_left] = figures_on(&page, "ms", "app.json");
    assert!(settled.abs() < 0.5 && (pending - 2.0).abs() < 0.5, "{settled} {pending}");
    assert!(oldest >= age(&second) && time_left <= left(&second), "{second}: {oldest} {time_left}");
    let [settled, pending, oldest_of_other, time_left] = figures_on(&page, "nf", "app.json");
    assert!(settled.abs() < 0.5 && (pending - 1.0).abs() < 0.5, "{settled} {pending}");
    assert!(oldest_of_other < oldest && time_left > 30.0, "{oldest_of_other} {time_left}");

    assert_eq!(states(&pod.daemon, "ms", "app.json"), ["pushed"]);

    pod.app.behave(Manners::default());
    pod.register();
    pod.commits("5");
    until("nothing waits", || shown(&pod.daemon, "ms", "app.json")["pending"] == 0);
    let last = shown(&pod.daemon, "ms", "app.json");
    assert_eq!((&last["revision"], &last["state"]), (&json!(5), &json!("applied")));
    assert_eq!(last["settled_revision"], 5);
    assert!(last["oldest_pending_seconds"].is_null() && last["deadline_left_seconds"].is_null(), "{last}");
    assert_eq!(states(&pod.daemon, "ms", "app.json"), ["applied"]);
    let last = figures(&pod.daemon, "ms", "app.json");
    assert!((last[0] - 5.0).abs() < 0.5 && last[1..].iter().all(|figure| figure.abs() < 0.1), "{last:?}");
}

#[test]
fn the_time_left_is_that_of_the_lease_in_etcd() {
    let Some(etcd) = Etcd::single() else { return };
    let app = Application::start(slow());
    let daemon = Daemon::start(&format!(
        "{}[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"etcd\"\netcd.endpoints = {:?}\n\
         [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n",
        app.setting(),
        etcd.endpoints(),
    ));
    let answer = daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let lease = etcd.etcdctl(&["lease", "grant", "120"]);
    let lease = format!("--lease={}", lease.split(' ').nth(1).unwrap());
    let _ = etcd.etcdctl(&["put", &lease, "change-set/ns1/svc/v1/ms/app.json/4", "[]"]);
    // Without the lease it would be 175.
    let left = || shown(&daemon, "ms", "app.json")["deadline_left_seconds"].as_f64();
    until("the lease is known", || left().is_some_and(|left| (60.0..=115.0).contains(&left)));
    let story = shown(&daemon, "ms", "app.json");
    let [received, deadline] =
        ["received_ms", "deadline_ms"].map(|member| story[member].as_u64().expect("a time"));
    assert!((60_000..=116_000).contains(&(deadline - received)), "{story}");
    let [_, pending, oldest, time_left] = figures(&daemon, "ms", "app.json");
    assert!((pending - 1.0).abs() < 0.5 && oldest > 0.0, "{pending} {oldest}");
    assert!((60.0..=115.0).contains(&time_left), "{time_left}");
}
