//! Reading a stream in order, beside the appending stream.
//!
//! Owns one position in the sequence; leaves acknowledging to cursors. Invariants: sequences only rise; every
//! sequence is returned in a frame or reported lost, exactly once; a call returns after bounded work.

use std::{io, sync::Arc};

use crate::{
    frame::Frame,
    recovery::LossReason,
    segments::{Place, Segment, Segments},
    walker::{Step, Walker},
};

/// What a reader came across.
#[derive(Debug)]
pub enum Read {
    /// The next records.
    Frame(Frame),
    /// Everything written so far was read.
    CaughtUp,
    /// These records are not there any more; reading goes on behind them.
    Lost {
        /// First lost sequence.
        first_seq: u64,
        /// Last lost sequence.
        last_seq: u64,
        /// Why.
        reason: LossReason,
    },
}

/// Reads frames in order from a position on. Independent of the [`Stream`](crate::Stream); may outlive it.
pub struct Reader {
    segments: Arc<Segments>,
    next_seq: u64,
    open: Option<(u64, Walker)>,
    /// A frame found behind a gap that is reported first.
    pending: Option<Frame>,
    /// What was seen since the last intact frame.
    reason: LossReason,
}

impl Reader {
    pub(crate) fn new(segments: Arc<Segments>, from_seq: u64) -> Self {
        Self { segments, next_seq: from_seq, open: None, pending: None, reason: LossReason::Missing }
    }

    /// Sequence the next frame or loss starts with.
    pub fn position(&self) -> u64 {
        self.next_seq
    }

    /// The next frame, loss, or [`Read::CaughtUp`]. Reads at most about 1 MiB ahead, or one frame if larger.
    ///
    /// # Errors
    /// The read error. The position is unharmed; the same call may be repeated, best after a pause. A place that
    /// stays unreadable while the rest of the file can be read is reported lost at the third attempt.
    #[allow(clippy::should_implement_trait, reason = "fallible, and never at an end: no iterator")]
    pub fn next(&mut self) -> io::Result<Read> {
        if let Some(frame) = self.pending.take() {
            return Ok(self.deliver(frame));
        }
        loop {
            let place = self.segments.lock().find(self.next_seq);
            match place {
                Place::Ahead => return Ok(Read::CaughtUp),
                Place::Gone { last, shed } => {
                    self.reason = if shed { LossReason::Shed } else { LossReason::Missing };
                    return Ok(self.lost_through(last));
                }
                Place::In { segment, end_seq } => {
                    if let Some(read) = self.next_in(segment, end_seq)? {
                        return Ok(read);
                    }
                }
            }
        }
    }

    /// One step in a segment; `None` when the step brought nothing to report.
    fn next_in(&mut self, segment: Segment, end_seq: u64) -> io::Result<Option<Read>> {
        let mut walker = match self.open.take() {
            Some((serial, walker)) if serial == segment.serial => walker,
            _ => match self.segments.layer.open(&self.segments.path(segment.first_seq), false) {
                Ok(file) => Walker::new(file, segment.id, segment.first_seq),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    return Ok(self.vanished(segment, end_seq));
                }
                Err(error) => return Err(error),
            },
        };
        walker.bound(segment.len, end_seq);
        walker.hop(self.next_seq);
        let step = walker.step();
        let unreadable = walker.take_unreadable();
        self.open = Some((segment.serial, walker));
        if unreadable {
            self.reason = LossReason::Unreadable;
        }
        match step? {
            Step::Frame(frame) => Ok(frame
                .ending_before(end_seq)
                .and_then(|frame| frame.starting_at(self.next_seq))
                .map(|frame| self.deliver(frame))),
            Step::BadBody { .. } | Step::Skipped { .. } => {
                if self.reason == LossReason::Missing {
                    self.reason = LossReason::Damaged;
                }
                Ok(None)
            }
            Step::End => Ok(Some(self.lost_through(end_seq.saturating_sub(1)))),
        }
    }

    /// The file is not there: removed by the stream just now (look again), or by somebody else (lost).
    fn vanished(&mut self, segment: Segment, end_seq: u64) -> Option<Read> {
        let listed = self.segments.lock().list.iter().any(|listed| listed.serial == segment.serial);
        listed.then(|| self.lost_through(end_seq.saturating_sub(1)))
    }

    fn deliver(&mut self, frame: Frame) -> Read {
        if frame.first_seq() > self.next_seq {
            let last = frame.first_seq() - 1;
            self.pending = Some(frame);
            return self.lost_through(last);
        }
        self.next_seq = frame.last_seq() + 1;
        self.reason = LossReason::Missing;
        Read::Frame(frame)
    }

    fn lost_through(&mut self, last_seq: u64) -> Read {
        let first_seq = self.next_seq;
        let reason = std::mem::replace(&mut self.reason, LossReason::Missing);
        self.next_seq = last_seq.max(first_seq) + 1;
        Read::Lost { first_seq, last_seq: last_seq.max(first_seq), reason }
    }
}
