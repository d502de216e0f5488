//! What leaves a stream: positions of consumers, and the segments behind them.
//!
//! Owns cursors, acknowledgement, shedding. Leaves out appending. Invariants: a segment leaves only when every cursor
//! is behind it, or by a call that says so; cursors are saved before a segment goes.

use std::{io, path::PathBuf, sync::Arc, time::SystemTime};

use crate::{
    cursor::Cursor,
    error::OpenError,
    recovery::first_slot,
    spool::check_name,
    stream::{MAX_CLOSING, Stream},
};

/// Records that were removed on purpose. Some of them may have been delivered already: compare with the cursors
/// as they were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// First removed sequence.
    pub first_seq: u64,
    /// Last removed sequence.
    pub last_seq: u64,
    /// Number of removed sequences.
    pub records: u64,
    /// Bytes given back.
    pub bytes: u64,
}

impl Stream {
    /// Removes the oldest segment, also one that is being written, and moves cursors behind it. `None` when nothing
    /// is stored or the disk refuses.
    pub fn shed_oldest(&mut self) -> Option<Shed> {
        if self.segment_count() == 1 {
            self.seal();
        }
        let (segment, end_seq) = {
            let state = self.segments.lock();
            (state.list.front().copied()?, state.end_of(0))
        };
        for cursor in self.cursors.values_mut() {
            cursor.advance(end_seq);
        }
        self.save_before_removal();
        self.segments.lock().shed_through = end_seq.saturating_sub(1);
        let shed = Shed {
            first_seq: segment.first_seq,
            last_seq: end_seq.saturating_sub(1),
            records: end_seq - segment.first_seq,
            bytes: segment.len,
        };
        let gone = self.unlink_front(segment.serial, segment.first_seq);
        // The room is wanted now: an open file would keep it.
        self.closing.clear();
        gone.then_some(shed)
    }

    /// Sheds every segment whose last write is older than [`max_age`](crate::StreamOptions::max_age).
    pub fn enforce_age(&mut self, now: SystemTime) -> Vec<Shed> {
        let mut shed = Vec::new();
        let Some(max_age) = self.options.max_age else { return shed };
        loop {
            let Some(oldest) = self.segments.lock().list.front().map(|segment| segment.first_seq) else {
                break;
            };
            let modified = self.segments.layer.modified(&self.segments.path(oldest));
            let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
            if oldest >= self.next_seq() || age.is_none_or(|age| age <= max_age) {
                break;
            }
            match self.shed_oldest() {
                Some(one) => shed.push(one),
                None => break,
            }
        }
        shed
    }

    /// Next sequence to deliver to the consumer `name`; a new consumer starts with the oldest stored record. It may
    /// lie before [`first_seq`](Self::first_seq): then a reader reports what is missing.
    ///
    /// # Errors
    /// [`OpenError::Name`].
    pub fn cursor(&mut self, name: &str) -> Result<u64, OpenError> {
        check_name(name)?;
        if let Some(cursor) = self.cursors.get(name) {
            return Ok(cursor.next_seq);
        }
        let slot = first_slot(self.home.epoch, self.options.name, self.first_seq());
        let cursor = Cursor::fresh(Arc::clone(&self.segments.layer), self.cursor_path(name), slot);
        self.cursors.insert(name.to_owned(), cursor);
        Ok(slot.next_seq)
    }

    /// The consumer `name` has delivered everything before `next_seq`. Segments behind every cursor are removed,
    /// after the cursors were saved. Returns the bytes given back. A position never moves back, and an unknown name
    /// changes nothing.
    pub fn ack(&mut self, name: &str, next_seq: u64) -> u64 {
        let next_seq = next_seq.min(self.next_seq());
        if let Some(cursor) = self.cursors.get_mut(name) {
            cursor.advance(next_seq);
        }
        self.forget_acknowledged()
    }

    /// Forgets a consumer and its file.
    ///
    /// # Errors
    /// The error of removing the file; the consumer is forgotten for this run in any case.
    pub fn retire_cursor(&mut self, name: &str) -> io::Result<()> {
        let Some(cursor) = self.cursors.remove(name) else { return Ok(()) };
        self.dirty.names = true;
        let removed = match self.segments.layer.unlink(&cursor.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        };
        self.forget_acknowledged();
        removed
    }

    /// Writes changed positions to their files; with `force` all of them, down to the device. When the disk is full,
    /// the reserve is given up for it.
    ///
    /// # Errors
    /// The first error; the other cursors are saved all the same.
    pub fn save_cursors(&mut self, force: bool) -> io::Result<()> {
        let mut result = Ok(());
        for cursor in self.cursors.values_mut().filter(|cursor| force || cursor.is_unsaved()) {
            let mut saved = cursor.save();
            if saved.as_ref().is_err_and(crate::error::is_no_space) && self.home.reserve.release() {
                saved = cursor.save();
            }
            match saved {
                Ok(created) => self.dirty.names |= created,
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            }
            if let Some(file) = cursor.file() {
                if force {
                    let synced = file.sync_data();
                    if synced.is_err() {
                        cursor.distrust();
                    }
                    result = result.and(synced);
                } else if self.options.cursor_sync {
                    self.dirty.cursor(file);
                }
            }
        }
        if force {
            result = result.and(self.segments.layer.sync_dir(&self.segments.dir));
            self.home.reserve.restore();
        }
        result
    }

    fn cursor_path(&self, name: &str) -> PathBuf {
        self.segments.dir.join(format!("{name}.cursor"))
    }

    pub(crate) fn lowest_cursor(&self) -> u64 {
        self.cursors.values().map(|cursor| cursor.next_seq).min().unwrap_or(0)
    }

    pub(crate) fn forget_acknowledged(&mut self) -> u64 {
        let lowest = self.lowest_cursor();
        let mut freed = 0;
        let mut saved = false;
        loop {
            let front = {
                let state = self.segments.lock();
                let writing = self.active.is_some() && state.list.len() == 1;
                state.list.front().copied().filter(|_| !writing && state.end_of(0) <= lowest)
            };
            let Some(segment) = front else { break };
            if !saved {
                self.save_before_removal();
                saved = true;
            }
            if !self.unlink_front(segment.serial, segment.first_seq) {
                break;
            }
            freed += segment.len;
        }
        freed
    }

    /// Before a segment goes, so that a restart neither takes its records for lost nor gives their sequences out
    /// again; synced where cursors are. Should it fail, a full disk is the greater harm.
    fn save_before_removal(&mut self) {
        let _ = self.save_cursors(self.options.cursor_sync);
    }

    fn unlink_front(&mut self, serial: u64, first_seq: u64) -> bool {
        match self.segments.layer.unlink(&self.segments.path(first_seq)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return false,
            _ => {}
        }
        self.closing.truncate(MAX_CLOSING - 1);
        self.closing.extend(self.dirty.forget(serial));
        self.segments.lock().remove(serial);
        true
    }
}
