//! Log files that an earlier sidecar of this pod left behind (wire contract §8.6): taken once, delivered, removed.
//!
//! Walk of one file: at start, before any sink is opened, [`aside::take`] moves it out of the way → [`Courier`] reads its
//! lines into the log class like any other message → the [`ledger`] notes how far the spool holds it → once every sink
//! of the route is past its last line, the file is removed. Left out: who wrote the files, and when to ask for it
//! (`[leftovers]` in the settings).
//!
//! Invariant: a line leaves its file only after every sink has acknowledged it. A file of which lines were given up on the way
//! stays, and is read again by the next start. A kill repeats at most the lines of one chunk; a power loss repeats the files
//! that were not removed yet.

mod aside;
mod courier;
mod ledger;
mod lines;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(crate) use courier::Courier;
use ledger::Ledger;

use crate::contract::Identity;
use crate::settings::LeftoverSettings;

/// The files taken, before anybody works on them.
#[derive(Debug)]
pub(crate) struct Leftovers {
    files: Vec<PathBuf>,
    ledger: Ledger,
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
        let dir = settings.dir.as_ref()?;
        let found = Ledger::open(spool, epoch).and_then(|mut ledger| {
            let aside = aside::directory(dir, identity);
            if !ledger.is_taken() {
                aside::take(dir, &aside, identity)?;
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
        Some(Self { files, ledger, open })
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
