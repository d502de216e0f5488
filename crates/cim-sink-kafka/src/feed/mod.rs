//! Subscribed events from a topic (wire contract §7.5): a consumer in a group of its own.
//!
//! Walk: `source` opens on a thread beside the runtime → `place` fixes where reading begins → `reader` reads. Left out: which
//! records are wanted. Invariant: no call of the client library that may block runs on the runtime.

mod context;
mod place;
mod reader;
mod source;

use std::sync::Arc;

use cim_core::{EventSource, EventSourceKind, FeedContext, Problem};

pub use source::KafkaFeed;

use crate::settings::{KafkaSettings, check_topic};

/// The registry entry.
pub const FEED: EventSourceKind = EventSourceKind { name: "kafka", validate, build };

fn validate(settings: &cim_core::settings::SubscriptionSettings) -> Vec<Problem> {
    check_topic(&settings.topic).err().map(|message| Problem::new("topic", message)).into_iter().collect()
}

fn build(context: FeedContext, table: &serde_json::Value) -> Result<Arc<dyn EventSource>, Problem> {
    let settings = KafkaSettings::read(table)?;
    Ok(Arc::new(KafkaFeed::new(context, settings)))
}
