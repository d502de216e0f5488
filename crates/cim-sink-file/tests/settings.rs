//! The table `[sinks.x]` of the file sink, and what the sink promises.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use cim_core::settings::{ByteSize, Period};
use cim_core::{Durability, EventSink, LogFormat, LogSink};
use cim_sink_file::{FileDurability, FileSettings, FileSink};
use rig::identity;

#[test]
fn the_registry_entry_knows_its_table() {
    let kind = cim_sink_file::KIND;
    let check = |table: serde_json::Value| {
        (kind.validate)(&table, LogFormat::Json)
            .into_iter()
            .map(|problem| problem.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(check(serde_json::json!({})), [""; 0]);
    let full = serde_json::json!({
        "dir": "/opt/logs", "max_size": "10MiB", "max_files": 10, "max_age": "7d", "buffer": "10KB", "flush": "10s",
        "durability": "synced",
    });
    assert_eq!(check(full), [""; 0]);
    assert_eq!(
        check(serde_json::json!({ "dir": "", "max_size": 0, "buffer": "0B" })),
        [
            "dir: is empty; name the directory of the log files",
            "max_size: must be at least 1B",
            "buffer: must be at least 1B",
        ]
    );
    assert!(check(serde_json::json!({ "max_sise": 1 }))[0].contains("unknown field `max_sise`"));
    assert_eq!((kind.schema)()["additionalProperties"], false);
}

#[test]
fn defaults_and_promises() {
    let settings = FileSettings::default();
    assert_eq!(settings.max_size, ByteSize::mib(10));
    assert_eq!((settings.max_files, settings.max_age), (10, Period::seconds(7 * 86_400)));
    let sink = FileSink::new("disk", &identity(), &settings);
    assert_eq!(LogSink::profile(&sink).durability, Durability::Written);
    assert_eq!(EventSink::profile(&sink).durability, Durability::Synced);
    let sink =
        FileSink::new("disk", &identity(), &FileSettings { durability: FileDurability::Synced, ..settings });
    assert_eq!(LogSink::profile(&sink).durability, Durability::Synced);
}
