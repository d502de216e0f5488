//! A sink of one's own: lines go to a channel, as they would to a system with a client library.
//!
//! All a sink has to say is what it takes, and whether a batch got through. Batching, retry, order through outages,
//! dead letters, metrics, health and shutdown are the engine's; `main.rs` starts one.

use std::sync::mpsc::SyncSender;

use cim_core::{
    Batch, Component, DeliveryError, DeliveryErrorKind, LogRecord, LogSink, SinkProfile, async_trait,
};

/// Sends each log line into a channel.
#[derive(Debug)]
pub struct ChannelSink(pub SyncSender<Vec<u8>>);

#[async_trait]
impl Component for ChannelSink {
    fn name(&self) -> &str {
        "channel"
    }
}

#[async_trait]
impl LogSink for ChannelSink {
    fn profile(&self) -> SinkProfile {
        SinkProfile { max_records: 100, ..SinkProfile::default() }
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        for (sent, record) in batch.iter().enumerate() {
            if let Err(error) = self.0.try_send(record.log.text().to_vec()) {
                let rest = (sent..batch.len()).collect();
                return Err(DeliveryError::new(DeliveryErrorKind::Unavailable, error.to_string()).only(rest));
            }
        }
        Ok(())
    }
}
