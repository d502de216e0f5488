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

use cim_wire::{Class, Log, LogFileName};

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
    progress: Progress,
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
                Ok(progress) => self.sent.push_back(Sent { path, progress }),
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

    /// Brings the lines of one file into the class; returns where they are once the spool holds them.
    fn send(&mut self, path: &Path) -> Result<io::Result<Progress>, Stopped> {
        let Some(name) = aside::name_of(path) else { return Ok(Err(io::ErrorKind::InvalidFilename.into())) };
        let Some(parsed) = aside::of_pod(name, &self.identity) else {
            return Ok(Err(io::ErrorKind::InvalidFilename.into()));
        };
        let known = self.leftovers.ledger().progress(name);
        let mut progress = known.unwrap_or_else(|| self.fresh());
        let mut lines = match Lines::open(path, progress.offset) {
            Ok(lines) => lines,
            Err(error) => return Ok(Err(error)),
        };
        loop {
            let chunk = match lines.next() {
                Ok(Some(chunk)) => chunk,
                Ok(None) => return Ok(Ok(progress)),
                Err(error) => return Ok(Err(error)),
            };
            while self.is_crowded() {
                self.rest()?;
                self.remove_settled();
            }
            if progress.offset == 0 {
                // What was given up while the file waited was none of its lines.
                progress = self.fresh();
            }
            self.bring(&chunk.lines, &parsed)?;
            progress = Progress { offset: chunk.end, last_seq: self.lane.last_seq(Class::Log), ..progress };
            if let Err(error) = self.leftovers.ledger().note(name, progress) {
                tracing::warn!(%error, "cannot note how far a file is; a restart may repeat lines of it");
            }
            self.remove_settled();
        }
    }

    /// Of a file of which no line was brought.
    fn fresh(&self) -> Progress {
        let next = (*self.queue.watch().borrow()).max(self.lane.last_seq(Class::Log) + 1);
        Progress { offset: 0, first_seq: next, last_seq: next.saturating_sub(1) }
    }

    /// Whether new lines might not find room beside more of the old ones. What is stored and delivered leaves only with what
    /// comes after it.
    fn is_crowded(&self) -> bool {
        self.queue.stored_bytes() > self.ceiling && self.queue.settled() < *self.queue.watch().borrow()
    }

    /// Brings lines into the class, and waits until the spool holds them.
    fn bring(&mut self, lines: &[Vec<u8>], name: &LogFileName<'_>) -> Result<(), Stopped> {
        let mut payload = Vec::new();
        let mut at = 0;
        loop {
            let refused = self.lane.refused(Class::Log);
            let taken = match lines.get(at) {
                Some(line) => {
                    payload.clear();
                    let log = Log {
                        container_id: name.container_id.as_bytes().into(),
                        container_name: name.container_name.as_bytes().into(),
                        payload: Some(line.into()),
                    };
                    log.encode_flatbuffer(&mut payload);
                    self.offer(&payload)?
                }
                None => {
                    let mark = self.lane.flush();
                    self.accepted(&mark)?;
                    false
                }
            };
            // Under `drop_newest`, those in front of one that found no room did not find any either.
            let back = usize::try_from(self.lane.refused(Class::Log) - refused).unwrap_or(usize::MAX);
            if !taken && back == 0 && at == lines.len() {
                return Ok(());
            }
            at = at.saturating_sub(back) + usize::from(taken);
            if !taken {
                self.rest()?;
            }
        }
    }

    /// Whether the class took the line. If not, it had no room, and the line waits in its file.
    fn offer(&mut self, payload: &[u8]) -> Result<bool, Stopped> {
        let offer = Offer { class: Class::Log, headers: None, source: b"", payload, own: false };
        match self.lane.offer(&offer, false) {
            Offered::Taken => Ok(true),
            Offered::Refused(RefusedReason::Closed) => Err(Stopped),
            Offered::Full | Offered::Refused(_) => Ok(false),
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
        // Told when it failed first: a disk that is full or away may be back by now.
        let _ = self.leftovers.ledger().catch_up();
        if self.lane.is_closed() {
            return Err(Stopped);
        }
        // Woken or not, the caller looks again.
        let _ = self.progress.recv_timeout(LOOK_AGAIN);
        Ok(())
    }

    /// Removes the files whose lines every sink has taken.
    fn remove_settled(&mut self) {
        // In that order: what is given up between the two calls is not settled by the first.
        let settled = self.queue.settled();
        while self.sent.front().is_some_and(|sent| sent.progress.last_seq < settled) {
            let Some(sent) = self.sent.pop_front() else { return };
            let gaps = self.leftovers.ledger().has_gaps(&sent.progress);
            let removed = if gaps { Ok(()) } else { fs::remove_file(&sent.path) }.and_then(|()| {
                aside::name_of(&sent.path).map_or(Ok(()), |name| self.leftovers.ledger().forget(name))
            });
            let file = sent.path.display();
            match removed {
                Ok(()) if gaps => tracing::warn!(
                    %file,
                    "lines of a file of an earlier sidecar were given up on the way (see cim_records_dropped_total); it stays, \
                     and the next start delivers it again"
                ),
                Ok(()) => tracing::info!(%file, "a file of an earlier sidecar was delivered and removed"),
                Err(error) => tracing::warn!(%file, %error, "a delivered file cannot be removed"),
            }
            self.leftovers.open.fetch_sub(u64::from(!gaps), Ordering::Relaxed);
        }
    }
}
