//! Sink `stdout`: one record per line on standard output.
//!
//! A log line is its JSON or its text, as the route's `format` says (wire contract §8.2); an event is its JSON (wire contract §7.1). Each
//! is followed by a newline, and each batch is one write call, made by a thread of the sink's own.
//!
//! | the reader | what happens |
//! |---|---|
//! | stops reading | the delivery waits, the engine keeps the records, the class's policy decides about publishers |
//! | goes away (`EPIPE`) | the delivery fails as `unavailable` and is retried; the process must ignore `SIGPIPE`, as Rust programs do |
//! | is a non-blocking descriptor | the thread waits for room |
//!
//! When a write fails in the middle of a record, the rest of that record is written first once it works again, so
//! that the reader never sees a line cut in two; delivered again as the first of its batch, the record is not
//! repeated. Nobody confirms what was read: deliveries count as `unacknowledged`.
//!
//! Left out: retry, queueing, counting (the engine's). Invariant: whole records, in order.

mod outlet;
mod page;
mod sink;

use std::sync::Arc;

use cim_core::{LogFormat, Problem, Sink, SinkContext, SinkKind};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use outlet::Outlet;
pub use sink::StdoutSink;

/// The table `[sinks.x]` of this kind. It has no keys of its own: the form of log lines is the route's `format`.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct StdoutSettings {}

/// The registry entry.
pub const KIND: SinkKind = SinkKind {
    name: "stdout",
    summary: "one record per line on standard output",
    schema: || serde_json::Value::from(schemars::schema_for!(StdoutSettings)),
    validate,
    build,
};

fn read(table: &serde_json::Value) -> Result<StdoutSettings, Problem> {
    StdoutSettings::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
}

fn validate(table: &serde_json::Value, _: LogFormat) -> Vec<Problem> {
    read(table).err().into_iter().collect()
}

fn build(context: SinkContext, table: &serde_json::Value) -> Result<Sink, Problem> {
    let StdoutSettings {} = read(table)?;
    let outlet = outlet::standard_output()
        .map_err(|error| Problem::new("", format!("cannot open standard output: {error}")))?;
    Ok(Sink::both(Arc::new(StdoutSink::new(context.name, &context.identity, context.log_format, outlet))))
}
