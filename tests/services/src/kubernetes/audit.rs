//! What the API server was asked, as it wrote it down itself.
//!
//! Owns reading its audit log. Invariant: a call stands there before it was answered.

use std::path::Path;

use serde_json::Value;

/// One call, once it was answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// For example `get`.
    pub verb: String,
    /// For example `pods`.
    pub resource: String,
    /// The status of the answer.
    pub status: u64,
}

/// The calls of one user, in order.
pub(super) fn calls(log: &Path, user: &str) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let entries = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let of_user = entries.filter(|entry| entry["user"]["username"] == user);
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    of_user
        .map(|entry| Call {
            verb: word(&entry["verb"]),
            resource: word(&entry["objectRef"]["resource"]),
            status: entry["responseStatus"]["code"].as_u64().unwrap_or_default(),
        })
        .collect()
}
