//! Sink `null`: counts and discards. For benches and dry runs.
//!
//! With `ack_after = "written"` (the default) the engine feeds it only what the spool holds at that level, so that an
//! ingest bench measures the whole path. Nothing is kept, so nothing can be inspected afterwards but the books.

use std::sync::Arc;

use async_trait::async_trait;

use crate::contract::{
    Batch, Component, DeliveryError, Durability, Event, EventSink, LogRecord, LogSink, SinkProfile,
};
use crate::registry::{Problem, Sink, SinkContext, SinkKind};

/// The registry entry.
pub const KIND: SinkKind = SinkKind {
    name: "null",
    summary: "counts and discards; for benches and dry runs",
    schema,
    validate: |_| Vec::new(),
    build,
};

/// Discards everything at once.
#[derive(Debug)]
pub struct NullSink {
    name: String,
}

impl NullSink {
    /// A sink of that instance name.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    fn profile() -> SinkProfile {
        SinkProfile { max_records: 65_536, durability: Durability::Unacknowledged, ..SinkProfile::default() }
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
        Ok(())
    }
}

#[async_trait]
impl EventSink for NullSink {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }
    async fn deliver(&self, _: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        Ok(())
    }
}

fn schema() -> serde_json::Value {
    serde_json::json!({ "type": "object", "properties": {}, "additionalProperties": false })
}

fn build(context: SinkContext, _: &serde_json::Value) -> Result<Sink, Problem> {
    Ok(Sink::both(Arc::new(NullSink::new(context.name))))
}
