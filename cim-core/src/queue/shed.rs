//! What is given up for room, and who loses by it.
//!
//! Left out: what the disk removes by itself (`cim-spool`). Invariant: a record is shed only when nothing else holds it, and
//! only for those who can no longer get it: a sink that is still behind on the disk goes on there, and books the loss when it
//! comes to the hole.

use cim_spool::{BeforeShedding, FrameBuf, Stream};

use super::member::Member;
use super::state::State;
use crate::books::DropReason;
use crate::settings::WhenFull;

/// Runs of records that memory alone held and gave up, oldest first, while some member was not there yet.
#[derive(Debug, Default)]
pub(super) struct Holes {
    runs: Vec<(u64, u64)>,
}

impl Holes {
    fn add(&mut self, first: u64, end: u64) {
        match self.runs.last_mut() {
            Some(last) if last.1 == first => last.1 = end,
            _ => self.runs.push((first, end)),
        }
    }

    /// Every member is past what ends here.
    pub(super) fn forget_before(&mut self, seq: u64) {
        self.runs.retain(|(_, end)| *end > seq);
    }

    /// Books what is open before `through`: as shed what was shed, the rest for that reason.
    pub(super) fn lose(&self, member: &mut Member, through: u64, reason: DropReason) {
        for (first, end) in self.runs.iter().filter(|(first, _)| *first < through) {
            if member.next < *end {
                member.lose(*first, reason);
                member.lose(through.min(*end), DropReason::ShedOldest);
            }
        }
        member.lose(through, reason);
    }
}

/// Some sink never gets a record in front of `through`.
pub(super) fn given_up(witness: Option<&BeforeShedding>, through: u64) {
    if let Some(witness) = witness {
        witness(through);
    }
}

impl State {
    /// From now on, what is given up is told before any position is saved that passes it.
    pub(super) fn tell_given_up(&mut self, witness: BeforeShedding) {
        if let Some(stream) = &mut self.stream {
            stream.before_shedding(BeforeShedding::clone(&witness));
        }
        self.witness = Some(witness);
    }

    /// Holds the buffer in memory alone.
    pub(super) fn store_in_memory(&mut self, buf: FrameBuf) -> Result<(), FrameBuf> {
        let size = buf.bytes();
        while !self.tail_has_room(size) {
            let sheds = self.rules.when_full == WhenFull::ShedOldest;
            // What is on the disk is read there. Where the choice is between records and their safety, records go last.
            let stored = self.stored_seq();
            let stored = if sheds { stored } else { stored.min(self.safe_seq()) };
            if let Some(frame) = self.tail.pop_before(stored) {
                self.reuse(frame);
            } else if !sheds || !self.shed_frame() {
                return Err(buf);
            }
        }
        let frame = self.pool.seal(buf, self.next_seq);
        self.tail.push_forced(frame);
        Ok(())
    }

    fn tail_has_room(&self, size: usize) -> bool {
        let fits = self.tail.budget().try_reserve(size);
        if fits {
            self.tail.budget().release(size);
        }
        fits
    }

    /// First sequence that is not on the disk; 0 without one.
    fn stored_seq(&self) -> u64 {
        self.stream.as_ref().map_or(0, Stream::next_seq)
    }

    pub(super) fn shed_segment(&mut self) -> bool {
        let Some(shed) = self.stream.as_mut().and_then(Stream::shed_oldest) else { return false };
        self.give_up(shed.last_seq + 1, DropReason::ShedOldest);
        true
    }

    /// Gives up the oldest frame in memory, which nothing else holds.
    fn shed_frame(&mut self) -> bool {
        let Some(frame) = self.tail.pop() else { return false };
        let (first, end) = (frame.first_seq(), frame.last_seq() + 1);
        let stored = self.stored_seq();
        if self.first_open() < end {
            given_up(self.witness.as_ref(), end);
        }
        if self.first_open() < stored {
            self.holes.add(first, end);
        }
        for member in self.members.iter_mut().filter(|member| member.next >= stored) {
            self.holes.lose(member, end, DropReason::ShedOldest);
        }
        self.reuse(frame);
        true
    }

    /// Everything before `through` is gone.
    pub(super) fn give_up(&mut self, through: u64, reason: DropReason) {
        if self.first_open() < through {
            given_up(self.witness.as_ref(), through);
        }
        for member in &mut self.members {
            self.holes.lose(member, through, reason);
        }
    }
}
