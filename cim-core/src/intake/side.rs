//! One class as seen by one lane: the buffer that is being filled, and what has become of earlier ones.
//!
//! Invariant: `offered` counts every message taken; `done` says, for ever larger counts, which sequence must be
//! accepted before all of them are.

use std::collections::VecDeque;
use std::sync::Arc;

use cim_spool::FrameBuf;

use super::counts::Turn;
use crate::delivery::FEW_BYTES;
use crate::queue::{ClassQueue, FRAME_BYTES};
use crate::settings::WhenFull;

/// Frames committed before the workers are told, if the turn does not end before.
const QUIET_FRAMES: u32 = 4;
/// Most bytes waiting in a lane while its class has no room (publishers are read in sips then).
const SIP_BYTES: usize = 4 << 20;

#[derive(Debug)]
pub(super) struct Side {
    pub queue: Arc<ClassQueue>,
    pub turn: Turn,
    buf: FrameBuf,
    /// Messages taken by this lane so far.
    offered: u64,
    /// Messages of these that found no room when they were committed, under policy `drop_newest`.
    refused: u64,
    /// Messages that need nothing more: accepted, or refused and counted.
    settled: u64,
    /// (messages taken until then, first sequence after them), oldest first.
    done: VecDeque<(u64, u64)>,
    /// First sequence after this lane's last record.
    end: u64,
    /// Frames that the workers were not told of.
    quiet: u32,
    /// Their bytes.
    quiet_bytes: usize,
    sipped: bool,
}

/// What came of a commit.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Committed {
    /// Written, or there was nothing to write.
    Yes,
    /// No room; the buffer waits.
    Blocked,
    /// No room and policy `drop_newest`: that many messages are refused.
    Refused(u64),
}

impl Side {
    pub(super) fn new(queue: Arc<ClassQueue>) -> Self {
        Self {
            queue,
            turn: Turn::default(),
            buf: FrameBuf::with_target(FRAME_BYTES),
            offered: 0,
            refused: 0,
            settled: 0,
            done: VecDeque::new(),
            end: 0,
            quiet: 0,
            quiet_bytes: 0,
            sipped: false,
        }
    }

    /// Whether the buffer takes a record of that many bytes without being committed before.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.buf.has_room_for(bytes)
    }

    /// Whether a waiting buffer may still grow by sips.
    pub(super) fn may_sip(&self) -> bool {
        self.buf.bytes() < SIP_BYTES
    }

    pub(super) fn push(&mut self, parts: &[&[u8]], sip: bool) {
        self.buf.push(parts);
        self.offered += 1;
        self.sipped |= sip;
    }

    /// The record taken last, while it waits in the buffer.
    pub(super) fn last_record(&self) -> Option<&[u8]> {
        self.buf.last_record()
    }

    /// Forgets what waits in the buffer: its publisher keeps it.
    pub(super) fn discard(&mut self) {
        self.offered -= self.buf.len() as u64;
        self.buf = FrameBuf::with_target(FRAME_BYTES);
    }

    pub(super) fn offered(&self) -> u64 {
        self.offered
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused
    }

    /// Sequence of the last record taken, once committed.
    pub(super) fn last_seq(&self) -> u64 {
        self.end.saturating_sub(1)
    }

    pub(super) fn commit(&mut self) -> Committed {
        self.trim();
        if self.buf.is_empty() {
            return Committed::Yes;
        }
        let bytes = self.buf.bytes();
        let buf = std::mem::replace(&mut self.buf, FrameBuf::with_target(0));
        match self.queue.commit(buf, self.sipped) {
            Ok((end, next)) => {
                self.sipped = false;
                self.buf = next;
                self.end = end;
                self.note_done(end);
                self.quiet += 1;
                self.quiet_bytes += bytes;
                if self.quiet >= QUIET_FRAMES {
                    self.announce();
                }
                Committed::Yes
            }
            Err(buf) if self.queue.rules().when_full == WhenFull::DropNewest => {
                let refused = buf.len() as u64;
                self.refused += refused;
                self.buf = FrameBuf::with_target(FRAME_BYTES);
                self.note_done(self.end);
                Committed::Refused(refused)
            }
            Err(buf) => {
                self.buf = buf;
                Committed::Blocked
            }
        }
    }

    /// Tells the workers what was committed since the last call.
    pub(super) fn announce(&mut self) {
        self.quiet_bytes = 0;
        if std::mem::take(&mut self.quiet) > 0 {
            self.queue.announce(self.end);
        }
    }

    /// The same, unless that is few bytes: [`Side::announce_here`] must follow.
    pub(super) fn announce_many(&mut self) {
        if self.quiet_bytes > FEW_BYTES {
            self.announce();
        }
    }

    /// Tells the workers, and lets those which may work on this thread do so.
    pub(super) fn announce_here(&mut self) {
        self.quiet_bytes = 0;
        if std::mem::take(&mut self.quiet) > 0 {
            self.queue.announce_here(self.end);
        }
    }

    fn note_done(&mut self, end: u64) {
        match self.done.back_mut() {
            Some(last) if last.1 == end => last.0 = self.offered,
            _ => self.done.push_back((self.offered, end)),
        }
        self.trim();
    }

    fn trim(&mut self) {
        let accepted = self.queue.accepted();
        while let Some((offered, _)) = self.done.front().filter(|(_, end)| *end <= accepted) {
            self.settled = *offered;
            self.done.pop_front();
        }
    }

    /// Whether the first `offered` messages of this lane are accepted, or refused and counted.
    pub(super) fn is_settled(&self, offered: u64) -> bool {
        if offered <= self.settled {
            return true;
        }
        let at = self.done.partition_point(|(count, _)| *count < offered);
        self.done.get(at).is_some_and(|(_, end)| *end <= self.queue.accepted())
    }
}
