//! The thread that brings the files into the log class and removes them afterwards.
//!
//! It yields to the application: while the class is half full it waits, so that old files never push out new lines.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use cim_wire::{Class, Log};

use super::ledger::Progress;
use super::lines::Lines;
use super::{Leftovers, aside};
use crate::contract::Identity;
use crate::intake::{Lane, Mark, Offer, Offered, RefusedReason};
use crate::queue::ClassQueue;

/// Longest rest before a condition is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The engine is stopping; the rest waits for the next start.
#[derive(Debug)]
struct Stopped;

/// A file whose lines are all in the spool.
struct Sent {
    path: PathBuf,
    last_seq: u64,
}

/// Brings the files into the log class.
pub(crate) struct Courier {
    leftovers: Leftovers,
    identity: Arc<Identity>,
    lane: Lane,
    queue: Arc<ClassQueue>,
    /// Most bytes that the log class may hold before the files wait.
    ceiling: u64,
    progress: Receiver<()>,
    sent: VecDeque<Sent>,
}

impl Courier {
    /// `max_bytes` is the limit of the log class.
    pub(crate) fn new(
        leftovers: Leftovers,
        identity: Arc<Identity>,
        mut lane: Lane,
        queue: Arc<ClassQueue>,
        max_bytes: u64,
    ) -> Self {
        let (wake, progress): (SyncSender<()>, _) = sync_channel(1);
        lane.on_progress(Arc::new(move || {
            // A wake that finds one waiting already says nothing new.
            let _ = wake.try_send(());
        }));
        let ceiling = max_bytes / 2;
        Self { leftovers, identity, lane, queue, ceiling, progress, sent: VecDeque::new() }
    }

    /// Works until every file is removed or the engine stops.
    pub(crate) fn run(mut self) {
        if let Err(Stopped) = self.deliver() {
            tracing::info!(
                files = self.leftovers.gauge().get(),
                "files of an earlier sidecar wait for the next start"
            );
        }
    }

    fn deliver(&mut self) -> Result<(), Stopped> {
        for path in std::mem::take(&mut self.leftovers.files) {
            match self.send(&path)? {
                Ok(last_seq) => self.sent.push_back(Sent { path, last_seq }),
                Err(error) => {
                    tracing::error!(file = %path.display(), %error, "cannot read a file of an earlier sidecar; it stays");
                }
            }
            self.remove_settled();
        }
        while !self.sent.is_empty() {
            self.rest()?;
            self.remove_settled();
        }
        Ok(())
    }

    /// Offers the lines of one file; returns the sequence of the last one once the spool holds them.
    fn send(&mut self, path: &Path) -> Result<io::Result<u64>, Stopped> {
        let Some(name) = aside::name_of(path) else { return Ok(Err(io::ErrorKind::InvalidFilename.into())) };
        let Some(parsed) = aside::of_pod(name, &self.identity) else {
            return Ok(Err(io::ErrorKind::InvalidFilename.into()));
        };
        let mut progress = self.leftovers.ledger.progress(name);
        let mut lines = match Lines::open(path, progress.offset) {
            Ok(lines) => lines,
            Err(error) => return Ok(Err(error)),
        };
        let mut payload = Vec::new();
        loop {
            let chunk = match lines.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ok(progress.last_seq)),
                Err(error) => return Ok(Err(error)),
            };
            while self.queue.stored_bytes() > self.ceiling {
                self.rest()?;
                self.remove_settled();
            }
            for line in &chunk.lines {
                payload.clear();
                let log = Log {
                    container_id: parsed.container_id.as_bytes().into(),
                    container_name: parsed.container_name.as_bytes().into(),
                    payload: Some(line.into()),
                };
                log.encode_flatbuffer(&mut payload);
                self.offer(&payload)?;
            }
            let mark = self.lane.flush();
            self.accepted(&mark)?;
            progress = Progress { offset: chunk.end, last_seq: self.lane.last_seq(Class::Log) };
            if let Err(error) = self.leftovers.ledger.note(name, progress) {
                tracing::warn!(%error, "cannot note how far a file is; a restart may repeat lines of it");
            }
        }
    }

    fn offer(&mut self, payload: &[u8]) -> Result<(), Stopped> {
        let offer = Offer { class: Class::Log, headers: None, source: b"", payload, own: false };
        loop {
            match self.lane.offer(&offer, false) {
                Offered::Taken => return Ok(()),
                Offered::Refused(RefusedReason::Closed) => return Err(Stopped),
                // The class is full: the line waits in its file.
                Offered::Full | Offered::Refused(_) => self.rest()?,
            }
        }
    }

    fn accepted(&mut self, mark: &Mark) -> Result<(), Stopped> {
        while !self.lane.is_class_accepted(mark, Class::Log) {
            self.rest()?;
            self.lane.flush();
        }
        Ok(())
    }

    fn rest(&self) -> Result<(), Stopped> {
        if self.lane.is_closed() {
            return Err(Stopped);
        }
        // Woken or not, the caller looks again.
        let _ = self.progress.recv_timeout(LOOK_AGAIN);
        Ok(())
    }

    /// Removes the files that every sink is past.
    fn remove_settled(&mut self) {
        let settled = self.queue.settled();
        while self.sent.front().is_some_and(|sent| sent.last_seq < settled) {
            let Some(sent) = self.sent.pop_front() else { return };
            let removed = fs::remove_file(&sent.path).and_then(|()| {
                aside::name_of(&sent.path).map_or(Ok(()), |name| self.leftovers.ledger.forget(name))
            });
            match removed {
                Ok(()) => {
                    tracing::info!(file = %sent.path.display(), "a file of an earlier sidecar was delivered and removed")
                }
                Err(error) => {
                    tracing::warn!(file = %sent.path.display(), %error, "a delivered file cannot be removed")
                }
            }
            self.leftovers.open.fetch_sub(1, Ordering::Relaxed);
        }
    }
}
