//! The table of faults names tests that exist, and every fault test.
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

#[test]
fn every_row_has_its_test_and_every_test_its_row() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/reference/faults-kafka.md");
    let page = std::fs::read_to_string(page).unwrap();
    let rows: BTreeSet<String> = page
        .lines()
        .filter(|line| line.starts_with("| ") && line.contains("`: `"))
        .flat_map(|line| line.split("`: ").nth(1).unwrap().split(['`', ',', ' ', '|']).map(ToOwned::to_owned))
        .filter(|name| !name.is_empty())
        .collect();
    let mut all: BTreeSet<String> = [
        "kafka_cluster",
        "kafka_fallback",
        "kafka_network",
        "kafka_outages",
        "kafka_program",
        "kafka_security",
        "kafka_topics",
    ]
    .into_iter()
    .flat_map(tests)
    .collect();
    // Of the quick ones only this is about a fault.
    all.extend(tests("kafka").into_iter().filter(|name| name.contains("killed")));
    assert_eq!(rows, all);
}
