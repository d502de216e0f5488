//! Records that others write to a topic, headers included.
//!
//! Owns the words of `produce.py`, which writes with a client that is not ours. Invariant: it returns when the records are in
//! the topic, and fails the test when they cannot be.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use serde_json::json;

use super::Kafka;
use crate::tool;

/// A record to be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// Names and values; `None`: a header without a value.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its key, if it has one.
    pub key: Option<String>,
    /// How old its time says that it is, in milliseconds.
    pub age_ms: u64,
}

impl Outgoing {
    /// A record with headers of text.
    #[must_use]
    pub fn new(headers: &[(&str, &str)], value: &[u8]) -> Self {
        let header = |(name, value): &(&str, &str)| ((*name).to_owned(), Some(value.as_bytes().to_vec()));
        Self { headers: headers.iter().map(header).collect(), value: value.to_vec(), key: None, age_ms: 0 }
    }
}

impl Kafka {
    /// Writes records to a topic, in their order.
    pub fn produce(&self, topic: &str, records: &[Outgoing]) {
        let mut lines = String::new();
        for Outgoing { headers, value, key, age_ms } in records {
            let headers: Vec<_> =
                headers.iter().map(|(name, value)| (name, value.as_deref().map(hex))).collect();
            let _ = writeln!(
                lines,
                "{}",
                json!({ "value": hex(value), "headers": headers, "key": key, "age_ms": age_ms })
            );
        }
        let mut command = Command::new(tool("venv/bin/python"));
        command.args(["-c", include_str!("../../produce.py"), &self.bootstrap(), topic]);
        let mut python = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("python runs");
        python.stdin.take().expect("a pipe").write_all(lines.as_bytes()).expect("python reads");
        let output = python.wait_with_output().expect("python ends");
        assert!(output.status.success(), "{topic}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(2 * bytes.len()), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
