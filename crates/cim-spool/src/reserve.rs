//! The reserve file: blocks that are given back when the disk is full, so that cursors can still be saved.
//!
//! Owns `<dir>/reserve`. Leaves out when the disk counts as full. Invariant: a missing reserve is never an error.

use std::{
    io,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::{error::is_no_space, files::FileLayer};

pub(crate) struct Reserve {
    layer: Arc<dyn FileLayer>,
    path: PathBuf,
    bytes: u64,
    held: AtomicBool,
}

impl Reserve {
    pub fn new(layer: Arc<dyn FileLayer>, path: PathBuf, bytes: u64) -> Self {
        let held = bytes > 0
            && layer.open(&path, false).and_then(|file| file.size()).is_ok_and(|size| size >= bytes);
        Self { layer, path, bytes, held: AtomicBool::new(held) }
    }

    /// Runs `save`; when the disk is full, gives the reserve back and runs it again.
    ///
    /// # Errors
    /// Those of `save`.
    pub fn with<T>(&self, save: impl Fn() -> io::Result<T>) -> io::Result<T> {
        match save() {
            Err(error) if is_no_space(&error) && self.release() => save(),
            done => done,
        }
    }

    /// Gives the blocks back; true when there were some.
    pub fn release(&self) -> bool {
        self.held.swap(false, Ordering::Relaxed) && self.layer.unlink(&self.path).is_ok()
    }

    /// Claims the blocks again once the disk has twice as much room.
    pub fn restore(&self) {
        if self.bytes == 0 || self.held.load(Ordering::Relaxed) {
            return;
        }
        let dir = self.path.parent().unwrap_or(&self.path);
        if !self.layer.free_bytes(dir).is_ok_and(|free| free >= self.bytes.saturating_mul(2)) {
            return;
        }
        let claimed = self.layer.create(&self.path).and_then(|file| file.allocate(self.bytes));
        if claimed.is_ok() {
            self.held.store(true, Ordering::Relaxed);
        } else {
            let _ = self.layer.unlink(&self.path);
        }
    }
}
