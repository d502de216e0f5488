//! The disk work that follows when consumers move on: positions are saved, and the segments behind all of them go.
//!
//! Owns that work as a job to be run apart from the stream, so that an append need not wait for it. Leaves out which
//! position moves when. Invariants: a segment's file goes only after the positions it was freed by were saved; its
//! name is never given again, for it leaves the list of segments first and names only rise. Jobs may therefore run
//! side by side, in any order, late, or never: the next one takes over what one left undone.
//!
//! A segment's bytes count until its file is gone, not from the moment it is free: the limit of a stream is a promise
//! to the disk (a pod is evicted beyond the size of its volume), and a job that waits or fails must not break it. An
//! append that finds no room does the waiting work itself before it says so, so nothing is shed for room that is
//! about to come.

use std::{
    io,
    sync::{Arc, Mutex},
};

use crate::{
    cursors::{self, Cursors, Saved},
    files::SpoolFile,
    segments::{Segment, Segments},
    stream::Stream,
};

/// Positions to save, and segments to remove after that. Run it where nobody waits, without the lock the stream is
/// kept under, then hand the result to [`Stream::finish_trim`].
pub struct TrimJob {
    segments: Arc<Segments>,
    cursors: Arc<Mutex<Cursors>>,
    positions: Vec<(Arc<str>, u64)>,
    /// Oldest first. The last close of a file frees its blocks, which takes milliseconds: it comes along.
    leaving: Vec<(Segment, Option<Arc<dyn SpoolFile>>)>,
    /// Whether the positions have to reach the device.
    sync: bool,
}

/// What became of a [`TrimJob`].
pub struct Trimmed {
    cursors: Arc<Mutex<Cursors>>,
    saved: Saved,
    /// Serials of the segments whose files are gone.
    removed: Vec<u64>,
}

impl TrimJob {
    /// Saves and removes. Blocks for microseconds, for milliseconds where a segment goes, and while another job of the
    /// stream runs. Does nothing once the stream was dropped, which waits for a job that is running.
    pub fn run(self) -> Trimmed {
        let (mut saved, mut removed) = (Saved::default(), Vec::new());
        let mut cursors = cursors::lock(&self.cursors);
        if !cursors.is_closed() {
            // Should it fail, a full disk is the greater harm: the segments go all the same.
            saved = cursors.save(self.positions.iter().map(|(name, next_seq)| (name, next_seq)), self.sync);
            for (segment, file) in self.leaving {
                match self.segments.layer.unlink(&self.segments.path(segment.first_seq)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => break,
                    _ => removed.push(segment.serial),
                }
                drop(file);
            }
        }
        drop(cursors);
        Trimmed { cursors: self.cursors, saved, removed }
    }
}

impl Stream {
    /// What [`advance`](Self::advance) left to do on the disk, and what earlier jobs have not done.
    pub fn begin_trim(&mut self) -> TrimJob {
        self.let_go();
        let leaving =
            self.leaving.iter().map(|segment| (*segment, self.dirty.close(segment.serial))).collect();
        TrimJob {
            segments: Arc::clone(&self.segments),
            cursors: Arc::clone(&self.cursors),
            positions: self.positions.iter().map(|(name, next_seq)| (Arc::clone(name), *next_seq)).collect(),
            sync: self.options.cursor_sync && !self.leaving.is_empty(),
            leaving,
        }
    }

    /// Takes the result of a job; the bytes of removed segments are free from now on. The result of another stream's
    /// job changes nothing.
    ///
    /// # Errors
    /// The first position that could not be saved; the next job tries again. A segment that could not be removed is no
    /// error: it still counts, and the next job tries again.
    pub fn finish_trim(&mut self, done: Trimmed) -> io::Result<()> {
        if !Arc::ptr_eq(&done.cursors, &self.cursors) {
            return Ok(());
        }
        for serial in done.removed {
            self.leaving.retain(|segment| segment.serial != serial);
            self.dirty.forget(serial);
        }
        self.note_saved(done.saved)
    }

    /// Does at once what a job would do. Returns the bytes given back.
    pub(crate) fn trim(&mut self) -> u64 {
        self.let_go();
        if self.leaving.is_empty() {
            return 0;
        }
        let before = self.bytes();
        let done = self.begin_trim().run();
        // As in the job: the next save tells.
        let _ = self.finish_trim(done);
        before.saturating_sub(self.bytes())
    }

    /// Takes the segments behind every position out of the list. One that holds no sequence stays: its name may be
    /// given again.
    fn let_go(&mut self) {
        let lowest = self.lowest_position();
        let mut state = self.segments.lock();
        while let Some(front) = state.list.front().copied() {
            let writing = self.active.is_some() && state.list.len() == 1;
            let end_seq = state.end_of(0);
            if writing || end_seq > lowest || end_seq <= front.first_seq {
                break;
            }
            self.leaving.extend(state.remove(front.serial));
        }
    }
}
