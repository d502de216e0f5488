//! What `cim verify` says, as a program that asks it learns it.
//!
//! Left out: what a test finds with a reader of its own (`check`).

use std::process::Command;

use serde_json::Value;

use crate::binary;

/// Exit code and JSON of `cim verify` with these arguments.
#[must_use]
pub fn verify(arguments: &[&str]) -> (i32, Value) {
    let output =
        Command::new(binary()).arg("verify").args(arguments).args(["--output", "json"]).output().unwrap();
    let document = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(document.is_object() || !complaint.is_empty(), "neither an answer nor a complaint");
    (output.status.code().unwrap(), document)
}

/// A topic is clean: exit code 0, no fault, and exactly so many records, marked duplicates among them.
pub fn assert_clean(brokers: &str, topic: &str, records: usize) {
    let (code, document) = verify(&["kafka", "--brokers", brokers, "--topic", topic]);
    assert_eq!((code, document["clean"].as_bool()), (0, Some(true)), "topic {topic}: {document:#}");
    assert_eq!(document["records"].as_u64(), Some(records as u64), "topic {topic}: {document:#}");
}
