//! Every recorded case that other software depends on is asserted as recorded, listed as a difference, or belongs to
//! a part that does not exist yet.
//!
//! Left out: playing the cases, which the tests named here do. The invariant: no case is forgotten, and none is in two
//! places.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[path = "../vectors/listed.rs"]
mod listed;

use listed::listed;
use serde_json::Value;
use std::path::Path;

/// Files of which a test plays every case that begins so and is not listed or named below.
const PLAYED: &[(&str, &str, &str)] = &[
    ("log.json", "", "crates/cim-wire/tests/golden.rs"),
    ("event.json", "", "crates/cim-wire/tests/golden.rs"),
    ("nats.json", "", "crates/cim-nats/tests/conversations.rs"),
    ("http.json", "register: ", "tests/tests/recorded_registration.rs"),
    ("http.json", "unknown path", "tests/tests/recorded_registration.rs"),
    ("http.json", "unclean path", "tests/tests/recorded_registration.rs"),
    ("http.json", "mandatory: ", "tests/tests/http_api.rs"),
    ("http.json", "tls alpn ", "tests/tests/http_api.rs"),
    ("http.json", "h2c ", "tests/tests/http_api.rs"),
    ("http.json", "subscription", "tests/tests/subscriptions/calls.rs"),
    ("http.json", "subscribe: ", "tests/tests/subscriptions/calls.rs"),
    ("http.json", "update: ", "tests/tests/subscriptions/calls.rs"),
    ("http.json", "get one ", "tests/tests/subscriptions/calls.rs"),
    ("http.json", "delete: ", "tests/tests/subscriptions/calls.rs"),
];

/// Single cases that a test asserts as recorded: file, case, source file, test.
const ASSERTED: &[(&str, &str, &str, &str)] = &[
    (
        "config.json",
        "common-infra fetched over HTTP",
        "tests/tests/kubernetes/original.rs",
        "without_common_infra_json_the_service_of_the_annotation_is_asked_until_it_answers_and_remembered",
    ),
    ("log.json", "rotation", "crates/cim-sink-file/tests/rotation.rs", "rotation_is_the_originals"),
    (
        "log.json",
        "file deleted underneath",
        "crates/cim-sink-file/tests/names.rs",
        "what_is_deleted_moved_or_shortened_underneath_is_made_again",
    ),
    ("config.json", "app change, unused", CONFIGURATION, "changes_are_handed_over_and_committed_as_recorded"),
    ("config.json", "foreign version", CONFIGURATION, "changes_are_handed_over_and_committed_as_recorded"),
    (
        "config.json",
        "foreign service with same prefix",
        CONFIGURATION,
        "changes_are_handed_over_and_committed_as_recorded",
    ),
    ("config.json", "empty patch", CONFIGURATION, "changes_are_handed_over_and_committed_as_recorded"),
    ("config.json", "patch not json", CONFIGURATION, "changes_are_handed_over_and_committed_as_recorded"),
    (
        "config.json",
        "data key without .json",
        CONFIGURATION,
        "changes_are_handed_over_and_committed_as_recorded",
    ),
    ("config.json", "self update, missing object", CONFIGURATION, OWN),
    ("config.json", "self update, not json", CONFIGURATION, OWN),
    ("config.json", "self update, remove missing", CONFIGURATION, OWN),
    ("config.json", "self update, empty array", CONFIGURATION, OWN),
    (
        "http.json",
        "register: common-infra gives fqdns",
        "tests/tests/recorded_registration.rs",
        "the_addresses_of_common_infra_are_told_as_recorded",
    ),
    ("config.json", "start-up commits", CONFIGURATION, "the_values_of_the_start_are_committed_as_recorded"),
    ("config.json", "CONFIG not json", CONFIGURATION, "what_is_no_json_on_config_is_dropped_as_recorded"),
    (
        "config.json",
        "day-1: key without revision, NF_CONFIG_REVISION unset",
        CONFIGURATION,
        "a_first_configuration_without_revision_is_for_revision_zero_only_as_recorded",
    ),
    (
        "config.json",
        "day-1: key without revision put after NotConfigured, NF_CONFIG_REVISION=0",
        CONFIGURATION,
        "a_first_configuration_without_revision_is_for_revision_zero_only_as_recorded",
    ),
    (
        "config.json",
        "day-1 failure: app answers 302 without location",
        CONFIGURATION,
        "a_first_configuration_counts_as_taken_below_400_as_recorded",
    ),
    (
        "config.json",
        "day-1 failure: app answers 204",
        CONFIGURATION,
        "a_first_configuration_counts_as_taken_below_400_as_recorded",
    ),
    (
        "config.json",
        "change-set put while etcd is cut",
        "crates/cim-config-etcd/tests/faults.rs",
        "a_connection_that_is_cut_or_swallows_everything_costs_no_change",
    ),
    (
        "metrics.json",
        "openmetrics accept",
        "tests/tests/metrics/names.rs",
        "whatever_format_is_asked_for_the_text_format_comes_and_ends_as_recorded",
    ),
    (
        "metrics.json",
        "enable_kpi false",
        "tests/tests/metrics/names.rs",
        "without_kpis_the_page_is_empty_as_recorded_and_everything_else_works",
    ),
    (
        "metrics.json",
        "aligned scrape request",
        "crates/cim-app/tests/page.rs",
        "a_page_is_asked_for_as_recorded_and_over_http_1",
    ),
    (
        "metrics.json",
        "aligned read",
        "crates/cim-aligned/tests/page.rs",
        "the_recorded_page_is_equal_to_the_byte",
    ),
    (
        "metrics.json",
        "aligned second read",
        "crates/cim-aligned/tests/page.rs",
        "without_an_interval_there_is_the_build_only_as_recorded",
    ),
];

const CONFIGURATION: &str = "tests/tests/recorded_configuration.rs";
const OWN: &str = "changes_of_the_own_document_end_as_recorded";

/// Not served yet: area, file, beginnings of the names of its cases.
const NOT_SERVED_YET: &[(&str, &str, &[&str])] = &[];

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn cases(file: &str) -> Vec<(String, bool)> {
    let document: Value = serde_json::from_str(&read(&format!("tests/vectors/{file}"))).unwrap();
    let cases = document["cases"].as_array().unwrap();
    cases.iter().map(|case| (case["name"].as_str().unwrap().to_owned(), case["keep"] == true)).collect()
}

fn area(file: &str, case: &str) -> Option<&'static str> {
    let found = NOT_SERVED_YET
        .iter()
        .find(|(_, of, names)| *of == file && names.iter().any(|name| case.starts_with(name)));
    found.map(|(area, ..)| *area)
}

#[test]
fn no_recorded_case_is_forgotten() {
    let mut open = std::collections::BTreeMap::<&str, usize>::new();
    let mut wrong = Vec::new();
    for file in ["log.json", "event.json", "nats.json", "http.json", "metrics.json", "config.json"] {
        let listed = listed(file);
        for (case, keep) in cases(file) {
            let played = PLAYED.iter().any(|(of, start, _)| *of == file && case.starts_with(start));
            let area = area(file, &case);
            let alone = ASSERTED.iter().any(|(of, name, ..)| *of == file && *name == case);
            let places =
                usize::from(listed.contains(&case)) + usize::from(area.is_some()) + usize::from(alone);
            if places > 1 || (keep && places == 0 && !played) {
                wrong.push(format!("{file}: {case}: stands in {places} places"));
            }
            if let Some(area) = area.filter(|_| keep) {
                *open.entry(area).or_default() += 1;
            }
        }
        let names: Vec<_> = cases(file).into_iter().map(|(case, _)| case).collect();
        wrong.extend(
            listed.iter().filter(|case| !names.contains(case)).map(|case| format!("{file}: no case {case}")),
        );
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    for (area, count) in open {
        println!("not served yet: {area}: {count} cases");
    }
}

#[test]
fn the_tests_that_are_named_exist() {
    for (file, _, source) in PLAYED {
        assert!(read(source).contains(&format!("vectors/{file}")), "{source} plays {file}");
    }
    for (_, case, source, test) in ASSERTED {
        assert!(read(source).contains(&format!("fn {test}()")), "{case}: {test} in {source}");
    }
}
