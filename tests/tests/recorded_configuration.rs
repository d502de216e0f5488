//! What the original was seen to do with configuration, played against the whole program (`tests/vectors/config.json`).
//!
//! Left out: the cases that `docs/reference/differences.md` lists, and those of parts that do not exist yet.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_tests::application::{Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::until;
use serde_json::Value;

fn case(name: &str) -> Value {
    let document: Value = serde_json::from_str(include_str!("../vectors/config.json")).unwrap();
    let cases = document["cases"].as_array().unwrap();
    cases.iter().find(|case| case["name"] == name).unwrap_or_else(|| panic!("no case {name}")).clone()
}

/// The bodies of recorded requests.
fn bodies(case: &Value) -> Vec<String> {
    let requests = case["expected"]["requests_to_app"].as_array().unwrap();
    requests
        .iter()
        .map(|request| request["text"].as_str().unwrap().split_once("\r\n\r\n").unwrap().1.to_owned())
        .collect()
}

#[test]
fn changes_are_handed_over_and_committed_as_recorded() {
    for name in [
        "app change, unused",
        "foreign version",
        "foreign service with same prefix",
        "empty patch",
        "patch not json",
        "data key without .json",
    ] {
        let case = case(name);
        let word = case["expected"]["app_response"]["publish"].as_str().unwrap();
        let word = if word == "unused" { "unused" } else { "success" };
        let pod = Pod::with(Manners { word, ..Manners::default() }, "");
        pod.register();
        let put = &case["input"]["etcd_put"];
        pod.put(put["key"].as_str().unwrap(), put["value"].as_str().unwrap());
        let commit = case["expected"]["commit"].as_object().unwrap();
        for (key, value) in commit {
            until(name, || std::fs::read_to_string(pod.path(key)).is_ok_and(|stored| stored == *value));
        }
        // A later change shows that an earlier key led to nothing.
        pod.app.behave(Manners::default());
        pod.change(99);
        pod.commits("99");
        let calls = pod.app.calls();
        let handed_over: Vec<_> = calls.iter().rev().skip(1).rev().map(|call| call.body.clone()).collect();
        assert_eq!(handed_over, bodies(&case), "{name}");
        let events = case["expected"]["kafka_events"].as_array().unwrap();
        for event in events {
            until(&format!("{name}: {event}"), || pod.daemon.stdout().contains(event.as_str().unwrap()));
        }
    }
}

#[test]
fn the_values_of_the_start_are_committed_as_recorded() {
    let case = case("start-up commits");
    let pod = Pod::registered("ms_revision = \"3\"\nnf_revision = \"2\"\n");
    for (key, value) in case["expected"]["etcd"].as_object().unwrap() {
        until(key, || std::fs::read_to_string(pod.path(key)).is_ok_and(|stored| stored == *value));
    }
}

#[test]
fn what_is_no_json_on_config_is_dropped_as_recorded() {
    let case = case("CONFIG not json");
    let pod = Pod::registered("");
    let mut wire = pod.daemon.connect();
    wire.publish("CONFIG", case["input"]["payload"]["text"].as_str().unwrap().as_bytes());
    wire.flush();
    until("count", || pod.daemon.metric("cim_config_results_ignored_total") > 0.5);
    assert_eq!(pod.committed("ms"), None);
}

#[test]
fn a_first_configuration_without_revision_is_for_revision_zero_only_as_recorded() {
    let pod = Pod::registered("");
    pod.put("config/ns1/svc.json", "{\"a\":{}}");
    pod.event("NotConfigured");
    pod.change(1);
    pod.commits("1");
    assert_eq!(pod.app.revisions(), [1]);
    assert_eq!(pod.app.calls().len(), 1, "nothing was loaded");

    let recorded = case("day-1: key without revision put after NotConfigured, NF_CONFIG_REVISION=0");
    let pod = Pod::registered("nf_revision = \"0\"\n");
    pod.event("NotConfigured");
    pod.put("config/ns1/svc.json", "{\"a\":{\"x\":1}}");
    until("loadConfig", || !pod.app.calls().is_empty());
    assert_eq!(pod.app.calls()[0].body, bodies(&recorded)[0]);
}

#[test]
fn a_first_configuration_counts_as_taken_below_400_as_recorded() {
    for (name, status) in
        [("day-1 failure: app answers 302 without location", 302), ("day-1 failure: app answers 204", 204)]
    {
        let recorded = case(name);
        let manners = Manners { status: Some(status), told: Told::Never, ..Manners::default() };
        let pod = Pod::with(manners, "nf_revision = \"0\"\n");
        pod.put("config/ns1/svc/0", "{\"a\":{}}");
        pod.register();
        pod.event("NotConfigured");
        until(name, || pod.daemon.get("/statusz").unwrap().contains("\"day_one\": \"loaded\""));
        let handed_over: Vec<_> = pod.app.calls().into_iter().map(|call| call.body).collect();
        assert_eq!(handed_over, bodies(&recorded), "{name}");
        assert!(!pod.daemon.stdout().contains("LoadConfigRequestFailure"));
    }
}

#[test]
fn changes_of_the_own_document_end_as_recorded() {
    let document = serde_json::json!({"cimConfig": {"lmaas": {"max_age": 7}}});
    for name in SELF_UPDATES {
        let case = case(name);
        let pod = Pod::of_files(document.clone(), "", "");
        let put = &case["input"]["etcd_put"];
        pod.put(put["key"].as_str().unwrap(), put["value"].as_str().unwrap());
        for (key, value) in case["expected"]["commit"].as_object().unwrap() {
            until(name, || std::fs::read_to_string(pod.path(key)).is_ok_and(|stored| stored == *value));
        }
        for event in case["expected"]["kafka_events"].as_array().unwrap() {
            until(name, || pod.daemon.stdout().contains(event.as_str().unwrap()));
        }
        assert!(pod.app.calls().is_empty(), "{name}");
    }
}

const SELF_UPDATES: [&str; 4] = [
    "self update, missing object",
    "self update, not json",
    "self update, remove missing",
    "self update, empty array",
];
