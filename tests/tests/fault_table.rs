//! The tables of faults name tests that exist, and every fault test.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::path::Path;

/// Names of the tests in a file beside this one.
fn tests(file: &str) -> BTreeSet<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file).with_extension("rs");
    let text = std::fs::read_to_string(path).unwrap();
    let functions = text.split("#[test]\nfn ").skip(1);
    functions.map(|function| function.split('(').next().unwrap().to_owned()).collect()
}

/// Names in the last column of a page's rows that the filter takes.
fn rows(page: &str, is_asked: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(page);
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && is_asked(line));
    let names = rows.flat_map(|line| line.rsplit(" | ").next().unwrap().split('`').skip(1).step_by(2));
    names.map(|name| name.rsplit(": ").next().unwrap().to_owned()).collect()
}

/// Names of the tests in all of these files.
fn all(files: &[&str]) -> BTreeSet<String> {
    files.iter().flat_map(|file| tests(file)).collect()
}

#[test]
fn every_fault_of_kafka_has_its_test_and_every_test_its_row() {
    let files = [
        "kafka_cluster",
        "kafka_fallback",
        "kafka_network",
        "kafka_outages",
        "kafka_program",
        "kafka_security",
        "kafka_topics",
    ];
    let mut wanted = all(&files);
    // Of the quick ones only this is about a fault.
    wanted.extend(tests("kafka").into_iter().filter(|name| name.contains("killed")));
    wanted.extend(files.map(ToOwned::to_owned));
    wanted.insert("kafka".to_owned());
    let is_producers = |line: &str| line.contains("`: `") && !line.starts_with("| K13");
    assert_eq!(without_marks(rows("faults-kafka.md", is_producers)), wanted);
}

#[test]
fn every_fault_of_the_consumer_names_a_test_that_exists() {
    let named = without_marks(rows("faults-kafka.md", |line| line.starts_with("| K13")));
    let files = ["delivery", "group", "topic"];
    let known = all(&files.map(|file| ["subscriptions/", file].concat()).each_ref().map(String::as_str));
    let unknown: Vec<_> =
        named.iter().filter(|name| !known.contains(*name) && !files.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(tests("subscriptions/topic").is_subset(&named));
}

#[test]
fn every_fault_of_a_tcp_receiver_has_its_test_and_every_test_its_row() {
    let wanted = all(&["tcp/addresses", "tcp/forward", "tcp/main", "tcp/tls"]);
    assert_eq!(rows("faults.md", |line| line.contains("| `tcp: ")), wanted);
}

/// `*` marks rows that the short run has.
fn without_marks(names: BTreeSet<String>) -> BTreeSet<String> {
    names.into_iter().filter(|name| name != "*").collect()
}
