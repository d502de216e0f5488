//! Log files that an earlier sidecar of this pod left behind (wire contract §8.6): taken once, delivered, removed.
//!
//! Walk of one file: at start, before any sink is opened, [`aside::take`] moves it out of the way → [`Courier`] reads its
//! lines into the log class like any other message → the [`ledger`] notes how far the spool holds it → once every sink
//! of the route is past its last line, the file is removed. Left out: who wrote the files, and when to ask for it
//! (`[leftovers]` in the settings).
//!
//! Invariant: a line leaves its file only after every sink has acknowledged it. A file of which lines were given up on the way
//! stays, and is read again by the next start: the ledger forgets it before a position on the disk passes such a line. A kill
//! repeats at most the lines of one chunk; a power loss repeats the files that were not removed yet.

mod aside;
mod courier;
mod ledger;
mod lines;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub(crate) use courier::Courier;
use ledger::Ledger;

use crate::contract::Identity;
use crate::queue::ClassQueue;
use crate::settings::LeftoverSettings;

const STALE: &str = "cannot note that lines of a file of an earlier sidecar are gone; until that is noted, a restart would \
                     take them for delivered";

/// The files taken, before anybody works on them.
#[derive(Debug)]
pub(crate) struct Leftovers {
    files: Vec<PathBuf>,
    ledger: Arc<Mutex<Ledger>>,
    open: Arc<AtomicU64>,
}

impl Leftovers {
    /// Takes the files of this pod. `None` when the settings name no directory or there is nothing to do; what goes
    /// wrong is logged and leaves the files where they are.
    pub(crate) fn take(
        settings: &LeftoverSettings,
        identity: &Identity,
        spool: &Path,
        epoch: u64,
    ) -> Option<Self> {
        let taken = settings.dir.as_ref().and_then(|dir| Self::take_from(dir, identity, spool, epoch));
        if taken.is_none()
            && let Err(error) = Ledger::open(spool, epoch).and_then(|mut ledger| ledger.forget_all())
        {
            // Nobody follows in this life what becomes of lines that are in the spool.
            tracing::warn!(%error, "{STALE}");
        }
        taken
    }

    fn take_from(dir: &Path, identity: &Identity, spool: &Path, epoch: u64) -> Option<Self> {
        let found = Ledger::open(spool, epoch).and_then(|mut ledger| {
            let aside = aside::directory(dir, identity);
            if !ledger.is_taken() && !aside::is_marked(&aside) {
                aside::take(dir, &aside, identity)?;
            }
            if let Err(error) = aside::mark(dir, &aside) {
                tracing::warn!(dir = %dir.display(), %error,
                    "cannot mark that the files of an earlier sidecar were taken; should the spool be lost, own files are");
            }
            if !ledger.is_taken() {
                ledger.note_taken()?;
            }
            Ok((aside::files(&aside)?, ledger))
        });
        let (files, ledger) = found
            .inspect_err(|error| {
                tracing::error!(dir = %dir.display(), %error, "cannot take the files of an earlier sidecar");
            })
            .ok()?;
        if files.is_empty() {
            return None;
        }
        tracing::info!(files = files.len(), dir = %dir.display(), "files of an earlier sidecar are being delivered");
        let open = Arc::new(AtomicU64::new(files.len() as u64));
        Some(Self { files, ledger: Arc::new(Mutex::new(ledger)), open })
    }

    /// Follows what becomes of the lines in the log class. Before anything moves there.
    pub(crate) fn follow(&self, queue: &ClassQueue) {
        let kept = *queue.watch().borrow();
        if let Err(error) = self.ledger().trust_before(kept) {
            tracing::warn!(%error, "{STALE}");
        }
        let ledger = Arc::clone(&self.ledger);
        // Whoever holds the ledger never waits for the queue: this comes under the lock of the queue.
        queue.on_given_up(Arc::new(move |through| {
            if let Err(error) = lock(&ledger).give_up(through) {
                tracing::warn!(%error, "{STALE}");
            }
        }));
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        lock(&self.ledger)
    }

    /// How many files are not delivered yet, for the metrics.
    pub(crate) fn gauge(&self) -> Gauge {
        Gauge(Arc::clone(&self.open))
    }
}

/// How many files are not delivered yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Gauge(Arc<AtomicU64>);

impl Gauge {
    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// A panic elsewhere leaves the ledger as it was or as it was to be.
fn lock(ledger: &Mutex<Ledger>) -> MutexGuard<'_, Ledger> {
    ledger.lock().unwrap_or_else(PoisonError::into_inner)
}
