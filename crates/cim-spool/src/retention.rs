//! What leaves a stream: positions of consumers, and the segments behind them.
//!
//! Owns positions, acknowledgement, shedding. Leaves out appending, and the disk work of moving on (`trim`).
//! Invariants: a segment leaves only when every consumer is behind it, or by a call that says so; positions are saved
//! before a segment goes.

use std::{io, sync::Arc, time::SystemTime};

use crate::{
    cursors::{self, Saved},
    error::OpenError,
    spool::check_name,
    stream::Stream,
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

/// Called with the first sequence that stays.
pub type BeforeShedding = Arc<dyn Fn(u64) + Send + Sync>;

impl Stream {
    /// Registers the call that is made before records are shed that some consumer has not passed. Nothing on the disk tells
    /// yet by then that they go, so what the call writes there is never behind the positions.
    pub fn before_shedding(&mut self, call: BeforeShedding) {
        self.before_shedding = Some(call);
    }

    /// Removes the oldest segment, also one that is being written, and moves cursors behind it. `None` when nothing
    /// is stored or the disk refuses.
    pub fn shed_oldest(&mut self) -> Option<Shed> {
        // What every consumer is past goes first: where the disk refuses even that, nothing is given up in vain.
        self.trim();
        if !self.leaving.is_empty() {
            return None;
        }
        if self.segment_count() == 1 {
            self.seal();
        }
        let (segment, end_seq) = {
            let state = self.segments.lock();
            (state.list.front().copied()?, state.end_of(0))
        };
        if let Some(call) = &self.before_shedding
            && self.lowest_position() < end_seq
        {
            call(end_seq);
        }
        for position in self.positions.values_mut() {
            *position = end_seq.max(*position);
        }
        // Should it fail, a full disk is the greater harm.
        let _ = self.save_cursors(self.options.cursor_sync);
        self.segments.lock().shed_through = end_seq.saturating_sub(1);
        let shed = Shed {
            first_seq: segment.first_seq,
            last_seq: end_seq.saturating_sub(1),
            records: end_seq - segment.first_seq,
            bytes: segment.len,
        };
        match self.segments.layer.unlink(&self.segments.path(segment.first_seq)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return None,
            _ => {}
        }
        // The room is wanted now: an open file would keep it.
        drop(self.dirty.forget(segment.serial));
        self.segments.lock().remove(segment.serial);
        Some(shed)
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
        if let Some(next_seq) = self.positions.get(name) {
            return Ok(*next_seq);
        }
        let (name, next_seq) = (Arc::<str>::from(name), self.first_seq());
        cursors::lock(&self.cursors).add(Arc::clone(&name), next_seq);
        self.positions.insert(name, next_seq);
        Ok(next_seq)
    }

    /// The consumer `name` has delivered everything before `next_seq`. A position never moves back, and an unknown
    /// name changes nothing. The disk is left alone: what follows there is [`begin_trim`](Self::begin_trim).
    pub fn advance(&mut self, name: &str, next_seq: u64) {
        let next_seq = next_seq.min(self.next_seq());
        if let Some(position) = self.positions.get_mut(name) {
            *position = next_seq.max(*position);
        }
    }

    /// Like [`advance`](Self::advance), and removes at once the segments behind every consumer, after positions were
    /// saved. Returns the bytes given back.
    pub fn ack(&mut self, name: &str, next_seq: u64) -> u64 {
        self.advance(name, next_seq);
        self.trim()
    }

    /// Forgets a consumer and its file.
    ///
    /// # Errors
    /// The error of removing the file; the consumer is forgotten for this run in any case.
    pub fn retire_cursor(&mut self, name: &str) -> io::Result<()> {
        if self.positions.remove(name).is_none() {
            return Ok(());
        }
        self.dirty.names = true;
        let removed = cursors::lock(&self.cursors).remove(name);
        self.trim();
        removed
    }

    /// Writes changed positions to their files; with `force` all of them, down to the device. When the disk is full,
    /// the reserve is given up for it.
    ///
    /// # Errors
    /// The first error; the other cursors are saved all the same.
    pub fn save_cursors(&mut self, force: bool) -> io::Result<()> {
        let saved = cursors::lock(&self.cursors).save(&self.positions, force);
        self.note_saved(saved)
    }

    /// What was saved has to be synced too, where positions are.
    pub(crate) fn note_saved(&mut self, saved: Saved) -> io::Result<()> {
        self.dirty.names |= saved.created;
        if self.options.cursor_sync {
            saved.written.into_iter().for_each(|file| self.dirty.cursor(file));
        }
        saved.result
    }

    pub(crate) fn lowest_position(&self) -> u64 {
        self.positions.values().copied().min().unwrap_or(0)
    }
}
