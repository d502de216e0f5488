//! Frames in memory: which are kept for the sinks, and what becomes of the memory of the others.
//!
//! Left out: the frames themselves (`tail`) and what is on disk. Invariant: what the disk does not hold at the level of
//! the class, and some member has not settled, stays.

use cim_spool::{Frame, FrameBuf};

use super::rules::FRAME_BYTES;
use super::state::State;
use crate::contract::Level;

impl State {
    /// A buffer for the next frame.
    pub(super) fn buffer(&mut self) -> FrameBuf {
        self.buffer_of(FRAME_BYTES)
    }

    pub(super) fn buffer_of(&mut self, target: usize) -> FrameBuf {
        match &mut self.stream {
            Some(stream) => stream.buffer(target),
            None => self.pool.buffer(target),
        }
    }

    /// A frame left the tail; its memory is wanted again.
    pub(super) fn reuse(&mut self, frame: Frame) {
        match &mut self.stream {
            Some(stream) => stream.reuse(frame),
            None => self.pool.reuse(frame),
        }
    }

    /// Keeps a written frame for the sinks, if a member may still want it from memory.
    pub(super) fn keep(&mut self, frame: Frame) {
        if self.rules.level == Level::Synced {
            self.tail.push_forced(frame);
        } else if let Err(frame) = self.tail.push(frame) {
            self.forget_before(frame.last_seq() + 1);
            self.reuse(frame);
        }
    }

    /// Forgets the frames of the tail that lie wholly before `seq`.
    fn forget_before(&mut self, seq: u64) {
        while let Some(frame) = self.tail.pop_before(seq) {
            self.reuse(frame);
        }
    }

    /// What the widest of the sinks may hold beyond the batch it is at work on is taken off, but a quarter is for the tail alone.
    fn tail_share(&self) -> usize {
        let most = self.rules.tail_bytes;
        most.saturating_sub(self.held_by_sinks).max(most / 4)
    }

    /// Forgets frames that are on disk or settled, down to the share of memory.
    pub(super) fn trim_tail(&mut self) {
        let settled = self.first_open();
        let safe = self.safe_seq();
        // What the disk refused and was delivered meanwhile need not be stored any more. While the disk fails nothing else
        // empties the memory.
        let waits = self.stream.is_some() && !self.overlay();
        self.forget_before(if waits { settled.min(safe) } else { settled });
        if self.stream.is_none() {
            return;
        }
        let share = self.tail_share();
        while self.tail.bytes() > share {
            let Some(frame) = self.tail.pop_before(safe) else { break };
            self.reuse(frame);
        }
    }
}
