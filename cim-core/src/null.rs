//! Sink `null`: counts and discards. For benches and dry runs.
//!
//! With `ack_after = "written"` (the default) the engine feeds it only what the spool holds at that level, so that an
//! ingest bench measures the whole path. Nothing is kept, so nothing can be inspected afterwards but the books.
//! With `answer_after` it answers as late as a backend far away, so that a dry run holds what a real one would hold.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Batch, Component, DeliveryError, Durability, Event, EventSink, LogRecord, LogSink, SinkProfile,
};
use crate::registry::{Problem, Sink, SinkContext, SinkKind};
use crate::settings::Period;

/// The registry entry.
pub const KIND: SinkKind = SinkKind {
    name: "null",
    summary: "counts and discards; for benches and dry runs",
    schema: || serde_json::Value::from(schemars::schema_for!(NullSettings)),
    validate: |table, _| read(table).err().into_iter().collect(),
    build,
};

/// The table `[sinks.x]` of this kind.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct NullSettings {
    /// How long each batch takes to be answered. Absent: it is answered at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer_after: Option<Period>,
}

/// Discards everything.
#[derive(Debug)]
pub struct NullSink {
    name: String,
    answer_after: Duration,
}

impl NullSink {
    /// A sink of that instance name that answers at once.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self::with(name, &NullSettings::default())
    }

    /// A sink of that instance name with these settings.
    #[must_use]
    pub fn with(name: impl Into<String>, settings: &NullSettings) -> Self {
        Self { name: name.into(), answer_after: settings.answer_after.map_or(Duration::ZERO, Period::get) }
    }

    async fn answer(&self) -> Result<(), DeliveryError> {
        if !self.answer_after.is_zero() {
            tokio::time::sleep(self.answer_after).await;
        }
        Ok(())
    }

    fn profile() -> SinkProfile {
        SinkProfile {
            max_records: 65_536,
            durability: Durability::Unacknowledged,
            inline: true,
            ..SinkProfile::default()
        }
    }
}

#[async_trait]
impl Component for NullSink {
    fn name(&self) -> &str {
        &self.name
    }
}

#[async_trait]
impl LogSink for NullSink {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }
    async fn deliver(&self, _: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        self.answer().await
    }
}

#[async_trait]
impl EventSink for NullSink {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }
    async fn deliver(&self, _: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        self.answer().await
    }
}

fn read(table: &serde_json::Value) -> Result<NullSettings, Problem> {
    NullSettings::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
}

fn build(context: SinkContext, table: &serde_json::Value) -> Result<Sink, Problem> {
    Ok(Sink::both(Arc::new(NullSink::with(context.name, &read(table)?))))
}
