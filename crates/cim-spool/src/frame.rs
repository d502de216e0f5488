//! Records on their way: a growing buffer, and the sealed frame it becomes.
//!
//! Owns the layout of records in memory, which is the layout on disk, so that the bytes are written once. Leaves
//! out where a frame lies on disk. Invariant: the body of a [`Frame`] was checked record by record, so iteration
//! cannot fail.

use std::ops::Range;

use bytes::Bytes;

use crate::format::{FRAME_HEADER, FrameHeader, padded, read_length, write_length};

/// Longest length in front of a record, in bytes.
const MAX_LENGTH: usize = 5;
/// Most bytes of a frame with one record beside the record, before padding.
pub(crate) const OVERHEAD: usize = FRAME_HEADER + MAX_LENGTH;

/// Records being gathered for one frame. One buffer, growing with what is pushed.
#[derive(Debug)]
pub struct FrameBuf {
    /// 32 bytes of room for the header, then the records.
    buf: Vec<u8>,
    count: u32,
    /// Where the record pushed last begins.
    last: usize,
    target: usize,
    /// Length before padding, while stamped.
    unpadded: usize,
}

impl FrameBuf {
    /// An empty buffer that calls itself full at `target` bytes; it is allocated at once.
    pub fn with_target(target: usize) -> Self {
        Self::over(Vec::with_capacity(target.saturating_add(FRAME_HEADER + 64)), target)
    }

    /// Takes the memory of a frame nobody else holds any more; gives the frame back otherwise.
    ///
    /// # Errors
    /// The frame, when clones or slices of it are still alive, or when its memory is much smaller than `target`.
    pub fn recycle(frame: Frame, target: usize) -> Result<Self, Frame> {
        if frame.bytes.len() < target / 2 || frame.is_shared() {
            return Err(frame);
        }
        let mut bytes = frame.bytes;
        // The memory is wanted, not its content, which the conversion would move onto itself. Cut to nothing, `bytes`
        // would let the memory go.
        bytes.truncate(1);
        Ok(Self::over(Vec::from(bytes), target))
    }

    /// Starts over in memory of an earlier buffer.
    pub(crate) fn over(mut buf: Vec<u8>, target: usize) -> Self {
        buf.clear();
        buf.resize(FRAME_HEADER, 0);
        Self { buf, count: 0, last: 0, target, unpadded: 0 }
    }

    /// Appends one record made of `parts`, one after the other. Always accepted: the caller watches
    /// [`is_full`](Self::is_full), and a buffer beyond 64 MiB is refused by `append`.
    pub fn push(&mut self, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        self.buf.reserve(len + MAX_LENGTH);
        self.last = self.buf.len();
        write_length(&mut self.buf, len);
        for part in parts {
            self.buf.extend_from_slice(part);
        }
        self.count = self.count.saturating_add(1);
    }

    /// The record pushed last.
    pub fn last_record(&self) -> Option<&[u8]> {
        let rest = self.buf.get(self.last..).filter(|_| self.count > 0)?;
        let (len, skip) = read_length(rest)?;
        rest.get(skip..skip + len)
    }

    /// Records pushed.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Bytes of the frame so far, header included.
    pub fn bytes(&self) -> usize {
        self.buf.len()
    }

    /// Whether nothing was pushed.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether the target size is reached.
    pub fn is_full(&self) -> bool {
        self.buf.len() >= self.target
    }

    /// Whether one more record of `bytes` would go beyond the target, and so move everything to larger memory. An
    /// empty buffer always has room.
    pub fn has_room_for(&self, bytes: usize) -> bool {
        self.is_empty() || self.buf.len().saturating_add(bytes).saturating_add(MAX_LENGTH) <= self.target
    }

    /// Bytes the frame will take on disk.
    pub(crate) fn disk_len(&self) -> u64 {
        padded(self.buf.len() as u64)
    }

    /// Stamps the header and pads; returns the bytes to write. Undone by [`unstamp`](Self::unstamp).
    pub(crate) fn stamp(&mut self, first_seq: u64, segment: u32) -> &[u8] {
        self.unpadded = self.buf.len();
        let body = self.buf.get(FRAME_HEADER..).unwrap_or_default();
        let header = FrameHeader {
            body_len: body.len() as u32,
            count: self.count,
            segment,
            first_seq,
            body_crc: crc32c::crc32c(body),
        };
        for (place, byte) in self.buf.iter_mut().zip(header.encode()) {
            *place = byte;
        }
        self.buf.resize(padded(self.buf.len() as u64) as usize, 0);
        &self.buf
    }

    /// Takes the padding away again, after a write that failed.
    pub(crate) fn unstamp(&mut self) {
        self.buf.truncate(self.unpadded);
    }

    /// Becomes a frame that lives in memory only, numbered from `first_seq`: for queues without a spool.
    pub fn seal(self, first_seq: u64) -> Frame {
        self.sealed(first_seq).0
    }

    /// As [`seal`](Self::seal), with memory to use again.
    pub(crate) fn sealed(mut self, first_seq: u64) -> (Frame, Option<Vec<u8>>) {
        self.unpadded = self.buf.len();
        self.freeze(first_seq)
    }

    /// Becomes the frame, once stamped; the second value is memory to use again, when the records moved to a
    /// smaller place.
    pub(crate) fn freeze(mut self, first_seq: u64) -> (Frame, Option<Vec<u8>>) {
        self.buf.truncate(self.unpadded);
        let (bytes, count) = (self.buf.len(), self.count);
        let (bytes, spare) = if self.buf.capacity() > 2 * bytes {
            (Bytes::copy_from_slice(&self.buf), Some(self.buf))
        } else {
            (Bytes::from(self.buf), None)
        };
        (Frame { bytes, start: FRAME_HEADER, first_seq, count }, spare)
    }
}

/// Records that are in the spool, immutable and cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    bytes: Bytes,
    /// Where the first record starts in `bytes`.
    start: usize,
    first_seq: u64,
    count: u32,
}

impl Frame {
    /// A frame over a verified header and the bytes it describes; `None` when the records do not fill the body
    /// exactly.
    pub(crate) fn verified(header: &FrameHeader, bytes: Bytes) -> Option<Self> {
        let mut rest = bytes.get(FRAME_HEADER..)?;
        for _ in 0..header.count {
            let (len, took) = read_length(rest)?;
            rest = rest.get(took..)?.get(len..)?;
        }
        let exact = rest.is_empty();
        exact.then_some(Self { bytes, start: FRAME_HEADER, first_seq: header.first_seq, count: header.count })
    }

    /// Sequence of the first record.
    pub fn first_seq(&self) -> u64 {
        self.first_seq
    }

    /// Sequence of the last record. A frame has at least one.
    pub fn last_seq(&self) -> u64 {
        (self.first_seq + u64::from(self.count)).saturating_sub(1)
    }

    /// Number of records.
    pub fn count(&self) -> usize {
        self.count as usize
    }

    /// Whether clones or slices of it are alive.
    pub(crate) fn is_shared(&self) -> bool {
        !self.bytes.is_unique()
    }

    /// Bytes of its records with their lengths.
    pub fn bytes_len(&self) -> usize {
        self.body().len()
    }

    /// The records with their sequences, in order.
    pub fn records(&self) -> Records<'_> {
        Records { frame: self, at: self.start, seq: self.first_seq, left: self.count }
    }

    /// The bytes that ranges of [`Records::next_range`] refer to; slices of it share the frame's memory.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }

    /// The part from `seq` on, in the same memory; `None` when nothing is left of it.
    pub fn starting_at(&self, seq: u64) -> Option<Frame> {
        let skip = u32::try_from(seq.saturating_sub(self.first_seq)).ok()?;
        let count = self.count.checked_sub(skip).filter(|count| *count > 0)?;
        let mut records = self.records();
        for _ in 0..skip {
            records.next_range()?;
        }
        Some(Frame {
            bytes: self.bytes.clone(),
            start: records.at,
            first_seq: self.first_seq + u64::from(skip),
            count,
        })
    }

    /// The part before `seq`, in the same memory; `None` when nothing is left of it.
    pub(crate) fn ending_before(&self, seq: u64) -> Option<Frame> {
        let keep = u32::try_from(seq.saturating_sub(self.first_seq)).unwrap_or(u32::MAX).min(self.count);
        let mut records = self.records();
        for _ in 0..keep {
            records.next_range()?;
        }
        let kept = Frame {
            bytes: self.bytes.slice(..records.at.min(self.bytes.len())),
            start: self.start,
            first_seq: self.first_seq,
            count: keep,
        };
        (keep > 0).then_some(kept)
    }

    /// The records with their lengths.
    pub(crate) fn body(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }

    /// Appends this frame to `out` as it shall lie in another segment.
    pub(crate) fn restamp(&self, segment: u32, out: &mut Vec<u8>) {
        let body = self.body();
        let header = FrameHeader {
            body_len: body.len() as u32,
            count: self.count,
            segment,
            first_seq: self.first_seq,
            body_crc: crc32c::crc32c(body),
        };
        out.extend_from_slice(&header.encode());
        out.extend_from_slice(body);
        out.resize(padded(out.len() as u64) as usize, 0);
    }
}

/// Iterator over the records of a [`Frame`].
#[derive(Debug, Clone)]
pub struct Records<'a> {
    frame: &'a Frame,
    at: usize,
    seq: u64,
    left: u32,
}

impl Records<'_> {
    /// The next record as a place in [`Frame::bytes`].
    pub fn next_range(&mut self) -> Option<(u64, Range<usize>)> {
        if self.left == 0 {
            return None;
        }
        let (len, took) = read_length(self.frame.bytes.get(self.at..)?)?;
        let start = self.at + took;
        let range = start..start.checked_add(len)?;
        let seq = self.seq;
        self.at = range.end;
        self.seq += 1;
        self.left -= 1;
        Some((seq, range))
    }
}

impl<'a> Iterator for Records<'a> {
    type Item = (u64, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let frame = self.frame;
        let (seq, range) = self.next_range()?;
        Some((seq, frame.bytes.get(range)?))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.left as usize, Some(self.left as usize))
    }
}

impl ExactSizeIterator for Records<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(records: &[&[u8]], target: usize) -> (Frame, bool) {
        let mut buf = FrameBuf::with_target(target);
        for record in records {
            buf.push(&[record]);
        }
        assert_eq!(buf.stamp(7, 99).len() % 64, 0);
        let (frame, spare) = buf.freeze(7);
        (frame, spare.is_some())
    }

    #[test]
    fn a_mostly_empty_buffer_is_copied_and_its_memory_comes_back() {
        assert!(frame(&[b"one"], 4096).1);
        assert!(!frame(&[&[0; 3000]], 4096).1);
    }

    #[test]
    fn records_keep_order_and_sequence() {
        let big = vec![5u8; 300];
        let (frame, _) = frame(&[b"one", b"", &big], 4096);
        let got: Vec<_> = frame.records().collect();
        assert_eq!(got, vec![(7, &b"one"[..]), (8, &b""[..]), (9, &big[..])]);
        assert_eq!((frame.first_seq(), frame.last_seq(), frame.count()), (7, 9, 3));
        assert_eq!(frame.records().len(), 3);
    }

    #[test]
    fn a_frame_can_start_late() {
        let (frame, _) = frame(&[b"one", b"two", b"three"], 4096);
        let rest = frame.starting_at(9).unwrap();
        assert_eq!(rest.records().collect::<Vec<_>>(), vec![(9, &b"three"[..])]);
        assert_eq!(frame.starting_at(10), None);
        assert_eq!(frame.starting_at(1).unwrap().count(), 3);
        let front = frame.ending_before(9).unwrap();
        assert_eq!(front.records().collect::<Vec<_>>(), vec![(7, &b"one"[..]), (8, &b"two"[..])]);
        assert_eq!(front.bytes_len(), 8);
        assert_eq!(frame.ending_before(7), None);
    }

    #[test]
    fn memory_is_recycled_only_when_nobody_looks() {
        let (frame, _) = frame(&[&[1; 3000]], 4096);
        let held = frame.clone();
        let frame = FrameBuf::recycle(frame, 4096).unwrap_err();
        drop(held);
        let buf = FrameBuf::recycle(frame, 4096).unwrap();
        assert!(buf.is_empty());
        assert!(buf.buf.capacity() >= 3000);
    }

    #[test]
    fn a_buffer_that_asks_before_it_takes_never_moves() {
        for len in [0, 1, 100, 127, 128, 900] {
            let mut buf = FrameBuf::with_target(1024);
            let place = buf.buf.as_ptr();
            while buf.has_room_for(len) {
                buf.push(&[&vec![1; len]]);
            }
            buf.stamp(1, 1);
            assert_eq!(buf.buf.as_ptr(), place, "records of {len} bytes");
        }
        assert!(FrameBuf::with_target(10).has_room_for(1000), "an empty buffer takes anything");
    }

    #[test]
    fn a_body_that_does_not_add_up_is_refused() {
        let mut buf = FrameBuf::with_target(256);
        buf.push(&[b"abc"]);
        let bytes = buf.bytes();
        let written = Bytes::copy_from_slice(&buf.stamp(1, 1)[..bytes]);
        let header = FrameHeader::decode(&written).unwrap();
        assert!(Frame::verified(&header, written.clone()).is_some());
        assert!(Frame::verified(&FrameHeader { count: 2, ..header }, written.clone()).is_none());
        assert!(Frame::verified(&header, written.slice(..bytes - 1)).is_none());
    }
}
