//! The newest frames, in memory: what a healthy sink reads instead of the disk.
//!
//! Invariant: the frames are contiguous in sequence, and their bytes are reserved in the process-wide budget.

use std::collections::VecDeque;

use cim_spool::Frame;

use crate::budget::Budget;

#[derive(Debug)]
pub(crate) struct Tail {
    frames: VecDeque<Frame>,
    bytes: usize,
    budget: Budget,
}

impl Tail {
    pub(crate) fn new(budget: Budget) -> Self {
        Self { frames: VecDeque::new(), bytes: 0, budget }
    }

    /// Keeps a frame if the budget allows.
    ///
    /// # Errors
    /// Gives the frame back: the caller must empty the tail then, so that it stays contiguous.
    pub(crate) fn push(&mut self, frame: Frame) -> Result<(), Frame> {
        if !self.budget.try_reserve(frame.bytes_len()) {
            return Err(frame);
        }
        self.keep(frame);
        Ok(())
    }

    /// Keeps a frame whatever the budget says: nothing else holds it.
    pub(crate) fn push_forced(&mut self, frame: Frame) {
        self.budget.force_reserve(frame.bytes_len());
        self.keep(frame);
    }

    fn keep(&mut self, frame: Frame) {
        self.bytes += frame.bytes_len();
        self.frames.push_back(frame);
    }

    /// Forgets the oldest frame.
    pub(crate) fn pop(&mut self) -> Option<Frame> {
        let frame = self.frames.pop_front()?;
        self.bytes -= frame.bytes_len();
        self.budget.release(frame.bytes_len());
        Some(frame)
    }

    /// Forgets the oldest frame, if it lies wholly before `seq`.
    pub(crate) fn pop_before(&mut self, seq: u64) -> Option<Frame> {
        self.frames.front().filter(|frame| frame.last_seq() < seq)?;
        self.pop()
    }

    pub(crate) fn first_seq(&self) -> Option<u64> {
        self.frames.front().map(Frame::first_seq)
    }

    pub(crate) fn budget(&self) -> &Budget {
        &self.budget
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Frames from the one that holds `seq` on.
    pub(crate) fn from(&self, seq: u64) -> impl Iterator<Item = &Frame> {
        let start = self.frames.partition_point(|frame| frame.last_seq() < seq);
        self.frames.range(start..)
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.budget.release(self.bytes);
    }
}
