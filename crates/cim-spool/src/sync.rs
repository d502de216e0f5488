//! Bringing what was written to the device, by a thread of the caller's.
//!
//! Owns what is not synced yet, and the watermark. Leaves out when to sync. Invariants: a file whose sync failed is
//! never synced again, for the kernel may have dropped what it could not write; the watermark only covers records
//! whose file, and whose file's name, a sync has covered.

use std::{
    collections::{BTreeMap, VecDeque},
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{
    cursors,
    files::SpoolFile,
    segments::{Segment, Segments},
    stream::Stream,
};

/// Open files kept for sealed segments; older ones are opened again for their sync.
const KEEP_OPEN: usize = 4;

/// What a sync has to cover.
#[derive(Default)]
pub(crate) struct Dirty {
    files: BTreeMap<u64, (u64, Option<Arc<dyn SpoolFile>>)>,
    cursors: Vec<Arc<dyn SpoolFile>>,
    /// Whether names were created or removed.
    pub names: bool,
}

impl Dirty {
    /// After a start nobody knows what the earlier run synced.
    pub fn everything(list: &VecDeque<Segment>) -> Self {
        let files = list.iter().map(|segment| (segment.serial, (segment.first_seq, None))).collect();
        Self { files, cursors: Vec::new(), names: !list.is_empty() }
    }

    pub fn add(&mut self, serial: u64, first_seq: u64, file: Arc<dyn SpoolFile>) {
        self.files.insert(serial, (first_seq, Some(file)));
        let surplus = self.files.len().saturating_sub(KEEP_OPEN);
        for (_, file) in self.files.values_mut().take(surplus) {
            *file = None;
        }
    }

    /// The file, when it is open; the sync opens it again, if it is still there.
    pub fn close(&mut self, serial: u64) -> Option<Arc<dyn SpoolFile>> {
        self.files.get_mut(&serial).and_then(|(_, file)| file.take())
    }

    /// The file, when it is open.
    pub fn forget(&mut self, serial: u64) -> Option<Arc<dyn SpoolFile>> {
        self.files.remove(&serial).and_then(|(_, file)| file)
    }

    pub fn cursor(&mut self, file: Arc<dyn SpoolFile>) {
        if !self.cursors.iter().any(|known| Arc::ptr_eq(known, &file)) {
            self.cursors.push(file);
        }
    }
}

/// One group of files to sync. Run it on a thread that may block, then hand it to [`Stream::finish_sync`].
pub struct SyncJob {
    segments: Arc<Segments>,
    serials: Vec<u64>,
    /// By the first sequence of their segments.
    files: Vec<(u64, Option<Arc<dyn SpoolFile>>)>,
    cursors: Vec<Arc<dyn SpoolFile>>,
    names: bool,
    through: u64,
    cursor_failed: AtomicBool,
    _running: Arc<()>,
}

/// What became of a [`SyncJob`].
#[derive(Debug)]
pub enum SyncOutcome {
    /// Everything up to here survives the death of the machine.
    Synced {
        /// Highest synced sequence.
        through: u64,
    },
    /// The files are sealed as suspect. These records are in the page cache at best: hand those still in memory to
    /// [`Stream::reappend`], before the next append. What is not handed in stays at level `written`, and later
    /// watermarks pass over it.
    Failed {
        /// First record not known to be synced.
        first_seq: u64,
        /// Last appended record.
        last_seq: u64,
        /// Why.
        error: io::Error,
    },
}

impl SyncJob {
    /// Highest sequence this job covers.
    pub fn through(&self) -> u64 {
        self.through
    }

    /// Syncs, and closes the files: one that was removed meanwhile gives its blocks back here, which takes time too.
    /// Needs no lock, and blocks for milliseconds to seconds.
    ///
    /// # Errors
    /// The first error of a segment or of the directory. A cursor that cannot be synced is no error: an old
    /// position costs duplicates.
    pub fn run(&mut self) -> io::Result<()> {
        let Segments { layer, dir, .. } = self.segments.as_ref();
        for (first_seq, file) in self.files.drain(..) {
            let synced = match file {
                Some(file) => file.sync_data(),
                None => layer.open(&self.segments.path(first_seq), false).and_then(|file| file.sync_data()),
            };
            match synced {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => other?,
            }
        }
        if self.names {
            layer.sync_dir(dir)?;
        }
        for cursor in &self.cursors {
            if cursor.sync_data().is_err() {
                self.cursor_failed.store(true, Ordering::Relaxed);
            }
        }
        Ok(())
    }
}

impl Stream {
    /// Whether [`begin_sync`](Self::begin_sync) would find something to do.
    pub fn is_dirty(&self) -> bool {
        !self.dirty.files.is_empty() || !self.dirty.cursors.is_empty()
    }

    /// Gathers everything written and not synced. `None` when there is nothing, or while an earlier job lives.
    pub fn begin_sync(&mut self) -> Option<SyncJob> {
        if self.syncing.strong_count() > 0 || !self.is_dirty() {
            return None;
        }
        let running = Arc::new(());
        self.syncing = Arc::downgrade(&running);
        let dirty = std::mem::take(&mut self.dirty);
        if let Some(active) = self.active.as_mut() {
            active.dirty = false;
        }
        let serials = dirty.files.keys().copied().collect();
        Some(SyncJob {
            segments: Arc::clone(&self.segments),
            serials,
            files: dirty.files.into_values().collect(),
            cursors: dirty.cursors,
            names: dirty.names,
            through: self.next_seq().saturating_sub(1),
            cursor_failed: AtomicBool::new(false),
            _running: running,
        })
    }

    /// Takes the result of a job. On an error the segment being written is sealed, and nothing that was written
    /// since the last success counts as synced. A job that is dropped instead of handed in counts as not run only
    /// if it was not run. The result of another stream's job says nothing of this one.
    pub fn finish_sync(&mut self, job: SyncJob, result: io::Result<()>) -> SyncOutcome {
        if !Arc::ptr_eq(&job.segments, &self.segments) {
            return SyncOutcome::Synced { through: self.synced.unwrap_or(0) };
        }
        if job.cursor_failed.load(Ordering::Relaxed) {
            cursors::lock(&self.cursors).distrust();
        }
        let (through, suspects) = (job.through, job.serials);
        let Err(error) = result else {
            self.synced = self.synced.max(Some(through).filter(|seq| *seq > 0));
            return SyncOutcome::Synced { through };
        };
        let first_seq = self.synced.map_or(0, |seq| seq + 1).max(self.first_seq());
        // Neither these files nor what was written to them since are ever synced again.
        for serial in suspects {
            self.dirty.forget(serial);
        }
        self.dirty.names = true;
        self.seal();
        // At once, so that a restart does not append to the suspect file. An append would try again.
        let next_seq = self.next_seq();
        let _ = self.open_segment(next_seq);
        SyncOutcome::Failed { first_seq, last_seq: self.next_seq().saturating_sub(1), error }
    }
}
