//! The table `[sinks.x]` of a file sink.
//!
//! Owns keys, defaults and what values mean. Left out: reading files. Invariant: every key has a default, and a key
//! that is not listed here is an error.

use std::path::PathBuf;

use cim_core::Problem;
use cim_core::settings::{ByteSize, Period};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What `Ok` means for log records. Events are always `synced`.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum FileDurability {
    /// In the page cache: survives the end of the process, not a power loss.
    #[default]
    Written,
    /// On the device (fdatasync): survives a power loss.
    Synced,
}

/// Settings of a file sink.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct FileSettings {
    /// Directory of the files; created with its parents when absent.
    pub dir: PathBuf,
    /// A file that would grow beyond this is rotated first. A single larger record gets a file of its own.
    pub max_size: ByteSize,
    /// Most rotated files per container; the newest stay. 0: no limit.
    pub max_files: usize,
    /// Rotated files older than this are deleted, by the time in their name. `0s`: no limit.
    pub max_age: Period,
    /// Most bytes in one write call. Nothing is held back in memory: every batch is written at once.
    pub buffer: ByteSize,
    /// Accepted for the sake of old configurations; without effect, because nothing is held back.
    pub flush: Period,
    /// What a delivered log record has reached. Events are always synced.
    pub durability: FileDurability,
}

impl Default for FileSettings {
    fn default() -> Self {
        Self {
            dir: PathBuf::from("/opt/logs"),
            max_size: ByteSize::mib(10),
            max_files: 10,
            max_age: Period::seconds(7 * 24 * 3_600),
            buffer: ByteSize::bytes(256 << 10),
            flush: Period::seconds(0),
            durability: FileDurability::default(),
        }
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
        if self.dir.as_os_str().is_empty() {
            problems.push(Problem::new("dir", "is empty; name the directory of the log files"));
        }
        for (key, size) in [("max_size", self.max_size), ("buffer", self.buffer)] {
            if size.get() == 0 {
                problems.push(Problem::new(key, "must be at least 1B"));
            }
        }
        problems
    }
}
