//! The sink: batches in, files out.
//!
//! Owns the hand-over to the blocking pool and the translation of what happened into positions of the batch. Left
//! out: retry, batching. Invariant: one batch of a class is being written at a time, even when the future
//! that asked for it was dropped, so that a retry never mixes with the attempt before.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering as Memory};

use cim_core::{
    Batch, CloseError, Component, DeliveryError, DeliveryErrorKind, Durability, Event, EventSink, Health,
    Identity, LogRecord, LogSink, Ordering, SinkProfile, async_trait, catalog,
};
use cim_wire::{EventEncoder, log_file_name};
use tokio::sync::{Mutex, OwnedMutexGuard};

use crate::backups::Retention;
use crate::plan::Plan;
use crate::settings::{FileDurability, FileSettings};
use crate::shelf::{Rules, Shelf};

/// Room that the names of rotated files need within 255 bytes.
const MAX_NAME: usize = 255 - 28;

/// Writes logs to one file per container, events to one file of JSON lines.
#[derive(Debug)]
pub struct FileSink {
    name: String,
    pod: String,
    namespace: String,
    events_name: String,
    encoder: EventEncoder,
    durability: FileDurability,
    logs: Lane,
    events: Lane,
    closed: AtomicBool,
}

/// The state of one class.
#[derive(Debug, Clone)]
struct Lane {
    desk: Arc<Mutex<Desk>>,
    /// What the last batch had to say, for the health page.
    trouble: Arc<std::sync::Mutex<Option<String>>>,
}

#[derive(Debug)]
struct Desk {
    plan: Plan,
    shelf: Shelf,
}

impl FileSink {
    /// A sink of that instance name. Touches no file: a directory that is absent is the first delivery's business.
    #[must_use]
    pub fn new(name: impl Into<String>, identity: &Identity, settings: &FileSettings) -> Self {
        Self::with_clock(name, identity, settings, cim_core::clock::now_ms)
    }

    /// The same with a clock of the caller's: milliseconds since the Unix epoch, for the names of rotated files.
    #[must_use]
    pub fn with_clock(
        name: impl Into<String>,
        identity: &Identity,
        settings: &FileSettings,
        now_ms: fn() -> u64,
    ) -> Self {
        let (prefix, events_name) = names(&identity.pod, &identity.namespace);
        let rules = |ending: &str, synced| Rules {
            dir: settings.dir.clone(),
            max_size: settings.max_size.get(),
            buffer: settings.buffer.get(),
            keep: Retention {
                max_files: settings.max_files,
                max_age_ms: u64::try_from(settings.max_age.get().as_millis()).unwrap_or(u64::MAX),
            },
            synced,
            names: (prefix.clone(), ending.to_owned()),
            now_ms,
        };
        Self {
            name: name.into(),
            pod: identity.pod.clone(),
            namespace: identity.namespace.clone(),
            encoder: identity.event_encoder(),
            durability: settings.durability,
            logs: Lane::new(rules(".log", settings.durability == FileDurability::Synced)),
            events: Lane::new(rules(".jsonl", true)),
            events_name,
            closed: AtomicBool::new(false),
        }
    }

    fn profile_of(durability: FileDurability) -> SinkProfile {
        SinkProfile {
            ordering: Ordering::Ordered,
            durability: match durability {
                FileDurability::Written => Durability::Written,
                FileDurability::Synced => Durability::Synced,
            },
            inline: true,
            ..SinkProfile::default()
        }
    }

    fn check_open(&self) -> Result<(), DeliveryError> {
        if self.closed.load(Memory::Acquire) {
            return Err(DeliveryError::new(DeliveryErrorKind::Closed, "the file sink is closed"));
        }
        Ok(())
    }
}

/// The start of every log file name of this pod, and the name of its events file.
///
/// The events file ends in `.jsonl`, so that a `*.log` glob does not ship events as log lines.
fn names(pod: &str, namespace: &str) -> (String, String) {
    let model = log_file_name(pod, namespace, b"events", b"");
    match model.strip_suffix("events-.log") {
        Some(prefix) => (prefix.to_owned(), format!("{prefix}events.jsonl")),
        None => {
            // Too long: the model ends in a hash of the whole, which makes it a name of its own.
            let mut stem = model.strip_suffix(".log").unwrap_or(&model).to_owned();
            stem.truncate(MAX_NAME - ".jsonl".len());
            (stem.clone(), format!("{stem}.jsonl"))
        }
    }
}

impl Lane {
    fn new(rules: Rules) -> Self {
        let desk = Desk { plan: Plan::default(), shelf: Shelf::new(rules) };
        Self { desk: Arc::new(Mutex::new(desk)), trouble: Arc::default() }
    }

    async fn desk(&self) -> OwnedMutexGuard<Desk> {
        Arc::clone(&self.desk).lock_owned().await
    }

    /// Writes what the plan holds. The lock goes with the work: it is free again when the work is done, whether
    /// anybody still waits or not.
    async fn write(&self, mut desk: OwnedMutexGuard<Desk>) -> Result<(), DeliveryError> {
        let trouble = Arc::clone(&self.trouble);
        let work = tokio::task::spawn_blocking(move || {
            let outcome = desk.write();
            let text = outcome.as_ref().err().map(ToString::to_string);
            if let Ok(mut trouble) = trouble.lock() {
                *trouble = text.or_else(|| desk.shelf.trouble().map(ToOwned::to_owned));
            }
            outcome
        });
        work.await.unwrap_or_else(|error| {
            Err(DeliveryError::new(DeliveryErrorKind::Unavailable, "the file writer stopped")
                .with_source(error))
        })
    }

    fn trouble(&self) -> Option<String> {
        self.trouble.lock().ok().and_then(|trouble| trouble.clone())
    }
}

impl Desk {
    /// Writes each file's records. A file that fails does not hold up the others.
    fn write(&mut self) -> Result<(), DeliveryError> {
        self.shelf.begin().map_err(|fault| fault.into_error(None))?;
        let mut undelivered = Vec::new();
        let mut reason = None;
        for (name, run, positions) in self.plan.files() {
            if let Err(stopped) = self.shelf.append(name, run) {
                undelivered.extend_from_slice(positions.get(stopped.written..).unwrap_or_default());
                // What passes by itself is tried again soon, even if a person has to look after another file.
                match &reason {
                    Some(known)
                        if !stopped.fault.is_transient() || crate::fault::Fault::is_transient(known) => {}
                    _ => reason = Some(stopped.fault),
                }
            }
        }
        undelivered.sort_unstable();
        reason.map_or(Ok(()), |fault| Err(fault.into_error(Some(undelivered))))
    }
}

#[async_trait]
impl Component for FileSink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        match self.events.trouble().or_else(|| self.logs.trouble()) {
            Some(trouble) => Health::Degraded(trouble),
            None => Health::Ready,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.closed.store(true, Memory::Release);
        for lane in [&self.logs, &self.events] {
            lane.desk().await.shelf.close();
        }
        Ok(())
    }
}

#[async_trait]
impl LogSink for FileSink {
    fn profile(&self) -> SinkProfile {
        Self::profile_of(self.durability)
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        self.check_open()?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut desk = self.logs.desk().await;
        self.check_open()?;
        desk.plan.fill_logs(batch, &self.pod, &self.namespace);
        let outcome = self.logs.write(desk).await;
        let all = batch.len();
        let written = outcome.as_ref().map_or_else(|error| error.undelivered().delivered_of(all), |()| all);
        if written > 0 {
            metrics::counter!(catalog::OLD_WRITTEN_TO_FILES, "pod" => self.pod.clone())
                .increment(written as u64);
        }
        outcome
    }
}

#[async_trait]
impl EventSink for FileSink {
    fn profile(&self) -> SinkProfile {
        Self::profile_of(FileDurability::Synced)
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        self.check_open()?;
        if batch.is_empty() {
            return Ok(());
        }
        let mut desk = self.events.desk().await;
        self.check_open()?;
        desk.plan.fill_one(&self.events_name, batch, |record, out| self.encoder.encode(&record.event, out));
        self.events.write(desk).await
    }
}
