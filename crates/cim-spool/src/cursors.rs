//! The cursor files of a stream, shared by the stream and the work it hands out.
//!
//! Owns who may write them, and with them who may remove files of the stream: whoever holds the lock, as long as the
//! stream lives. Leaves out where consumers are now. Invariant: what is saved never goes back, whoever comes first.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{
    cursor::Cursor,
    error::is_no_space,
    files::{FileLayer, SpoolFile},
    format::{CursorSlot, name_hash},
    reserve::Reserve,
    spool::Home,
};

/// How far each consumer is, by name.
pub(crate) type Positions = BTreeMap<Arc<str>, u64>;

pub(crate) struct Cursors {
    layer: Arc<dyn FileLayer>,
    dir: PathBuf,
    reserve: Arc<Reserve>,
    epoch: u64,
    /// Hash of the stream's name.
    stream: u64,
    files: BTreeMap<Arc<str>, Cursor>,
    closed: bool,
}

/// What saving came to.
pub(crate) struct Saved {
    /// Whether a file was created.
    pub created: bool,
    /// Files that were written and not synced.
    pub written: Vec<Arc<dyn SpoolFile>>,
    /// The first error.
    pub result: io::Result<()>,
}

impl Default for Saved {
    fn default() -> Self {
        Self { created: false, written: Vec::new(), result: Ok(()) }
    }
}

impl Cursors {
    /// Of no consumer yet.
    pub fn new(home: &Home, dir: PathBuf, stream: &str) -> Self {
        Self {
            layer: Arc::clone(&home.layer),
            dir,
            reserve: Arc::clone(&home.reserve),
            epoch: home.epoch,
            stream: name_hash(stream),
            files: BTreeMap::new(),
            closed: false,
        }
    }

    /// A consumer that has a file.
    pub fn load(&mut self, name: Arc<str>, file: Arc<dyn SpoolFile>, slot: CursorSlot) {
        let cursor = Cursor::loaded(Arc::clone(&self.layer), self.path(&name), file, slot);
        self.files.insert(name, cursor);
    }

    /// A new consumer; the next save makes its file.
    pub fn add(&mut self, name: Arc<str>, next_seq: u64) {
        let slot = CursorSlot { epoch: self.epoch, generation: 0, next_seq, stream: self.stream };
        let cursor = Cursor::fresh(Arc::clone(&self.layer), self.path(&name), slot);
        self.files.insert(name, cursor);
    }

    /// Every consumer where it was saved last.
    pub fn positions(&self) -> Positions {
        self.files.iter().map(|(name, cursor)| (Arc::clone(name), cursor.saved_seq())).collect()
    }

    /// Writes what changed; with `force` everything, down to the device. When the disk is full, the reserve is given
    /// up for it. Consumers that were removed meanwhile stay removed.
    pub fn save<'a>(
        &mut self,
        positions: impl IntoIterator<Item = (&'a Arc<str>, &'a u64)>,
        force: bool,
    ) -> Saved {
        let mut saved = Saved::default();
        for (name, next_seq) in positions {
            let Some(cursor) = self.files.get_mut(name) else { continue };
            if !force && !cursor.is_behind(*next_seq) {
                continue;
            }
            let mut written = cursor.save(*next_seq);
            if written.as_ref().is_err_and(is_no_space) && self.reserve.release() {
                written = cursor.save(*next_seq);
            }
            match written {
                Ok(created) => saved.created |= created,
                Err(error) => {
                    saved.note(Err(error));
                    continue;
                }
            }
            let Some(file) = cursor.file() else { continue };
            if force {
                let synced = file.sync_data();
                if synced.is_err() {
                    cursor.distrust();
                }
                saved.note(synced);
            } else {
                saved.written.push(file);
            }
        }
        if force {
            saved.note(self.layer.sync_dir(&self.dir));
            self.reserve.restore();
        }
        saved
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.cursor"))
    }

    /// Forgets a consumer and removes its file.
    ///
    /// # Errors
    /// The error of removing the file.
    pub fn remove(&mut self, name: &str) -> io::Result<()> {
        let Some(cursor) = self.files.remove(name) else { return Ok(()) };
        match self.layer.unlink(&cursor.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    /// A sync of the files failed: the next save makes new ones.
    pub fn distrust(&mut self) {
        self.files.values_mut().for_each(Cursor::distrust);
    }

    /// The stream is gone: its directory may be another's, and is left alone from now on.
    pub fn close(&mut self) {
        self.closed = true;
    }

    pub fn is_closed(&self) -> bool {
        self.closed
    }
}

impl Saved {
    /// Keeps the first error.
    fn note(&mut self, result: io::Result<()>) {
        if self.result.is_ok() {
            self.result = result;
        }
    }
}

/// Takes the lock, waiting for whoever saves or removes. A slot that was half written before a panic is the older one.
pub(crate) fn lock(cursors: &Mutex<Cursors>) -> MutexGuard<'_, Cursors> {
    cursors.lock().unwrap_or_else(PoisonError::into_inner)
}
