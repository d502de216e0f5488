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

/// Names of the tests that stand behind the mark, in the rows of a page that the filter takes.
fn rows(page: &str, mark: &str, is_asked: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(page);
    let page = std::fs::read_to_string(page).unwrap();
    let rows = page.lines().filter(|line| line.starts_with("| ") && is_asked(line));
    let lists = rows.filter_map(|line| line.split_once(mark)).map(|(_, list)| list);
    let names = lists.flat_map(|list| list.split(['`', ',', ' ', '|'])).filter(|name| !name.is_empty());
    names.map(ToOwned::to_owned).collect()
}

/// Names of the tests in all of these files.
fn all(files: &[&str]) -> BTreeSet<String> {
    files.iter().flat_map(|file| tests(file)).collect()
}

#[test]
fn every_fault_of_kafka_has_its_test_and_every_test_its_row() {
    let mut wanted = all(&[
        "kafka_cluster",
        "kafka_fallback",
        "kafka_network",
        "kafka_outages",
        "kafka_program",
        "kafka_security",
        "kafka_topics",
    ]);
    // Of the quick ones only this is about a fault.
    wanted.extend(tests("kafka").into_iter().filter(|name| name.contains("killed")));
    assert_eq!(rows("faults-kafka.md", "`: `", |line| !line.starts_with("| K13")), wanted);
}

#[test]
fn every_fault_of_the_consumer_names_a_test_that_exists() {
    let named = rows("faults-kafka.md", "`: `", |line| line.starts_with("| K13"));
    let known = all(&["subscriptions/delivery", "subscriptions/group", "subscriptions/topic"]);
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(tests("subscriptions/topic").is_subset(&named));
}

#[test]
fn every_fault_of_a_tcp_receiver_has_its_test_and_every_test_its_row() {
    let wanted = all(&["tcp/addresses", "tcp/forward", "tcp/main", "tcp/own_faults", "tcp/tls"]);
    assert_eq!(rows("faults.md", "| `tcp: ", |_| true), wanted);
}
