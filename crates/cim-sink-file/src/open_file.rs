//! One file, open for appending.
//!
//! Owns the descriptor, the size it believes in and the writing of whole records. Left out: names, rotation, how
//! many files are open. Invariant: after every call the file ends at the end of a record, or the file remembers
//! where it has to be cut before anything else is written.

use std::os::fd::OwnedFd;

use rustix::fs::{Stat, fdatasync, fstat, ftruncate};
use rustix::io::{Errno, pread, retry_on_intr, write};

use crate::folder::{Place, is_regular};

/// Bytes of records that follow each other, and where each of them ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run<'a> {
    /// The buffer the offsets refer to.
    pub data: &'a [u8],
    /// Where the first record begins.
    pub start: usize,
    /// Where each record ends, ascending.
    pub ends: &'a [usize],
}

impl<'a> Run<'a> {
    /// The records after the first `count`.
    pub(crate) fn skip(self, count: usize) -> Self {
        let start = if count == 0 { self.start } else { self.end_of(count) };
        Self { start, ends: self.ends.get(count..).unwrap_or_default(), ..self }
    }

    /// The first `count` records.
    pub(crate) fn take(self, count: usize) -> Self {
        Self { ends: self.ends.get(..count).unwrap_or(self.ends), ..self }
    }

    /// How many whole records there are within the first `bytes` bytes.
    pub(crate) fn records_within(self, bytes: u64) -> usize {
        let limit = self.start.saturating_add(usize::try_from(bytes).unwrap_or(usize::MAX));
        self.ends.partition_point(|end| *end <= limit)
    }

    /// Length in bytes of the first `count` records.
    pub(crate) fn bytes_of(self, count: usize) -> usize {
        if count == 0 { 0 } else { self.end_of(count) - self.start }
    }

    fn end_of(self, count: usize) -> usize {
        self.ends.get(count - 1).copied().unwrap_or(self.data.len())
    }

    fn bytes(self) -> &'a [u8] {
        let end = self.ends.last().copied().unwrap_or(self.start);
        self.data.get(self.start..end).unwrap_or_default()
    }
}

/// Some records were written, then the system refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Cut {
    /// How many whole records are in the file.
    pub written: usize,
    /// What the system said.
    pub error: Errno,
}

/// An open file.
#[derive(Debug)]
pub(crate) struct OpenFile {
    descriptor: OwnedFd,
    place: Place,
    size: u64,
    /// Where half a record begins that could not be cut off yet.
    cut_at: Option<u64>,
    /// Written to since the last successful sync.
    dirty: bool,
    /// For the choice of the file to close: the turn in which it was used last.
    pub used: u64,
    /// Time in the name of the last backup made of it, milliseconds.
    pub last_backup: u64,
}

impl OpenFile {
    /// Takes an opened descriptor; `None` when it is no regular file.
    ///
    /// A file that does not end in a newline holds half a record of a process that was killed. The newline is
    /// added, so that the next record has its line to itself; the half one was never reported as delivered.
    pub(crate) fn adopt(descriptor: OwnedFd) -> Result<Option<Self>, Errno> {
        let stat = fstat(&descriptor)?;
        if !is_regular(&stat) {
            return Ok(None);
        }
        let size = size_of(&stat);
        let mut file = Self {
            descriptor,
            place: Place::of(&stat),
            size,
            cut_at: None,
            dirty: false,
            used: 0,
            last_backup: 0,
        };
        if file.ends_inside_a_record()? {
            file.append(Run { data: b"\n", start: 0, ends: &[1] }).map_err(|cut| cut.error)?;
        }
        Ok(Some(file))
    }

    fn ends_inside_a_record(&self) -> Result<bool, Errno> {
        let Some(last) = self.size.checked_sub(1) else {
            return Ok(false);
        };
        let mut byte = [0_u8; 1];
        let read = retry_on_intr(|| pread(&self.descriptor, &mut byte, last))?;
        Ok(read == 1 && byte != *b"\n")
    }

    /// The size in bytes.
    pub(crate) fn size(&self) -> u64 {
        self.size
    }

    /// Whether this is the file that stands under the name; takes over a size that others changed.
    pub(crate) fn is_still(&mut self, stat: &Stat) -> bool {
        if Place::of(stat) != self.place {
            return false;
        }
        if self.cut_at.is_none() {
            self.size = size_of(stat);
        }
        true
    }

    /// Appends the records with one system call, as far as the system takes them at once.
    ///
    /// What was begun of a record and could not be finished is cut off again.
    pub(crate) fn append(&mut self, run: Run<'_>) -> Result<(), Cut> {
        self.heal().map_err(|error| Cut { written: 0, error })?;
        let mut rest = run.bytes();
        let mut total = 0_u64;
        while !rest.is_empty() {
            let error = match retry_on_intr(|| write(&self.descriptor, rest)) {
                Ok(0) => Errno::IO,
                Ok(count) => {
                    self.dirty = true;
                    total += u64::try_from(count).unwrap_or(0);
                    rest = rest.get(count..).unwrap_or_default();
                    continue;
                }
                Err(error) => error,
            };
            let written = run.records_within(total);
            self.size += u64::try_from(run.bytes_of(written)).unwrap_or(0);
            if u64::try_from(run.bytes_of(written)).unwrap_or(0) < total {
                self.cut_at = Some(self.size);
                // A failure is remembered in `cut_at` and tried again before the next write.
                let _ = self.heal();
            }
            return Err(Cut { written, error });
        }
        self.size += total;
        Ok(())
    }

    /// Cuts off half a record that an earlier call had to leave.
    fn heal(&mut self) -> Result<(), Errno> {
        if let Some(size) = self.cut_at {
            retry_on_intr(|| ftruncate(&self.descriptor, size))?;
            self.size = size;
            self.cut_at = None;
        }
        Ok(())
    }

    /// Makes what was written durable. After an error the file must not be trusted again: close it.
    pub(crate) fn sync(&mut self) -> Result<(), Errno> {
        if self.dirty {
            retry_on_intr(|| fdatasync(&self.descriptor))?;
            self.dirty = false;
        }
        Ok(())
    }

    /// Takes back what was written beyond that size, as far as the system allows.
    pub(crate) fn take_back(&mut self, size: u64) {
        if size < self.size {
            self.cut_at = Some(size);
            let _ = self.heal();
        }
    }

    /// Mode and owner, for the file that follows this one.
    pub(crate) fn stat(&self) -> Result<Stat, Errno> {
        fstat(&self.descriptor)
    }

    /// Gives this file the mode and owner of another.
    pub(crate) fn inherit(&self, from: &Stat) {
        crate::folder::inherit(&self.descriptor, from);
    }
}

fn size_of(stat: &Stat) -> u64 {
    u64::try_from(stat.st_size).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RUN: Run<'static> = Run { data: b"##ab\nc\n\nlong\n", start: 2, ends: &[5, 7, 8, 13] };

    #[test]
    fn a_run_counts_whole_records_only() {
        for (bytes, records) in [(0, 0), (2, 0), (3, 1), (4, 1), (5, 2), (6, 3), (10, 3), (11, 4), (99, 4)] {
            assert_eq!(RUN.records_within(bytes), records, "{bytes} bytes");
        }
        assert_eq!(RUN.bytes(), b"ab\nc\n\nlong\n");
        assert_eq!(RUN.take(2).bytes(), b"ab\nc\n");
        assert_eq!(RUN.skip(2).bytes(), b"\nlong\n");
        assert_eq!(RUN.skip(0).bytes(), RUN.bytes());
        assert_eq!(RUN.skip(4).bytes(), b"");
        assert_eq!(RUN.skip(1).take(2).bytes(), b"c\n\n");
        assert_eq!(RUN.skip(3).bytes_of(1), 5);
    }
}
