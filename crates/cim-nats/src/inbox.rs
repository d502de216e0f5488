//! Received bytes that are no complete frame yet, or may not be consumed yet.
//!
//! Owns the leftover of one connection. Leaves out parsing and reading. Invariants: it exists only while needed, and
//! grows by bytes received, never by bytes announced; above 4 KiB every byte is covered by the memory budget.

use crate::allowance::{Allowance, Grant};
use crate::intake::Intake;
use crate::parser::{MAX_CONTROL_LINE, Need};
use memchr::memchr;

/// Bytes a connection may hold without asking the budget: one control line.
const FREE: usize = MAX_CONTROL_LINE + 2;

/// The leftover of one connection.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    grant: Grant,
}

impl Inbox {
    pub(crate) const fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(crate) const fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Asks for the memory of `more` further bytes before they are read.
    pub(crate) fn make_room(&mut self, more: usize, memory: &mut Allowance, intake: &impl Intake) -> bool {
        let wanted = self.bytes.len() + more;
        wanted <= FREE || memory.raise(&mut self.grant, wanted, true, intake)
    }

    /// Appends bytes that were read. False: no memory, nothing was appended.
    pub(crate) fn keep(&mut self, bytes: &[u8], memory: &mut Allowance, intake: &impl Intake) -> bool {
        if !self.make_room(bytes.len(), memory, intake) {
            return false;
        }
        let wanted = self.bytes.len() + bytes.len();
        if wanted > self.bytes.capacity() {
            let target = self.grant.bytes().max(wanted);
            self.bytes.reserve_exact(target - self.bytes.len());
        }
        self.bytes.extend_from_slice(bytes);
        true
    }

    /// How many bytes of `chunk` belong to the frame that is incomplete here.
    pub(crate) fn wanted(&self, need: Need, chunk: &[u8]) -> usize {
        match need {
            Need::Total(total) => total.saturating_sub(self.bytes.len()).min(chunk.len()),
            Need::Line => {
                let limit = FREE.saturating_sub(self.bytes.len()).max(1).min(chunk.len());
                let window = chunk.get(..limit).unwrap_or(chunk);
                memchr(b'\n', window).map_or(limit, |end| end + 1)
            }
        }
    }

    /// Takes the bytes out to parse them; put them back with [`Inbox::put_back`].
    pub(crate) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.bytes)
    }

    /// Puts back what [`Inbox::take`] gave out, without its first `used` bytes.
    pub(crate) fn put_back(
        &mut self,
        mut bytes: Vec<u8>,
        used: usize,
        memory: &mut Allowance,
        intake: &impl Intake,
    ) {
        if used >= bytes.len() {
            memory.settle(&mut self.grant, intake);
            return;
        }
        bytes.drain(..used);
        self.bytes = bytes;
    }

    /// Cuts one range out of the middle.
    pub(crate) fn cut(&mut self, from: usize, to: usize) {
        self.bytes.drain(from..to.min(self.bytes.len()).max(from));
    }

    /// Drops everything.
    pub(crate) fn clear(&mut self, memory: &mut Allowance, intake: &impl Intake) {
        self.bytes = Vec::new();
        memory.settle(&mut self.grant, intake);
    }
}
