//! The bytes of one batch and how far they have come.
//!
//! Owns the reused buffer, the ends of the records in it, and the memory of a record that was cut in the middle.
//! Left out: threads and descriptors. Invariant: what the reader sees is always whole records, in order; the rest of
//! a cut record goes out before anything else does.

use std::io;

use cim_core::Meta;

use crate::outlet::Outlet;

/// Capacity kept between batches; what a larger batch needed is given back.
const KEPT_BYTES: usize = 2 << 20;

/// Which class a batch is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Logs,
    Events,
}

/// A record of which only a part went out when the outlet failed.
#[derive(Debug)]
struct CutRecord {
    /// Epoch and sequence number.
    number: (u64, u64),
    bytes: Vec<u8>,
    written: usize,
}

/// The buffers.
#[derive(Debug, Default)]
pub(crate) struct Page {
    data: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
    /// Epoch and sequence number of each record.
    numbers: Vec<(u64, u64)>,
    cut_log: Option<CutRecord>,
    cut_event: Option<CutRecord>,
}

/// A batch that did not go out whole.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// How many records from the front are out.
    pub written: usize,
    /// What the outlet said.
    pub error: io::Error,
}

impl Page {
    /// Begins a batch.
    pub(crate) fn clear(&mut self, room: usize) {
        self.data.clear();
        self.data.shrink_to(KEPT_BYTES);
        self.data.reserve(room);
        self.ends.clear();
        self.numbers.clear();
    }

    /// Adds a record; `encode` appends it without its newline.
    pub(crate) fn push(&mut self, meta: &Meta, encode: impl FnOnce(&mut Vec<u8>)) {
        self.numbers.push((meta.epoch, meta.seq));
        encode(&mut self.data);
        self.data.push(b'\n');
        self.ends.push(self.data.len());
    }

    /// Writes the batch: first what is left of a cut record, whatever class it is of, then all records.
    ///
    /// A batch that begins with the very record that was cut (same numbers, same bytes) gets it finished rather than
    /// repeated.
    pub(crate) fn write(&mut self, side: Side, outlet: &mut impl Outlet) -> Result<(), Stopped> {
        for cut in [&mut self.cut_log, &mut self.cut_event].into_iter().flatten() {
            let rest = cut.bytes.get(cut.written..).unwrap_or_default();
            let (count, outcome) = write_all(rest, outlet);
            cut.written += count;
            outcome.map_err(|error| Stopped { written: 0, error })?;
        }
        let start = if self.finished_before(side) { self.ends.first().copied().unwrap_or(0) } else { 0 };
        *self.cut_of(side) = None;
        let (count, outcome) = write_all(self.data.get(start..).unwrap_or_default(), outlet);
        outcome.map_err(|error| self.stopped(side, start + count, error))
    }

    /// Whether the batch begins with the record that was cut and is complete by now.
    fn finished_before(&mut self, side: Side) -> bool {
        let (first, end) = (self.numbers.first(), self.ends.first().copied().unwrap_or(0));
        let cut = match side {
            Side::Logs => &self.cut_log,
            Side::Events => &self.cut_event,
        };
        cut.as_ref().is_some_and(|cut| {
            first == Some(&cut.number) && self.data.get(..end) == Some(cut.bytes.as_slice())
        })
    }

    /// Takes stock after a failure: counts whole records, remembers the one that was cut.
    fn stopped(&mut self, side: Side, reached: usize, error: io::Error) -> Stopped {
        let written = self.ends.partition_point(|end| *end <= reached);
        let begin = written.checked_sub(1).and_then(|last| self.ends.get(last)).copied().unwrap_or(0);
        if reached > begin {
            let end = self.ends.get(written).copied().unwrap_or(self.data.len());
            let bytes = self.data.get(begin..end).unwrap_or_default().to_vec();
            let number = self.numbers.get(written).copied().unwrap_or_default();
            *self.cut_of(side) = Some(CutRecord { number, bytes, written: reached - begin });
        }
        Stopped { written, error }
    }

    fn cut_of(&mut self, side: Side) -> &mut Option<CutRecord> {
        match side {
            Side::Logs => &mut self.cut_log,
            Side::Events => &mut self.cut_event,
        }
    }
}

/// Writes until everything is out or the outlet fails; says how much went out.
fn write_all(mut bytes: &[u8], outlet: &mut impl Outlet) -> (usize, io::Result<()>) {
    let mut total = 0;
    while !bytes.is_empty() {
        match outlet.write(bytes) {
            Ok(0) => return (total, Err(io::ErrorKind::WriteZero.into())),
            Ok(count) => {
                total += count;
                bytes = bytes.get(count..).unwrap_or_default();
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => match outlet.wait() {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return (total, Err(error)),
            },
            Err(error) => return (total, Err(error)),
        }
    }
    (total, Ok(()))
}
