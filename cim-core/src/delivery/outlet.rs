//! A sink of either class behind one face: decodes a span and delivers it in one call.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;

use super::span::{Selection, Span};
use crate::contract::{
    Batch, Component, DeliveryError, DeliveryErrorKind, Event, EventSink, LogRecord, LogSink, Meta,
    SinkProfile, Undelivered,
};
use crate::envelope::Envelope;

/// What one attempt came to.
#[derive(Debug)]
pub(crate) struct Attempt {
    /// Records that cannot be decoded: no sink ever saw them.
    pub broken: Vec<u64>,
    /// The failure, and the sequences it left undelivered.
    pub failed: Option<(DeliveryError, Vec<u64>)>,
}

impl Attempt {
    /// Whether every record is where it should be.
    pub(crate) fn is_clean(&self) -> bool {
        self.failed.is_none() && self.broken.is_empty()
    }

    /// Whether that record, one of those offered, was taken.
    pub(crate) fn has_delivered(&self, seq: u64) -> bool {
        let among = |seqs: &[u64]| seqs.binary_search(&seq).is_ok();
        !among(&self.broken) && !self.failed.as_ref().is_some_and(|(_, open)| among(open))
    }

    /// Whether every record of the span, all of which were offered, is as open as before.
    pub(crate) fn has_delivered_nothing_of(&self, span: &Span) -> bool {
        let open = self.failed.as_ref().map_or(0, |(_, open)| open.len() as u64);
        open == span.end() - span.first()
    }
}

/// A sink for logs or for events.
#[derive(Clone)]
pub(crate) enum Outlet {
    /// Takes logs.
    Logs(Arc<dyn LogSink>),
    /// Takes events.
    Events(Arc<dyn EventSink>),
}

impl Outlet {
    pub(crate) fn component(&self) -> &dyn Component {
        match self {
            Self::Logs(sink) => sink.as_ref(),
            Self::Events(sink) => sink.as_ref(),
        }
    }

    pub(crate) fn profile(&self) -> SinkProfile {
        match self {
            Self::Logs(sink) => sink.profile(),
            Self::Events(sink) => sink.profile(),
        }
    }

    /// Lets the sink do what the first delivery would wait for. A panic in it is that delivery's to tell.
    pub(crate) async fn prepare(&self) {
        let preparing = match self {
            Self::Logs(sink) => sink.prepare(),
            Self::Events(sink) => sink.prepare(),
        };
        let _ = AssertUnwindSafe(preparing).catch_unwind().await;
    }

    /// Lets the sink give up what it was offered and did not finish.
    pub(crate) async fn abandon(&self) {
        match self {
            Self::Logs(sink) => sink.abandon().await,
            Self::Events(sink) => sink.abandon().await,
        }
    }

    /// Delivers the selected records. A panic or an overdue answer of the sink is a failure like any other.
    pub(crate) async fn attempt(
        &self,
        span: &Span,
        selection: &Selection,
        epoch: u64,
        again: bool,
    ) -> Attempt {
        let decoder = Decoder { span, selection, epoch, again };
        match self {
            Self::Logs(sink) => {
                let (batch, seqs, broken) = decoder.logs();
                Attempt {
                    broken,
                    failed: failure(guarded(self.profile(), sink.deliver(&batch)).await, &seqs),
                }
            }
            Self::Events(sink) => {
                let (batch, seqs, broken) = decoder.events();
                Attempt {
                    broken,
                    failed: failure(guarded(self.profile(), sink.deliver(&batch)).await, &seqs),
                }
            }
        }
    }
}

async fn guarded(
    profile: SinkProfile,
    delivery: impl Future<Output = Result<(), DeliveryError>>,
) -> Result<(), DeliveryError> {
    let caught = AssertUnwindSafe(delivery).catch_unwind();
    let result = match profile.deliver_timeout {
        None => Ok(caught.await),
        Some(limit) => tokio::time::timeout(limit, caught).await,
    };
    match result {
        Ok(Ok(result)) => result,
        Ok(Err(_panic)) => Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "the sink panicked")),
        Err(_elapsed) => {
            Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "the sink did not answer in time"))
        }
    }
}

fn failure(result: Result<(), DeliveryError>, seqs: &[u64]) -> Option<(DeliveryError, Vec<u64>)> {
    let error = result.err()?;
    let open = match error.undelivered() {
        Undelivered::All => seqs.to_vec(),
        Undelivered::Only(positions) => {
            let mut open: Vec<_> = positions.iter().filter_map(|at| seqs.get(*at)).copied().collect();
            open.sort_unstable();
            open.dedup();
            // A failure that names no record of the batch cannot be believed: all of it counts as undelivered.
            if open.is_empty() { seqs.to_vec() } else { open }
        }
    };
    Some((error, open))
}

struct Decoder<'s> {
    span: &'s Span,
    selection: &'s Selection,
    epoch: u64,
    again: bool,
}

impl<'s> Decoder<'s> {
    fn logs(&self) -> (Batch<LogRecord<'s>>, Vec<u64>, Vec<u64>) {
        self.decode(|meta, envelope| {
            let log = cim_wire::Log::decode(envelope.encoding, envelope.payload, container(envelope.source));
            log.ok().map(|log| LogRecord { meta, headers: envelope.headers, log })
        })
    }

    fn events(&self) -> (Batch<Event<'s>>, Vec<u64>, Vec<u64>) {
        self.decode(|meta, envelope| {
            let event = cim_wire::Event::decode(envelope.encoding, envelope.payload);
            event.ok().map(|event| {
                let event = cim_wire::Event { own: envelope.own, ..event };
                Event { meta, headers: envelope.headers, event }
            })
        })
    }

    /// The batch, the sequence of each of its records, and the sequences that cannot be decoded.
    fn decode<R>(&self, read: impl Fn(Meta, Envelope<'s>) -> Option<R>) -> (Batch<R>, Vec<u64>, Vec<u64>) {
        let room = usize::try_from(self.span.end() - self.span.first()).unwrap_or_default();
        let (mut records, mut seqs, mut broken) =
            (Vec::with_capacity(room), Vec::with_capacity(room), Vec::new());
        for (seq, bytes) in self.span.records() {
            if !self.selection.contains(seq) {
                continue;
            }
            let record = Envelope::parse(bytes).and_then(|envelope| {
                let arrived_ms = envelope.arrived_ms;
                read(Meta { seq, epoch: self.epoch, arrived_ms, redelivered: self.again }, envelope)
            });
            match record {
                Some(record) => {
                    records.push(record);
                    seqs.push(seq);
                }
                None => broken.push(seq),
            }
        }
        (Batch::new(records, self.span.bytes()), seqs, broken)
    }
}

/// The container of a text log: who sent it, or `app`.
fn container(source: &[u8]) -> &[u8] {
    if source.is_empty() { b"app" } else { source }
}
