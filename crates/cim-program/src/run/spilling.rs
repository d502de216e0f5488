//! What is not delivered when the time is over goes where the settings say, one line per record.
//!
//! Left out: what a line holds (`lifecycle::spill`). The invariant: a destination that does not take its lines costs time, and
//! never more than there is.

use std::io::Write;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cim_core::{Batch, Cim, Class, Left, LogRecord, LogSink, Meta, chain};
use cim_wire::Log;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use crate::lifecycle::spill;

/// Lines that go to a sink in one call, and their bytes.
const BATCH: usize = 256;
const BATCH_BYTES: usize = 1 << 20;
/// Lines that may wait for their turn.
const WAITING: usize = 2 * BATCH;

/// Where lines go.
pub(super) enum Destination {
    /// Standard output.
    Stdout,
    /// A sink.
    Sink(Arc<dyn LogSink>),
}

/// Writes what is left within `limit`; returns how many records were written.
pub(super) async fn all(cim: &Cim, left: Left, destination: Destination, limit: Duration) -> u64 {
    let written = Arc::new(AtomicU64::new(0));
    let spilled = match destination {
        Destination::Stdout => timeout(limit, to_stdout(cim, left, &written)).await,
        Destination::Sink(sink) => timeout(limit, to_sink(cim, left, sink, &written)).await,
    };
    if spilled.is_err() {
        tracing::error!("not every undelivered record could be written out in time");
    }
    written.load(Ordering::SeqCst)
}

/// Goes through what is left on a thread of its own, until `tell` or whoever waits has had enough.
fn read(
    cim: &Cim,
    left: Left,
    mut tell: impl FnMut(String) -> ControlFlow<()> + Send + 'static,
) -> oneshot::Receiver<()> {
    let (done, doing) = oneshot::channel::<()>();
    let engine = cim.clone();
    let thread = move || {
        let mut flow = ControlFlow::Continue(());
        for class in [Class::Log, Class::Event] {
            let each = |record: &[u8]| {
                flow =
                    if done.is_closed() { ControlFlow::Break(()) } else { tell(spill::line(class, record)) };
                flow
            };
            if let Err(error) = engine.undelivered(class, left, each) {
                tracing::error!(%error, class = class.as_str(), "undelivered records cannot be read");
            }
            if flow.is_break() {
                break;
            }
        }
        // Whoever takes lines learns that there are no more before the end is told.
        drop(tell);
        let _ = done.send(());
    };
    if let Err(error) = cim.supervisor().thread("spill", thread) {
        tracing::error!(%error, "undelivered records cannot be written out: no thread left");
    }
    doing
}

async fn to_stdout(cim: &Cim, left: Left, written: &Arc<AtomicU64>) {
    let count = Arc::clone(written);
    let doing = read(cim, left, move |line| match writeln!(std::io::stdout().lock(), "{line}") {
        Ok(()) => {
            count.fetch_add(1, Ordering::SeqCst);
            ControlFlow::Continue(())
        }
        Err(error) => {
            tracing::error!(%error, "undelivered records cannot be written out");
            ControlFlow::Break(())
        }
    });
    let _ = doing.await;
}

async fn to_sink(cim: &Cim, left: Left, sink: Arc<dyn LogSink>, written: &AtomicU64) {
    let (sender, mut lines) = mpsc::channel::<String>(WAITING);
    let doing = read(cim, left, move |line| match sender.blocking_send(line) {
        Ok(()) => ControlFlow::Continue(()),
        Err(_) => ControlFlow::Break(()),
    });
    let mut seq = 1;
    loop {
        let batch = take(&mut lines).await;
        if batch.is_empty() {
            break;
        }
        if let Err(error) = deliver(sink.as_ref(), &batch, seq).await {
            tracing::error!(error, sink = sink.name(), "undelivered records cannot be written out");
            return;
        }
        let count = batch.len() as u64;
        seq += count;
        written.fetch_add(count, Ordering::SeqCst);
    }
    let _ = doing.await;
    if let Err(error) = sink.close().await {
        tracing::warn!(%error, sink = sink.name(), "the sink of undelivered records did not close cleanly");
    }
}

/// The lines for one call; none at the end.
async fn take(lines: &mut mpsc::Receiver<String>) -> Vec<String> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    let mut next = lines.recv().await;
    while let Some(line) = next {
        bytes += line.len();
        batch.push(line);
        next = if batch.len() < BATCH && bytes < BATCH_BYTES { lines.try_recv().ok() } else { None };
    }
    batch
}

async fn deliver(sink: &dyn LogSink, lines: &[String], seq: u64) -> Result<(), String> {
    let arrived_ms = cim_core::clock::now_ms();
    let records = (seq..).zip(lines).map(|(seq, line)| LogRecord {
        meta: Meta { seq, epoch: 0, arrived_ms, redelivered: false },
        headers: None,
        log: Log {
            container_id: b"".as_slice().into(),
            container_name: spill::CONTAINER.as_bytes().into(),
            payload: Some(line.as_bytes().into()),
        },
    });
    let batch = Batch::new(records.collect(), lines.iter().map(String::len).sum());
    sink.deliver(&batch).await.map_err(|error| chain(&error))
}
