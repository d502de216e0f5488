//! Everything of a queue that changes under its lock.
//!
//! Sequences run through three places: `[oldest on disk .. stream.next_seq)` is on disk, the tail holds the newest part
//! in memory, and after a disk fault the tail alone holds `[stream.next_seq .. next_seq)` (the overlay) until the disk
//! takes it. Without a spool everything is in the tail.

use std::io;

use cim_spool::{
    AppendError, BeforeShedding, FrameBuf, FramePool, OpenError, Reader, Stream, TrimJob, Trimmed,
};

use super::Taken;
use super::member::{Member, Settlement};
use super::rules::{RESERVE_BYTES, Rules};
use super::shed::{Holes, given_up};
use super::tail::Tail;
use crate::books::{Books, DropReason};
use crate::budget::Budget;
use crate::contract::Level;
use crate::settings::{OnFault, WhenFull};

pub(crate) struct State {
    pub(super) rules: Rules,
    pub(super) stream: Option<Stream>,
    pub(super) tail: Tail,
    /// Memory for buffers while there is no stream, which has its own.
    pub(super) pool: FramePool,
    pub(super) next_seq: u64,
    pub(super) members: Vec<Member>,
    /// Sinks that left the route. Their books are closed, and opened again when they return.
    pub(super) departed: Vec<Member>,
    /// Bytes of frames that the sinks hold at most beside the tail.
    pub(super) held_by_sinks: usize,
    /// Why the disk does not take frames now.
    pub(super) fault: Option<String>,
    /// The last commit found no room.
    pub(super) full: bool,
    /// First sequence whose sync failed, and that has not been written again.
    pub(super) suspect: Option<u64>,
    pub(super) lost: Vec<(&'static str, u64)>,
    /// Called before anything on the disk tells that records are given up, with the first sequence after them.
    pub(super) witness: Option<BeforeShedding>,
    /// What some member will not find when it comes there.
    pub(super) holes: Holes,
}

impl State {
    pub(crate) fn open(
        rules: Rules,
        budget: Budget,
        mut stream: Option<Stream>,
        names: &[String],
    ) -> Result<Self, OpenError> {
        let next_seq = stream.as_ref().map_or(1, Stream::next_seq);
        let mut members = Vec::with_capacity(names.len());
        for name in names {
            let next = match &mut stream {
                Some(stream) => stream.cursor(name)?.min(next_seq),
                None => next_seq,
            };
            let held = next_seq - next;
            let books = Books { recovered: held, held, ..Books::default() };
            members.push(Member { name: name.clone(), next, books });
        }
        let tail = Tail::new(budget);
        Ok(Self {
            rules,
            stream,
            tail,
            pool: FramePool::default(),
            next_seq,
            members,
            departed: Vec::new(),
            held_by_sinks: 0,
            fault: None,
            full: false,
            suspect: None,
            lost: Vec::new(),
            witness: None,
            holes: Holes::default(),
        })
    }

    pub(crate) fn next_seq(&self) -> u64 {
        self.next_seq
    }

    pub(crate) fn position(&self, member: usize) -> u64 {
        self.members.get(member).map_or(self.next_seq, |member| member.next)
    }

    /// The first sequence that some member has not settled.
    pub(crate) fn first_open(&self) -> u64 {
        self.members.iter().map(|member| member.next).min().unwrap_or(self.next_seq)
    }

    pub(crate) fn is_full(&self) -> bool {
        self.full && self.rules.when_full == WhenFull::Block
    }

    /// The level that a message reaches by being committed (and, for `synced`, by the next sync).
    pub(crate) fn level(&self) -> Level {
        if self.fault.is_some() || self.overlay() { Level::Memory } else { self.rules.level }
    }

    pub(super) fn overlay(&self) -> bool {
        self.stream.as_ref().is_some_and(|stream| stream.next_seq() < self.next_seq)
    }

    /// Stores the buffer; returns the first sequence after it, and a buffer for the next one.
    pub(crate) fn commit(&mut self, buf: FrameBuf, sip: bool) -> Result<(u64, FrameBuf), FrameBuf> {
        let records = buf.len() as u64;
        if records == 0 {
            return Ok((self.next_seq, buf));
        }
        let stored = self
            .store(buf, sip)
            .or_else(|buf| if self.hold_in_memory() { self.store_in_memory(buf) } else { Err(buf) });
        if let Err(buf) = stored {
            self.full = true;
            return Err(buf);
        }
        self.full = false;
        self.next_seq += records;
        for member in &mut self.members {
            member.books.accepted += records;
        }
        self.trim_tail();
        Ok((self.next_seq, self.buffer()))
    }

    /// Whether frames that the disk refuses may live in memory: there is no spool, or its fault is tolerated.
    fn hold_in_memory(&self) -> bool {
        match &self.stream {
            None => self.rules.level == Level::Memory || self.rules.on_fault == OnFault::Degrade,
            Some(_) => self.fault.is_some() && self.rules.on_fault == OnFault::Degrade,
        }
    }

    /// Appends to the spool, making room where the policy says so.
    fn store(&mut self, buf: FrameBuf, sip: bool) -> Result<(), FrameBuf> {
        self.write_overlay();
        if self.stream.is_none() || self.overlay() {
            return Err(buf);
        }
        match self.append(buf, if sip { RESERVE_BYTES } else { 0 }) {
            Ok(frame) => {
                self.fault = None;
                self.keep(frame);
                Ok(())
            }
            Err((error, buf)) => {
                if !matches!(error, AppendError::Full { .. }) {
                    self.note_fault(&error);
                }
                Err(buf)
            }
        }
    }

    pub(crate) fn take(&self, from: u64, max_records: usize, max_bytes: usize) -> Taken {
        if from >= self.next_seq {
            return Taken::Empty;
        }
        let first_kept = self.tail.first_seq().unwrap_or(self.next_seq);
        if from < first_kept {
            return match &self.stream {
                Some(stream) if from < stream.first_seq() => Taken::Skip(stream.first_seq()),
                Some(stream) if from < stream.next_seq() => Taken::OnDisk,
                _ => Taken::Skip(first_kept),
            };
        }
        let (mut records, mut bytes) = (0, 0);
        let mut frames = Vec::new();
        for frame in self.tail.from(from) {
            if !frames.is_empty()
                && (records + frame.count() > max_records || bytes + frame.bytes_len() > max_bytes)
            {
                break;
            }
            records += frame.count();
            bytes += frame.bytes_len();
            frames.push(frame.clone());
        }
        Taken::Frames(frames)
    }

    pub(crate) fn reader(&self, from: u64) -> Option<Reader> {
        self.stream.as_ref().map(|stream| stream.reader(from))
    }

    /// Returns what is to be done on the disk without the lock.
    pub(crate) fn settle(&mut self, member: usize, run: &Settlement) -> Option<TrimJob> {
        let member = self.members.get_mut(member)?;
        member.settle(run);
        if let Some(last) = run.rejected.last() {
            given_up(self.witness.as_ref(), last + 1);
        }
        let (name, next) = (member.name.clone(), member.next);
        self.moved(&name, next)
    }

    /// Returns what is to be done on the disk without the lock.
    pub(crate) fn lose(&mut self, member: usize, through: u64, reason: DropReason) -> Option<TrimJob> {
        let member = self.members.get_mut(member)?;
        let before = member.books;
        self.holes.lose(member, through, reason);
        if member.books.dropped_total() > before.dropped_total() {
            given_up(self.witness.as_ref(), through);
        }
        let damaged = member.books.dropped_as(DropReason::Damaged) - before.dropped_as(DropReason::Damaged);
        let (name, next) = (member.name.clone(), member.next);
        if damaged > 0 {
            self.note_lost("damaged", damaged);
        }
        self.moved(&name, next)
    }

    pub(super) fn note_lost(&mut self, what: &'static str, records: u64) {
        match self.lost.iter_mut().find(|(name, _)| *name == what) {
            Some((_, count)) => *count += records,
            None => self.lost.push((what, records)),
        }
    }

    /// A position moved: the tail forgets what is behind every position, and the spool may.
    fn moved(&mut self, name: &str, next: u64) -> Option<TrimJob> {
        let job = self.stream.as_mut().map(|stream| {
            stream.advance(name, next);
            stream.begin_trim()
        });
        self.holes.forget_before(self.first_open());
        self.trim_tail();
        self.look_for_room();
        job
    }

    /// Takes in what was done on the disk; the room it made is there from now on.
    pub(crate) fn finish_trim(&mut self, done: Trimmed) {
        let saved = self.stream.as_mut().map_or(Ok(()), |stream| stream.finish_trim(done));
        if let Err(error) = saved {
            tracing::warn!(%error, "cannot save the position in the spool; a restart repeats records");
        }
        self.look_for_room();
    }

    /// Whether the room that the last commit did not find is there by now.
    pub(super) fn look_for_room(&mut self) {
        self.full &= !self.has_room();
    }

    fn has_room(&self) -> bool {
        match &self.stream {
            Some(stream) => stream.bytes() < stream.max_bytes(),
            None => self.hold_in_memory() && self.tail.budget().used() < self.tail.budget().limit(),
        }
    }

    pub(crate) fn has_room_to_spare(&self) -> bool {
        let budget = self.tail.budget();
        let memory = budget.used() < budget.limit() / 4 * 3;
        let disk = self.stream.as_ref().is_none_or(|stream| stream.bytes() < stream.max_bytes() / 4 * 3);
        memory && disk && self.fault.is_none()
    }

    pub(crate) fn stored_bytes(&self) -> u64 {
        self.stream.as_ref().map_or(self.tail.bytes() as u64, Stream::bytes)
    }

    pub(crate) fn lost(&self) -> Vec<(&'static str, u64)> {
        self.lost.clone()
    }

    pub(crate) fn fault(&self) -> Option<String> {
        self.fault.clone()
    }

    pub(crate) fn enforce_age(&mut self) {
        if self.rules.max_age.is_none() {
            return;
        }
        let Some(stream) = &mut self.stream else { return };
        let shed = stream.enforce_age(crate::clock::now());
        for run in shed {
            self.give_up(run.last_seq + 1, DropReason::MaxAge);
        }
        self.trim_tail();
    }

    /// First sequence that memory must keep, because the disk does not hold it at the level of the class.
    pub(super) fn safe_seq(&self) -> u64 {
        let Some(stream) = &self.stream else { return self.next_seq };
        let stored = match self.rules.level {
            Level::Synced => stream.synced_through().map_or(1, |seq| seq + 1),
            _ => stream.next_seq(),
        };
        self.suspect.map_or(stored, |suspect| stored.min(suspect))
    }

    pub(crate) fn seal(&mut self) -> io::Result<()> {
        self.write_overlay();
        match &mut self.stream {
            Some(stream) => stream.save_cursors(true),
            None => Ok(()),
        }
    }

    /// Books what only the memory holds as dropped; the spool's part stays held.
    pub(crate) fn drop_unstored(&mut self) {
        let stored = self.stream.as_ref().map_or(self.first_open(), Stream::next_seq);
        for member in &mut self.members {
            let in_memory = self.next_seq.saturating_sub(member.next.max(stored));
            member.books.drop_records(DropReason::Shutdown, in_memory);
            member.next = if self.stream.is_some() { member.next.min(stored) } else { self.next_seq };
        }
        if self.stream.is_some() {
            self.next_seq = stored;
        }
    }
}
