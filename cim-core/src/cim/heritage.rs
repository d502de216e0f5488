//! Records that one life leaves to another: told as they are stored, and taken into a queue again.
//!
//! Owns reading what is left and putting it back. Left out: how it travels in between. Invariants: a record is told exactly as
//! it was stored, so its arrival, its headers and its container come along; nothing is taken that the intake would not have
//! taken; what was taken back is as safe as its class asks for.

use std::io;
use std::ops::ControlFlow;

use cim_spool::{FrameBuf, Read};
use cim_wire::{Class, verify};

use super::{Cim, route_name};
use crate::envelope::Envelope;
use crate::queue::{ClassQueue, Taken};

/// Most records and bytes that are looked at in one go.
const RUN: usize = 64;
const RUN_BYTES: usize = 1 << 20;

/// How far a class has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// LOG or EVENT.
    pub class: Class,
    /// First sequence that does not exist yet.
    pub next: u64,
    /// First sequence that some sink has not settled.
    pub settled: u64,
}

/// Which of the records that some sink has not settled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// All of them.
    Everything,
    /// Those that would be lost with the process: no spool holds them.
    Unstored,
}

impl Cim {
    /// Whether a spool takes what both classes accept, so that it outlives the process. A spool whose disk fails does not.
    #[must_use]
    pub fn is_storing(&self) -> bool {
        [Class::Log, Class::Event].iter().all(|class| self.inner.entrance.queue(*class).is_storing())
    }

    /// Whether something would be lost if the process ended now. Tries the disk once more.
    #[must_use]
    pub fn has_unstored(&self) -> bool {
        let queues = [Class::Log, Class::Event].map(|class| self.inner.entrance.queue(class));
        queues.iter().any(|queue| queue.first_unstored().is_some())
    }

    /// How far both classes have come.
    #[must_use]
    pub fn progress(&self) -> [Progress; 2] {
        [Class::Log, Class::Event].map(|class| {
            let queue = self.inner.entrance.queue(class);
            let next = *queue.watch().borrow();
            Progress { class, next, settled: queue.settled().min(next) }
        })
    }

    /// Tells what is left of the class, oldest first, as it is stored. Meant for the time after [`Cim::drain`]; reads the disk.
    /// Ends early when `tell` says so.
    ///
    /// # Errors
    /// When the disk cannot be read; what was told until then is right.
    pub fn undelivered(
        &self,
        class: Class,
        left: Left,
        mut tell: impl FnMut(&[u8]) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let queue = self.inner.entrance.queue(class);
        let mut at = queue.settled();
        if left == Left::Unstored {
            let Some(first) = queue.first_unstored() else { return Ok(()) };
            at = at.max(first);
        }
        loop {
            let frames = match queue.take(at, RUN, RUN_BYTES) {
                Taken::Empty => return Ok(()),
                Taken::Skip(to) => {
                    at = to;
                    continue;
                }
                Taken::Frames(frames) => frames,
                Taken::OnDisk => match next_on_disk(queue, &mut at)? {
                    Some(frame) => vec![frame],
                    None => continue,
                },
            };
            for frame in frames {
                for (_, record) in frame.records().filter(|(seq, _)| *seq >= at) {
                    if tell(record).is_break() {
                        return Ok(());
                    }
                }
                at = at.max(frame.last_seq() + 1);
            }
        }
    }

    /// Takes records that [`Cim::undelivered`] told, or that stand in a spool, into the queue of their class; all of them, or
    /// none. They are not taken while the class has less than half of its room.
    ///
    /// # Errors
    /// `InvalidData` when one is no record of this class, `WouldBlock` when there is no room now, `BrokenPipe` at the end of
    /// the engine.
    pub fn take_back(&self, class: Class, records: &[Vec<u8>]) -> io::Result<()> {
        if self.inner.entrance.is_closed() {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "this cim is stopping"));
        }
        for (at, record) in records.iter().enumerate() {
            let is_one = Envelope::parse(record)
                .is_some_and(|envelope| verify(class, envelope.encoding, envelope.payload).is_ok());
            if !is_one {
                let what = format!("record {} of {} is none of {}", at + 1, records.len(), route_name(class));
                return Err(io::Error::new(io::ErrorKind::InvalidData, what));
            }
        }
        let queue = self.inner.entrance.queue(class);
        let no_room =
            || io::Error::new(io::ErrorKind::WouldBlock, format!("no room for more {}", route_name(class)));
        if !self.has_half_its_room(class, queue) {
            return Err(no_room());
        }
        put(queue, records.iter().map(Vec::as_slice)).ok_or_else(no_room)
    }

    fn has_half_its_room(&self, class: Class, queue: &ClassQueue) -> bool {
        let budget = &self.inner.budget;
        let in_memory = budget.used() <= budget.limit() / 2;
        let on_disk = queue.stored_bytes() <= self.inner.storage.class(class).max_bytes.get() / 2;
        in_memory && (on_disk || !self.inner.storage.is_persistent())
    }
}

/// Puts records into a queue as one frame, as safe as its class asks for; `None` when it has no room.
pub(super) fn put<'r>(queue: &ClassQueue, records: impl Iterator<Item = &'r [u8]>) -> Option<()> {
    let mut buf = FrameBuf::with_target(0);
    for record in records {
        buf.push(&[record]);
    }
    let (end, _) = queue.commit(buf, true).ok()?;
    queue.sync_once();
    queue.announce(end);
    Some(())
}

/// The next frame that only the disk has; `None` when the position moved instead.
fn next_on_disk(queue: &ClassQueue, at: &mut u64) -> io::Result<Option<cim_spool::Frame>> {
    let Some(mut reader) = queue.reader(*at) else { return Err(io::Error::other("the spool is gone")) };
    match reader.next()? {
        Read::Frame(frame) => Ok(Some(frame)),
        Read::Lost { last_seq, .. } => {
            *at = last_seq + 1;
            Ok(None)
        }
        Read::CaughtUp => Err(io::Error::other("the spool does not hold what it should")),
    }
}
