//! The table of a source that is a directory.
//!
//! Owns keys, defaults and what values mean. Left out: reading files. Invariant: every key has a default, and a key that
//! is not listed here is an error.

use std::path::PathBuf;
use std::time::Duration;

use cim_core::Problem;
use cim_core::settings::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of a source that is a directory.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    /// The directory. Changes are read from it, results are written into it; it is never created.
    pub dir: PathBuf,
    /// How often the directory is looked through when the kernel tells of no change. From `50ms` to `1h`.
    pub poll_interval: Period,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self { dir: PathBuf::from("/opt/cim/config"), poll_interval: Period::seconds(1) }
    }
}

impl FileSettings {
    /// Reads the table.
    ///
    /// # Errors
    /// [`Problem`] with an empty path when the table has another form.
    pub fn read(table: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
    }

    /// What the schema cannot say.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if !self.dir.is_absolute() {
            problems.push(Problem::new(
                "dir",
                "is not an absolute path; name the directory of the configuration",
            ));
        }
        let bounds = Duration::from_millis(50)..=Duration::from_secs(3_600);
        if !bounds.contains(&self.poll_interval.get()) {
            problems.push(Problem::new("poll_interval", "must be from 50ms to 1h"));
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
            let settings = FileSettings::read(&table).unwrap();
            settings.problems().iter().map(|problem| problem.path.clone()).collect::<Vec<_>>()
        };
        assert!(problems(serde_json::json!({})).is_empty());
        assert_eq!(
            problems(serde_json::json!({ "dir": "", "poll_interval": "0s" })),
            ["dir", "poll_interval"]
        );
        assert_eq!(
            problems(serde_json::json!({ "dir": "relative", "poll_interval": "2h" })),
            ["dir", "poll_interval"]
        );
        assert!(FileSettings::read(&serde_json::json!({ "path": "/x" })).is_err());
    }
}
