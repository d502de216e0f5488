//! The sink: batches in, bytes of the chosen framing out.
//!
//! Owns the choice of the framing and the end. Left out: retry, batching, metrics (the engine's). Invariant: logs and
//! events have a lane each, so that neither waits for the other.

use std::sync::Arc;

use cim_core::{
    Batch, CloseError, Component, DeliveryError, Durability, Event, EventSink, Health, LogFormat, LogRecord,
    LogSink, Ordering, Problem, SinkContext, SinkProfile, async_trait,
};
use cim_wire::{EventEncoder, LogEncoder};

use crate::agent::Agent;
use crate::channel::Security;
use crate::entry::EntryEncoder;
use crate::forward::{self, Chunks};
use crate::lane::Lane;
use crate::lines;
use crate::receivers::Receivers;
use crate::settings::{Framing, TcpSettings};

/// Batches of lines on their way: some are taken by the peer while the next one is written. Short ones, each of which is written
/// as soon as it is there, are so many that the peer has taken the first by the time it is looked at.
const WINDOW: usize = 4;
/// Most payload bytes of one, and most records.
const BATCH: (usize, usize) = (512 << 10, 4096);

/// Sends records to the first receiver that accepts.
pub struct TcpSink {
    name: String,
    framing: Framing,
    receivers: Receivers,
    chunks: Chunks,
    log_lines: LogEncoder,
    event_lines: EventEncoder,
    entries: EntryEncoder,
    logs: Lane,
    events: Lane,
}

impl std::fmt::Debug for TcpSink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpSink")
            .field("name", &self.name)
            .field("framing", &self.framing)
            .finish_non_exhaustive()
    }
}

impl TcpSink {
    /// A sink with those settings. Connects to nothing: that is the first delivery's business.
    ///
    /// # Errors
    /// [`Problem`] relative to the table: a wrong address, or a framing that contradicts the route's format.
    pub fn new(
        context: &SinkContext,
        settings: &TcpSettings,
        security: Option<Arc<dyn Security>>,
    ) -> Result<Self, Problem> {
        let framing = settings.framing_for(context.log_format)?;
        let receivers = settings.receivers();
        let addresses = receivers.map_err(|problems| {
            problems.into_iter().next().unwrap_or_else(|| Problem::new("address", "is required"))
        })?;
        let format = if framing == Framing::Text { LogFormat::Text } else { LogFormat::Json };
        Ok(Self {
            name: context.name.clone(),
            framing,
            receivers: Receivers {
                agent: settings
                    .node_agent
                    .as_ref()
                    .map(|agent| Agent::new(agent.query(), context.neighbours.clone())),
                addresses,
                connect_timeout: settings.connect_timeout.get(),
                stall_timeout: settings.stall_timeout.get(),
                security,
            },
            chunks: Chunks { tag: settings.tag.clone(), ack_timeout: settings.ack_timeout.get() },
            entries: EntryEncoder::new(&context.identity),
            log_lines: LogEncoder::new(&context.identity.log_context(), format),
            event_lines: context.identity.event_encoder(),
            logs: Lane::new(&context.name, Some(&context.identity.pod)),
            events: Lane::new(&context.name, None),
        })
    }

    /// Connections that broke while they carried records.
    #[must_use]
    pub fn disconnects(&self) -> u64 {
        self.logs.disconnects().saturating_add(self.events.disconnects())
    }

    fn promise(&self) -> SinkProfile {
        let profile = SinkProfile { ordering: Ordering::Ordered, inline: true, ..SinkProfile::default() };
        match self.framing {
            Framing::Json | Framing::Text => SinkProfile {
                max_bytes: BATCH.0,
                max_records: BATCH.1,
                max_in_flight: WINDOW,
                durability: Durability::Unacknowledged,
                ..profile
            },
            Framing::Forward => SinkProfile { durability: Durability::Remote, ..profile },
        }
    }
}

#[async_trait]
impl Component for TcpSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        match self.events.health() {
            Health::Ready => self.logs.health(),
            degraded => degraded,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.logs.close().await;
        self.events.close().await;
        Ok(())
    }
}

#[async_trait]
impl LogSink for TcpSink {
    fn profile(&self) -> SinkProfile {
        self.promise()
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (lane, receivers) = (&self.logs, &self.receivers);
        let outcome = match self.framing {
            Framing::Json | Framing::Text => {
                let line =
                    |record: &LogRecord<'_>, out: &mut Vec<u8>| self.log_lines.encode(&record.log, out);
                lines::send(lane, receivers, batch, line).await
            }
            Framing::Forward => {
                let entry = |record: &LogRecord<'_>, out: &mut Vec<u8>| self.entries.push_log(record, out);
                forward::send(lane, receivers, &self.chunks, batch, entry).await
            }
        };
        lane.rest(&outcome);
        lane.count(batch.len(), &outcome);
        outcome
    }
}

#[async_trait]
impl EventSink for TcpSink {
    fn profile(&self) -> SinkProfile {
        self.promise()
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        if batch.is_empty() {
            return Ok(());
        }
        let (lane, receivers) = (&self.events, &self.receivers);
        let outcome = match self.framing {
            Framing::Json | Framing::Text => {
                let line =
                    |record: &Event<'_>, out: &mut Vec<u8>| self.event_lines.encode(&record.event, out);
                lines::send(lane, receivers, batch, line).await
            }
            Framing::Forward => {
                let entry = |record: &Event<'_>, out: &mut Vec<u8>| self.entries.push_event(record, out);
                forward::send(lane, receivers, &self.chunks, batch, entry).await
            }
        };
        lane.rest(&outcome);
        outcome
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use std::io::Read as _;
    use std::net::TcpListener;
    use std::time::Duration;

    use cim_core::{Class, Identity, Neighbours, Sink};
    use cim_testkit::{Sample, Subject};

    use super::*;

    #[tokio::test]
    async fn a_batch_that_failed_leaves_no_large_page_behind() {
        for framing in [Framing::Json, Framing::Forward] {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            let address = listener.local_addr().unwrap().to_string();
            let receiver = std::thread::spawn(move || {
                let (mut stream, _) = listener.accept().unwrap();
                stream.read_exact(&mut [0; 64 << 10]).unwrap();
            });
            let settings =
                TcpSettings { address: Some(address), framing: Some(framing), ..TcpSettings::default() };
            let context = SinkContext {
                name: "agent".to_owned(),
                identity: Arc::new(Identity::default()),
                log_format: LogFormat::Json,
                neighbours: Neighbours::default(),
            };
            let sink = Arc::new(TcpSink::new(&context, &settings, None).unwrap());
            let subject =
                Subject::of(Sink::both(Arc::clone(&sink)), Class::Log, Duration::from_secs(10)).unwrap();
            let batch: Vec<_> = (0..8_000).map(|n| Sample::with_body(n, "app", &[b'x'; 1_000])).collect();
            let _ = subject.deliver(&batch).await.unwrap_err();
            receiver.join().unwrap();
            let bytes = sink.logs.page_bytes().await;
            assert!(bytes <= 64 << 10, "{framing:?}: {bytes} bytes");
        }
    }
}
