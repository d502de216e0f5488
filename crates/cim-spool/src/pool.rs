//! Memory of frames that are gone, for the frames to come.
//!
//! Owns the choice between used memory and new: fresh pages cost as much as copying into them does. Leaves out who
//! holds a frame: one that is still read elsewhere waits here until it is not. Invariant: at most [`KEPT`] pieces, none
//! below [`MIN_KEPT`] bytes.

use std::collections::VecDeque;

use crate::frame::{Frame, FrameBuf};

/// Pieces kept: with frames of 256 KiB as much as a sink that keeps up has in hand.
const KEPT: usize = 8;
/// Smaller pieces are not worth keeping, in bytes.
const MIN_KEPT: usize = 64 << 10;

/// A small store of memory for frames. Holds at most 8 pieces, each of the size of the frame it was.
#[derive(Debug, Default)]
pub struct FramePool {
    idle: Vec<Vec<u8>>,
    /// Given back; some may still be read by a clone.
    spent: VecDeque<Frame>,
}

impl FramePool {
    /// An empty buffer of at least `target` bytes, in used memory where there is some.
    pub fn buffer(&mut self, target: usize) -> FrameBuf {
        while let Some(memory) = self.idle.pop() {
            if memory.capacity() >= target {
                return FrameBuf::over(memory, target);
            }
        }
        // The newest first: the processor still has it in its cache.
        for at in (0..self.spent.len()).rev() {
            if self.spent.get(at).is_none_or(Frame::is_shared) {
                continue;
            }
            if let Some(frame) = self.spent.remove(at)
                && let Ok(buf) = FrameBuf::recycle(frame, target)
            {
                return buf;
            }
        }
        FrameBuf::with_target(target)
    }

    /// Keeps the memory of a frame, also of one that a clone still reads; drops it when there is enough.
    pub fn reuse(&mut self, frame: Frame) {
        if frame.bytes().len() >= MIN_KEPT && self.idle.len() + self.spent.len() < KEPT {
            self.spent.push_back(frame);
        }
    }

    /// Seals a buffer as [`FrameBuf::seal`] does, and keeps the memory it leaves behind.
    pub fn seal(&mut self, buf: FrameBuf, first_seq: u64) -> Frame {
        let (frame, memory) = buf.sealed(first_seq);
        self.keep(memory);
        frame
    }

    /// Keeps memory that nobody uses.
    pub(crate) fn keep(&mut self, memory: Option<Vec<u8>>) {
        if let Some(memory) = memory.filter(|memory| memory.capacity() >= MIN_KEPT)
            && self.idle.len() + self.spent.len() < KEPT
        {
            self.idle.push(memory);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGET: usize = 100 << 10;

    /// A frame of a pool's buffer, and where its memory is.
    fn filled(pool: &mut FramePool, bytes: usize) -> (Frame, *const u8) {
        let mut buf = pool.buffer(TARGET);
        buf.push(&[&vec![7; bytes]]);
        let frame = pool.seal(buf, 1);
        let place = frame.bytes().as_ptr();
        (frame, place)
    }

    #[test]
    fn memory_comes_back_once_nobody_reads_it() {
        let mut pool = FramePool::default();
        let (frame, place) = filled(&mut pool, TARGET - 8);
        let reader = frame.clone();
        pool.reuse(frame);
        let (other, elsewhere) = filled(&mut pool, TARGET - 8);
        assert_ne!(place, elsewhere, "the clone is still read");
        assert_eq!(reader.records().next().unwrap(), (1, &vec![7; TARGET - 8][..]));
        drop(reader);
        let (_again, back) = filled(&mut pool, TARGET - 8);
        assert_eq!(place, back);
        drop(other);
    }

    #[test]
    fn a_mostly_empty_frame_leaves_its_memory_here() {
        let mut pool = FramePool::default();
        let mut buf = pool.buffer(TARGET);
        buf.push(&[b"little"]);
        let frame = pool.seal(buf, 1);
        assert!(frame.bytes().len() < 100);
        assert_eq!(pool.idle.len(), 1);
        let buf = pool.buffer(TARGET);
        assert!(pool.idle.is_empty() && buf.is_empty());
    }

    #[test]
    fn keeps_few_pieces_and_no_small_ones() {
        let mut pool = FramePool::default();
        let frames: Vec<Frame> = (0..20).map(|_| filled(&mut pool, TARGET - 8).0).collect();
        frames.into_iter().for_each(|frame| pool.reuse(frame));
        assert_eq!(pool.spent.len(), KEPT);
        let mut pool = FramePool::default();
        let mut small = FrameBuf::with_target(10);
        small.push(&[b"x"]);
        pool.reuse(small.seal(1));
        assert!(pool.spent.is_empty());
    }

    #[test]
    fn memory_too_small_for_the_target_is_let_go() {
        let mut pool = FramePool::default();
        let (frame, _) = filled(&mut pool, TARGET - 8);
        pool.reuse(frame);
        let buf = pool.buffer(4 * TARGET);
        assert!(buf.is_empty() && pool.spent.is_empty());
    }
}
