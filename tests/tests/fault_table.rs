//! The tables of faults name tests that exist, and every fault test.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::path::Path;

const PAGE_OF_KAFKA: &str = "faults-kafka.md";
const FILES_OF_KAFKA: [&str; 10] = [
    "kafka_cluster",
    "kafka_example",
    "kafka_fallback",
    "kafka_hostile",
    "kafka_leftovers",
    "kafka_network",
    "kafka_outages",
    "kafka_program",
    "kafka_security",
    "kafka_topics",
];
const FILES_OF_THE_CONSUMER: [&str; 3] =
    ["subscriptions/delivery", "subscriptions/group", "subscriptions/topic"];

/// The tests in a file beside this one: names and bodies.
fn functions(file: &str) -> Vec<(String, String)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file).with_extension("rs");
    let text = std::fs::read_to_string(path).unwrap();
    let functions = text.split("#[test]\nfn ").skip(1).filter_map(|function| function.split_once('('));
    functions.map(|(name, body)| (name.to_owned(), body.to_owned())).collect()
}

/// Names of the tests in a file beside this one.
fn tests(file: &str) -> BTreeSet<String> {
    functions(file).into_iter().map(|(name, _)| name).collect()
}

fn read(page: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference").join(page))
        .unwrap()
}

/// Names of the tests that stand behind the mark, in the rows of a page that the filter takes.
fn rows(page: &str, mark: &str, is_asked: impl Fn(&str) -> bool) -> BTreeSet<String> {
    let page = read(page);
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
    let mut wanted = all(&FILES_OF_KAFKA);
    // Of the quick ones only this is about a fault.
    wanted.extend(tests("kafka").into_iter().filter(|name| name.contains("killed")));
    assert_eq!(rows(PAGE_OF_KAFKA, "`: `", |line| !line.starts_with("| K13")), wanted);
}

#[test]
fn every_fault_of_the_consumer_names_a_test_that_exists() {
    let named = rows(PAGE_OF_KAFKA, "`: `", |line| line.starts_with("| K13"));
    let known = all(&FILES_OF_THE_CONSUMER);
    let unknown: Vec<_> = named.difference(&known).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
    assert!(tests("subscriptions/topic").is_subset(&named));
}

/// `make test` leaves out what waits for long, and the page says of each row whether it does.
#[test]
fn the_page_marks_what_runs_in_every_test_run() {
    let files = FILES_OF_KAFKA.iter().chain(&FILES_OF_THE_CONSUMER).chain(&["kafka"]);
    let waits: BTreeSet<String> = files
        .flat_map(|file| functions(file))
        .filter_map(|(name, body)| body.contains("has_time(").then_some(name))
        .collect();
    let marked = rows(PAGE_OF_KAFKA, "`: ", |line| line.contains("`*`"));
    let unmarked = rows(PAGE_OF_KAFKA, "`: ", |line| !line.contains("`*`"));
    let (wrong, missing) = (marked.intersection(&waits), unmarked.difference(&waits));
    assert_eq!((wrong.collect::<Vec<_>>(), missing.collect::<Vec<_>>()), (vec![], vec![]));
}

#[test]
fn every_fault_of_a_tcp_receiver_has_its_test_and_every_test_its_row() {
    let wanted =
        all(&["tcp/addresses", "tcp/forward", "tcp/main", "tcp/network", "tcp/own_faults", "tcp/tls"]);
    assert_eq!(rows("faults.md", "| `tcp: ", |_| true), wanted);
}
