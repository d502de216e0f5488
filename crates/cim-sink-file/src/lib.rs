//! Sink `file`: one rotated file per container, and one file of events.
//!
//! | | |
//! |---|---|
//! | log file | `<pod>_<namespace>_<container_name>-<container_id>.log`, the raw payload and a newline per record, whatever the route's `format` says (wire contract §8.2) |
//! | events file | `<pod>_<namespace>_events.jsonl`, the event's JSON (wire contract §7.1) on one line; no `*.log` glob takes it for log lines |
//! | rotated | `<same>-<UTC yyyy-MM-ddTHH-mm-ss.SSS>.log_bkp` (or `.jsonl_bkp`) when a write would exceed `max_size` (wire contract §8.3) |
//! | detour | `<stem>%1.log` (or `.jsonl`), up to `%9`: while something that is not a file of ours stands in the place of the file |
//! | modes | files 0644, a new directory 0755, both less the umask; a fresh file takes over mode and owner of the rotated one |
//!
//! Every batch is written at once, so a reader sees it when `deliver` answers: nothing is held back, `buffer` only
//! bounds one write call and `flush` has no effect. Log records are in the page cache then, or on the device with
//! `durability = "synced"`; events are always on the device.
//!
//! What an operator may do underneath: delete or move files or the whole directory (they are created again), and
//! shorten a file. While the place of a file is taken (by a directory, a link, a pipe, a file that may not be
//! opened), its records go to the file's detour, in order, and health says so: nobody's records wait for it. When the
//! place is free again, the next records go there. On a full disk the half-written record is cut off again, and exactly the records that are not in
//! the file are reported. A file that ends in the middle of a line (a process was killed while it wrote) gets a
//! newline first; the record that was cut is delivered again whole.
//!
//! Left out: retry and batching (the engine's), names safe against hostile containers (`cim-wire`'s).
//! Invariant: a record that `deliver` does not report is whole in its file; within a container the order is kept.

mod backups;
mod detour;
mod fault;
mod folder;
mod open_file;
mod plan;
mod settings;
mod shelf;
mod sink;
mod stamp;

use std::sync::Arc;

use cim_core::{LogFormat, Problem, Sink, SinkContext, SinkKind};

pub use settings::{FileDurability, FileSettings};
pub use sink::FileSink;

/// The registry entry.
pub const KIND: SinkKind = SinkKind {
    name: "file",
    summary: "one rotated file per container, one file of JSON lines for events",
    schema: || serde_json::Value::from(schemars::schema_for!(FileSettings)),
    validate,
    build,
};

fn validate(table: &serde_json::Value, _: LogFormat) -> Vec<Problem> {
    match FileSettings::read(table) {
        Ok(settings) => settings.problems(),
        Err(problem) => vec![problem],
    }
}

fn build(context: SinkContext, table: &serde_json::Value) -> Result<Sink, Problem> {
    let settings = FileSettings::read(table)?;
    Ok(Sink::both(Arc::new(FileSink::new(context.name, &context.identity, &settings))))
}
