//! What `cim verify` says, as a program that asks it learns it.
//!
//! Left out: what a test finds with a reader of its own (`check`).

use std::path::Path;
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

/// A topic of one class lacks exactly `missing` of the numbers that CIM has given, 1 to `given`, before, between or behind those
/// that are there. Nothing else is wrong, in so many records, marked duplicates among them.
pub fn assert_only_missing(brokers: &str, topic: &str, records: usize, missing: usize, given: usize) {
    let document = assert_only_gaps(&["kafka", "--brokers", brokers, "--topic", topic], given, |_| missing);
    assert_eq!(document["records"].as_u64(), Some(records as u64), "topic {topic}: {document:#}");
    let numberings = document["numberings"].as_array().unwrap().iter();
    let epochs = numberings.filter(|numbering| numbering["epoch"].is_string()).count();
    assert_eq!(epochs, 1, "topic {topic}: {document:#}");
}

/// Where a fault has divided records between several places, `cim verify` finds nothing wrong with one of them but that it lacks
/// exactly so many of a class (`LOG` or `EVENT`), of the numbers 1 to `given`, in every numbering that it knows.
pub fn assert_only_gaps(arguments: &[&str], given: usize, missing: impl Fn(&str) -> usize) -> Value {
    let (_, document) = verify(arguments);
    let numberings = document["numberings"].as_array().unwrap_or_else(|| panic!("unread: {arguments:?}"));
    let number = |numbering: &Value, field: &str| numbering[field].as_u64().unwrap() as usize;
    let has_gaps = numberings.iter().any(|numbering| number(numbering, "gaps") > 0);
    let faults: &[&str] = if has_gaps { &["gaps"] } else { &[] };
    assert_eq!(document["faults"], serde_json::json!(faults), "{arguments:?}: {document:#}");
    for numbering in numberings {
        let (first, last) = (number(numbering, "first"), number(numbering, "last"));
        assert!(last <= given, "{arguments:?}: nobody gave more than {given}: {document:#}");
        let lacking = first - 1 + number(numbering, "gaps") + given - last;
        let expected = missing(numbering["class"].as_str().unwrap());
        assert_eq!(lacking, expected, "{arguments:?}, 1 to {given}: {document:#}");
    }
    document
}

/// What `cim verify tcp-capture` found in captures of generated records, one capture per connection or receiver.
#[derive(Debug)]
pub struct Capture {
    /// Different records.
    pub received: u64,
    /// Numbers missing between the first and the last.
    pub gaps: u64,
    /// Records that came again.
    pub twice: u64,
    /// Records without a number.
    pub foreign: u64,
    /// The whole answer.
    document: Value,
}

impl Capture {
    /// Reads the captures.
    #[must_use]
    pub fn of<P: AsRef<Path>>(files: &[P]) -> Self {
        Self::read(&[], files)
    }

    /// Reads captures of events that do not begin like those of CIM.
    #[must_use]
    pub fn of_events<P: AsRef<Path>>(files: &[P]) -> Self {
        Self::read(&["--class", "event"], files)
    }

    fn read<P: AsRef<Path>>(options: &[&str], files: &[P]) -> Self {
        let paths = files.iter().map(|file| file.as_ref().to_str().unwrap());
        let arguments: Vec<_> = ["tcp-capture"].iter().chain(options).copied().chain(paths).collect();
        let (code, document) = verify(&arguments);
        assert!(code <= 1, "it could not be read: {document:#}");
        let sum = |list: &str, field: &str| {
            let entries = document[list].as_array().into_iter().flatten();
            entries.map(|entry| entry[field].as_u64().unwrap()).sum()
        };
        let (received, gaps) = (sum("numberings", "received"), sum("numberings", "gaps"));
        let twice = sum("sources", "unmarked_duplicates");
        let foreign = document["foreign"].as_u64().unwrap();
        Self { received, gaps, twice, foreign, document }
    }

    /// Every record once, in order, and nothing else.
    pub fn assert_clean(&self, records: usize) {
        self.assert_only(&[], records);
    }

    /// Nothing is wrong but what these faults say: order is kept, every record is whole, and the first and the last of so many
    /// logs are there.
    pub fn assert_only(&self, faults: &[&str], records: usize) {
        self.assert_of(&["LOG"], faults, records);
    }

    /// The same of so many events.
    pub fn assert_events(&self, faults: &[&str], records: usize) {
        self.assert_of(&["EVENT"], faults, records);
    }

    /// The same of so many logs and as many events.
    pub fn assert_both(&self, faults: &[&str], records: usize) {
        self.assert_of(&["EVENT", "LOG"], faults, records);
    }

    fn assert_of(&self, classes: &[&str], faults: &[&str], records: usize) {
        let document = &self.document;
        let found = document["faults"].as_array().expect("a list of faults").iter();
        let others: Vec<_> = found.filter(|fault| !faults.contains(&fault.as_str().unwrap())).collect();
        assert!(others.is_empty(), "{others:?} in {document:#}");
        let whole: Vec<_> = classes.iter().map(|class| serde_json::json!([class, 1, records])).collect();
        let numberings = document["numberings"].as_array().expect("a list of numberings").iter();
        let numberings: Vec<_> = numberings
            .map(|numbering| serde_json::json!([numbering["class"], numbering["first"], numbering["last"]]))
            .collect();
        assert_eq!(numberings, whole, "{document:#}");
        assert_eq!(self.received + self.gaps, (classes.len() * records) as u64, "{document:#}");
    }
}
