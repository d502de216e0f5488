//! The sink: a batch becomes one buffer, and a thread of its own writes it.
//!
//! Owns the hand-over and the meaning of errors. Left out: the bytes (`page`), the descriptor (`outlet`).
//! Invariant: no thread of the runtime ever waits for the reader, and one batch is being written at a time, even
//! when the future that asked for it was dropped.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cim_core::{
    Batch, CloseError, Component, DeliveryError, DeliveryErrorKind, Durability, Event, EventSink, Health,
    Identity, LogFormat, LogRecord, LogSink, Ordering, SinkProfile, async_trait,
};
use cim_wire::{EventEncoder, LogEncoder};
use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::outlet::Outlet;
use crate::page::{Page, Side, Stopped};

/// A write that takes longer is worth a word on the health page: the reader has stopped reading.
const SLOW: Duration = Duration::from_secs(2);

/// Writes records to standard output, one per line.
#[derive(Debug)]
pub struct StdoutSink<O: Outlet = OwnedFd> {
    name: String,
    logs: LogEncoder,
    events: EventEncoder,
    desk: Arc<tokio::sync::Mutex<Desk<O>>>,
    /// The way to the writer thread; started by the first delivery, ended by `close`.
    writer: Mutex<Option<SyncSender<Job<O>>>>,
    state: Arc<Mutex<State>>,
    closed: AtomicBool,
}

#[derive(Debug)]
struct Desk<O> {
    page: Page,
    outlet: O,
}

/// What the health page shows.
#[derive(Debug, Default)]
struct State {
    writing_since: Option<Instant>,
    trouble: Option<String>,
}

/// A batch on its way. Whoever holds it holds the desk: nobody else can write.
struct Job<O> {
    desk: OwnedMutexGuard<Desk<O>>,
    side: Side,
    reply: oneshot::Sender<Result<(), Stopped>>,
}

impl<O: Outlet> StdoutSink<O> {
    /// A sink of that instance name that writes to `outlet`.
    #[must_use]
    pub fn new(name: impl Into<String>, identity: &Identity, format: LogFormat, outlet: O) -> Self {
        Self {
            name: name.into(),
            logs: LogEncoder::new(&identity.log_context(), format),
            events: identity.event_encoder(),
            desk: Arc::new(tokio::sync::Mutex::new(Desk { page: Page::default(), outlet })),
            writer: Mutex::new(None),
            state: Arc::default(),
            closed: AtomicBool::new(false),
        }
    }

    fn profile() -> SinkProfile {
        SinkProfile {
            ordering: Ordering::Ordered,
            durability: Durability::Unacknowledged,
            inline: true,
            ..SinkProfile::default()
        }
    }

    async fn desk(&self) -> Result<OwnedMutexGuard<Desk<O>>, DeliveryError> {
        self.check_open()?;
        let desk = Arc::clone(&self.desk).lock_owned().await;
        self.check_open()?;
        Ok(desk)
    }

    fn check_open(&self) -> Result<(), DeliveryError> {
        if self.closed.load(Memory::Acquire) {
            return Err(closed());
        }
        Ok(())
    }

    /// Hands the filled page to the thread and waits. The desk stays locked until the write has ended, whether
    /// anybody still waits or not.
    async fn write(
        &self,
        desk: OwnedMutexGuard<Desk<O>>,
        side: Side,
        records: usize,
    ) -> Result<(), DeliveryError> {
        let (reply, outcome) = oneshot::channel();
        self.send(Job { desk, side, reply })?;
        match outcome.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(stopped)) => Err(failure(stopped, records)),
            Err(gone) => Err(unavailable("the thread that writes standard output ended").with_source(gone)),
        }
    }

    fn send(&self, job: Job<O>) -> Result<(), DeliveryError> {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        self.check_open()?;
        // A thread that ended unexpectedly gives the job back, and another one is started.
        let job = match writer.as_ref() {
            Some(jobs) => match jobs.send(job) {
                Ok(()) => return Ok(()),
                Err(returned) => returned.0,
            },
            None => job,
        };
        let (jobs, inbox) = sync_channel(1);
        let state = Arc::clone(&self.state);
        std::thread::Builder::new()
            .name("cim-stdout".to_owned())
            .spawn(move || run(&inbox, &state))
            .map_err(|error| {
                unavailable("cannot start the thread that writes standard output").with_source(error)
            })?;
        jobs.send(job).map_err(|_| unavailable("the thread that writes standard output ended"))?;
        *writer = Some(jobs);
        Ok(())
    }
}

/// The writer thread. Ends when the sink is closed or dropped; a write that is blocked ends with the process.
fn run<O: Outlet>(jobs: &Receiver<Job<O>>, state: &Mutex<State>) {
    let note =
        |change: &dyn Fn(&mut State)| change(&mut state.lock().unwrap_or_else(PoisonError::into_inner));
    while let Ok(Job { mut desk, side, reply }) = jobs.recv() {
        note(&|state| state.writing_since = Some(Instant::now()));
        let Desk { page, outlet } = &mut *desk;
        let outcome = page.write(side, outlet);
        let trouble = outcome.as_ref().err().map(|stopped| describe(&stopped.error).1.to_owned());
        note(&|state| {
            state.writing_since = None;
            state.trouble.clone_from(&trouble);
        });
        drop(desk);
        // Nobody may be waiting any more; the engine then delivers the records again.
        let _ = reply.send(outcome);
    }
}

fn describe(error: &io::Error) -> (DeliveryErrorKind, &'static str) {
    use rustix::io::Errno;
    match Errno::from_io_error(error) {
        Some(Errno::PIPE) => (DeliveryErrorKind::Unavailable, "standard output has no reader any more"),
        Some(Errno::BADF) => (DeliveryErrorKind::Misconfigured, "standard output is not open for writing"),
        Some(Errno::NOSPC | Errno::DQUOT) => {
            (DeliveryErrorKind::Unavailable, "standard output goes to a file system that is full")
        }
        _ => (DeliveryErrorKind::Unavailable, "standard output cannot be written"),
    }
}

fn failure(stopped: Stopped, records: usize) -> DeliveryError {
    let (kind, what) = describe(&stopped.error);
    DeliveryError::new(kind, what).with_source(stopped.error).only((stopped.written..records).collect())
}

fn unavailable(what: &str) -> DeliveryError {
    DeliveryError::new(DeliveryErrorKind::Unavailable, what)
}

fn closed() -> DeliveryError {
    DeliveryError::new(DeliveryErrorKind::Closed, "the stdout sink is closed")
}

#[async_trait]
impl<O: Outlet> Component for StdoutSink<O> {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match (&state.trouble, state.writing_since.map(|since| since.elapsed())) {
            (_, Some(waited)) if waited > SLOW => Health::Degraded(format!(
                "the reader of standard output has not read for {} s; records wait",
                waited.as_secs()
            )),
            (Some(trouble), _) => Health::Degraded(trouble.clone()),
            _ => Health::Ready,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.closed.store(true, Memory::Release);
        // Without waiting: a reader that has stopped must not hold up the end of the process.
        *self.writer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }
}

#[async_trait]
impl<O: Outlet> LogSink for StdoutSink<O> {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut desk = self.desk().await?;
        desk.page.clear(batch.bytes());
        for record in batch {
            desk.page.push(&record.meta, |out| self.logs.encode(&record.log, out));
        }
        self.write(desk, Side::Logs, batch.len()).await
    }
}

#[async_trait]
impl<O: Outlet> EventSink for StdoutSink<O> {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        if batch.is_empty() {
            return Ok(());
        }
        let mut desk = self.desk().await?;
        desk.page.clear(batch.bytes());
        for record in batch {
            desk.page.push(&record.meta, |out| self.events.encode(&record.event, out));
        }
        self.write(desk, Side::Events, batch.len()).await
    }
}
