//! The list of a stream's segments, shared by the stream and its readers.
//!
//! Owns which sequences lie in which file and up to which byte they are committed. Leaves out the files' contents.
//! Invariant: lengths and the next sequence move together under one lock, so a reader never sees half a frame;
//! a segment's content ends where the next one begins.

use std::{
    collections::VecDeque,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use crate::{files::FileLayer, format::segment_name};

/// One segment file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Segment {
    pub first_seq: u64,
    /// Low half of its id; `None` while its header is damaged.
    pub id: Option<u32>,
    /// Committed bytes.
    pub len: u64,
    /// Tells apart files that had the same name at different times.
    pub serial: u64,
}

/// What the lock protects.
#[derive(Debug)]
pub(crate) struct State {
    pub list: VecDeque<Segment>,
    pub next_seq: u64,
    /// Highest sequence removed on purpose in this run.
    pub shed_through: u64,
    pub bytes: u64,
    serials: u64,
}

/// Where a sequence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Not written yet.
    Ahead,
    /// In no file; the next stored one follows `last`.
    Gone { last: u64, shed: bool },
    /// In this segment, whose content ends before `end_seq`.
    In { segment: Segment, end_seq: u64 },
}

/// The shared list with the place of its files.
pub(crate) struct Segments {
    pub layer: Arc<dyn FileLayer>,
    pub dir: PathBuf,
    state: Mutex<State>,
}

impl Segments {
    pub fn new(layer: Arc<dyn FileLayer>, dir: PathBuf, next_seq: u64) -> Self {
        let state = State { list: VecDeque::new(), next_seq, shed_through: 0, bytes: 0, serials: 0 };
        Self { layer, dir, state: Mutex::new(state) }
    }

    /// The state is plain numbers, valid after every statement: a poisoned lock is as good as any.
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn path(&self, first_seq: u64) -> PathBuf {
        self.dir.join(segment_name(first_seq))
    }
}

impl State {
    /// Puts a segment at its place in the order; returns its serial.
    pub fn insert(&mut self, first_seq: u64, id: Option<u32>, len: u64) -> u64 {
        self.serials += 1;
        let at = self.list.partition_point(|segment| segment.first_seq < first_seq);
        self.list.insert(at, Segment { first_seq, id, len, serial: self.serials });
        self.bytes += len;
        self.serials
    }

    /// Takes a segment out of the list.
    pub fn remove(&mut self, serial: u64) -> Option<Segment> {
        let at = self.list.iter().position(|segment| segment.serial == serial)?;
        let segment = self.list.remove(at)?;
        self.bytes = self.bytes.saturating_sub(segment.len);
        Some(segment)
    }

    /// Commits bytes and sequences to the last segment.
    pub fn extend_last(&mut self, bytes: u64, records: u64) {
        if let Some(last) = self.list.back_mut() {
            last.len += bytes;
            self.bytes += bytes;
            self.next_seq += records;
        }
    }

    /// Oldest stored sequence; the next one when nothing is stored.
    pub fn first_seq(&self) -> u64 {
        self.list.front().map_or(self.next_seq, |segment| segment.first_seq.min(self.next_seq))
    }

    /// Sequence after the last one of the segment at `at`.
    pub fn end_of(&self, at: usize) -> u64 {
        self.list.get(at + 1).map_or(self.next_seq, |next| next.first_seq)
    }

    pub fn find(&self, seq: u64) -> Place {
        if seq >= self.next_seq {
            return Place::Ahead;
        }
        let after = self.list.partition_point(|segment| segment.first_seq <= seq);
        match after.checked_sub(1).and_then(|at| self.list.get(at).map(|segment| (at, *segment))) {
            Some((at, segment)) => Place::In { segment, end_seq: self.end_of(at) },
            None if seq <= self.shed_through => {
                let last = self.shed_through.min(self.first_seq().saturating_sub(1));
                Place::Gone { last, shed: true }
            }
            None => Place::Gone { last: self.first_seq().saturating_sub(1), shed: false },
        }
    }
}
