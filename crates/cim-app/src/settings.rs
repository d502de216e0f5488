//! The table that says where the application is.
//!
//! Owns keys, defaults and what values mean. Left out: connecting. Invariant: every key has a default, and a key that is
//! not listed here is an error.

use cim_core::Problem;
use cim_core::settings::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::target::Target;

/// Where the application is and how it is called.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct ApplicationSettings {
    /// Where the application listens, `http://host:port`, with a path if its endpoints are not at the root.
    pub url: String,
    /// Speak HTTP/2 from the first byte, without an upgrade. Off: HTTP/1.1.
    pub http2: bool,
    /// Longest time for a call, from the connection to the end of the answer.
    pub timeout: Period,
}

impl Default for ApplicationSettings {
    fn default() -> Self {
        Self { url: "http://localhost:9999".to_owned(), http2: false, timeout: Period::seconds(10) }
    }
}

impl ApplicationSettings {
    /// Reads the table.
    ///
    /// # Errors
    /// [`Problem`] with an empty path when the table has another form.
    pub fn read(table: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
    }

    /// Host and port, as `url` names them.
    #[must_use]
    pub fn authority(&self) -> String {
        Target::parse(&self.url).map(|target| format!("{}:{}", target.host, target.port)).unwrap_or_default()
    }

    /// What the schema cannot say.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems: Vec<_> = Target::parse(&self.url).err().into_iter().collect();
        if self.timeout.get().is_zero() {
            problems.push(Problem::new("timeout", "must be at least 1ms"));
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_cannot_work_are_named() {
        let problems = |table: serde_json::Value| {
            let settings = ApplicationSettings::read(&table).unwrap();
            settings.problems().iter().map(|problem| problem.path.clone()).collect::<Vec<_>>()
        };
        assert!(problems(serde_json::json!({})).is_empty());
        assert!(problems(serde_json::json!({ "url": "http://[::1]:8080/app/", "http2": true })).is_empty());
        for url in [
            "",
            "localhost:8080",
            "https://localhost:1",
            "http://",
            "http://a:b@c:1",
            "http://h:1/?q",
            "http://h:99999",
        ] {
            assert_eq!(problems(serde_json::json!({ "url": url })), ["url"], "{url}");
        }
        assert_eq!(problems(serde_json::json!({ "timeout": "0s" })), ["timeout"]);
        assert!(ApplicationSettings::read(&serde_json::json!({ "port": 1 })).is_err());
    }
}
