//! One FIFO of records: appending, rotating, forgetting.
//!
//! Owns the segments of a stream, its cursors and its byte limit. Leaves out when to sync and what to do when full.
//! Invariants: an append is visible whole or not at all; a failed one gives every record back; a segment leaves
//! only when every cursor is behind it, or by a call that says so.

use std::{
    collections::BTreeMap,
    io,
    path::PathBuf,
    sync::{Arc, Weak},
    time::SystemTime,
};

use crate::{
    cursor::Cursor,
    error::{AppendError, OpenError},
    files::SpoolFile,
    format::{BLOCK, MAX_FRAME, SegmentHeader, name_hash},
    frame::{Frame, FrameBuf},
    meta::random_u64,
    reader::Reader,
    recovery::first_slot,
    segments::Segments,
    spool::{Home, StreamOptions, check_name},
    sync::Dirty,
};

const MIN_SEGMENT: u64 = 1024;

/// The segment being written.
pub(crate) struct Active {
    pub file: Arc<dyn SpoolFile>,
    id: u32,
    pub len: u64,
    /// Whether `Dirty` knows of it.
    pub dirty: bool,
}

impl Active {
    /// The last segment of an earlier run.
    pub fn reopened(file: Arc<dyn SpoolFile>, id: u64, len: u64) -> Self {
        Self { file, id: id as u32, len, dirty: false }
    }
}

/// Records that were removed on purpose. Some of them may have been delivered already: compare with the cursors
/// as they were before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shed {
    /// First removed sequence.
    pub first_seq: u64,
    /// Last removed sequence.
    pub last_seq: u64,
    /// Number of removed sequences.
    pub records: u64,
    /// Bytes given back.
    pub bytes: u64,
}

/// One bounded FIFO. Not shared: one owner appends and acknowledges; any number of [`Reader`]s read beside it.
pub struct Stream {
    pub(crate) home: Home,
    pub(crate) options: StreamOptions,
    pub(crate) segments: Arc<Segments>,
    pub(crate) active: Option<Active>,
    pub(crate) cursors: BTreeMap<String, Cursor>,
    pub(crate) dirty: Dirty,
    pub(crate) syncing: Weak<()>,
    pub(crate) synced: Option<u64>,
    spare: Option<Vec<u8>>,
}

impl Stream {
    pub(crate) fn assembled(
        home: Home,
        mut options: StreamOptions,
        segments: Arc<Segments>,
        active: Option<Active>,
        cursors: BTreeMap<String, Cursor>,
    ) -> Self {
        options.segment_bytes = options.segment_bytes.min(options.max_bytes / 4).max(MIN_SEGMENT);
        let dirty = Dirty::everything(&segments.lock().list);
        Self {
            home,
            options,
            segments,
            active,
            cursors,
            dirty,
            syncing: Weak::new(),
            synced: None,
            spare: None,
        }
    }

    /// Sequence of the next record.
    pub fn next_seq(&self) -> u64 {
        self.segments.lock().next_seq
    }

    /// Oldest sequence still stored; equal to [`next_seq`](Self::next_seq) when none is.
    pub fn first_seq(&self) -> u64 {
        self.segments.lock().first_seq()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.lock().bytes
    }

    /// The limit of [`bytes`](Self::bytes).
    pub fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    /// Number of segment files.
    pub fn segment_count(&self) -> usize {
        self.segments.lock().list.len()
    }

    /// Highest sequence that survives the death of the process; `None` before the first record.
    pub fn written_through(&self) -> Option<u64> {
        self.next_seq().checked_sub(1).filter(|seq| *seq > 0)
    }

    /// Highest sequence that survives the death of the machine, as far as this run has seen to it.
    pub fn synced_through(&self) -> Option<u64> {
        self.synced
    }

    /// An empty buffer, in memory of an earlier one where possible.
    pub fn buffer(&mut self, target: usize) -> FrameBuf {
        match self.spare.take() {
            Some(spare) if spare.capacity() >= target => FrameBuf::over(spare, target),
            _ => FrameBuf::with_target(target),
        }
    }

    /// Keeps the memory of a buffer that is not needed for [`buffer`](Self::buffer).
    pub fn reuse(&mut self, frame: Frame) {
        if self.spare.is_none()
            && let Ok(buf) = FrameBuf::recycle(frame, 128 << 10)
        {
            self.spare = Some(buf.into_memory());
        }
    }

    /// Writes the records with one write and returns them as a frame: at level `written` from here on. The frame
    /// lies in the buffer's memory, or in memory of its own size when the buffer was mostly empty.
    ///
    /// # Errors
    /// The reason, and the buffer with every record. After [`AppendError::Io`] the next append opens a new segment.
    #[allow(clippy::result_large_err, reason = "the refused records travel back with the reason")]
    pub fn append(&mut self, buf: FrameBuf) -> Result<Frame, (AppendError, FrameBuf)> {
        self.append_over(buf, 0)
    }

    /// Like [`append`](Self::append), with `extra` bytes beyond the limit: room for small reads under backpressure.
    ///
    /// # Errors
    /// As for [`append`](Self::append).
    #[allow(clippy::result_large_err, reason = "the refused records travel back with the reason")]
    pub fn append_over(&mut self, mut buf: FrameBuf, extra: u64) -> Result<Frame, (AppendError, FrameBuf)> {
        match self.write_frame(&mut buf, extra) {
            Ok(first_seq) => {
                let (frame, spare) = buf.freeze(first_seq);
                if spare.is_some() {
                    self.spare = spare;
                }
                Ok(frame)
            }
            Err(error) => Err((error, buf)),
        }
    }

    fn write_frame(&mut self, buf: &mut FrameBuf, extra: u64) -> Result<u64, AppendError> {
        if buf.is_empty() {
            return Err(AppendError::NotDue);
        }
        if buf.bytes() > MAX_FRAME {
            return Err(AppendError::TooLarge { bytes: buf.bytes() });
        }
        let need = buf.disk_len();
        self.check_limit(need, extra)?;
        if self
            .active
            .as_ref()
            .is_some_and(|active| active.len > BLOCK as u64 && active.len + need > self.options.segment_bytes)
        {
            self.seal();
        }
        let first_seq = self.next_seq();
        if self.active.is_none() {
            self.open_segment(first_seq).map_err(AppendError::from_io)?;
        }
        let Some(active) = self.active.as_mut() else { return Err(AppendError::NotDue) };
        let written = active.file.write_at(active.len, buf.stamp(first_seq, active.id));
        if let Err(error) = written {
            buf.unstamp();
            // Best effort: readers stop at the committed length, recovery at the first frame that is not whole.
            let _ = active.file.truncate(active.len);
            let error = AppendError::from_io(error);
            if matches!(error, AppendError::Io(_)) {
                self.seal();
            }
            return Err(error);
        }
        active.len += need;
        let mark = !std::mem::replace(&mut active.dirty, true);
        let file = mark.then(|| Arc::clone(&active.file));
        let mut state = self.segments.lock();
        state.extend_last(need, buf.len() as u64);
        if let (Some(file), Some(last)) = (file, state.list.back()) {
            self.dirty.add(last.serial, last.first_seq, file);
        }
        Ok(first_seq)
    }

    fn check_limit(&mut self, need: u64, extra: u64) -> Result<(), AppendError> {
        let limit = self.options.max_bytes.saturating_add(extra);
        if self.bytes() + need <= limit {
            return Ok(());
        }
        // What is delivered but still in the segment being written can go too.
        if !self.cursors.is_empty() && self.lowest_cursor() >= self.next_seq() {
            self.seal();
            self.forget_acknowledged();
        }
        let bytes = self.bytes();
        if bytes + need <= limit {
            return Ok(());
        }
        Err(AppendError::Full { bytes, max_bytes: self.options.max_bytes })
    }

    /// Ends the segment being written; the next append opens another.
    pub(crate) fn seal(&mut self) {
        let Some(active) = self.active.take() else { return };
        if active.len > BLOCK as u64 {
            return;
        }
        // Nothing is in it: its name is needed for the next one.
        let mut state = self.segments.lock();
        if let Some(serial) = state.list.back().map(|last| last.serial)
            && let Some(segment) = state.remove(serial)
        {
            self.dirty.forget(serial);
            let _ = self.segments.layer.unlink(&self.segments.path(segment.first_seq));
        }
    }

    fn open_segment(&mut self, first_seq: u64) -> io::Result<()> {
        let (file, id) = self.create_segment(first_seq, &[])?;
        self.segments.lock().insert(first_seq, Some(id), BLOCK as u64);
        self.active = Some(Active { file, id, len: BLOCK as u64, dirty: false });
        self.home.reserve.restore();
        Ok(())
    }

    /// Writes a segment file under a temporary name and moves it into place, so that a named segment has a header.
    fn create_segment(&mut self, first_seq: u64, frames: &[Frame]) -> io::Result<(Arc<dyn SpoolFile>, u32)> {
        let header = SegmentHeader {
            epoch: self.home.epoch,
            id: random_u64(),
            first_seq,
            identity: self.home.identity,
            stream: name_hash(self.options.name),
        };
        let id = header.id as u32;
        let fresh = self.segments.dir.join("next.tmp");
        let layer = &self.segments.layer;
        let write = |file: &dyn SpoolFile| {
            file.write_at(0, &header.encode())?;
            let (mut at, mut bytes) = (BLOCK as u64, Vec::new());
            for frame in frames {
                bytes.clear();
                frame.restamp(id, &mut bytes);
                file.write_at(at, &bytes)?;
                at += bytes.len() as u64;
            }
            layer.rename(&fresh, &self.segments.path(first_seq))
        };
        let file = layer.create(&fresh)?;
        if let Err(error) = write(file.as_ref()) {
            let _ = layer.unlink(&fresh);
            return Err(error);
        }
        self.dirty.names = true;
        Ok((file, id))
    }

    /// Writes records again, with the sequences they have, into a new segment: the answer to
    /// [`SyncOutcome::Failed`](crate::SyncOutcome::Failed), before anything else is appended. `frames` must be
    /// contiguous and reach the last appended sequence; what lies before them stays where it is.
    ///
    /// # Errors
    /// [`AppendError::NotDue`] when the frames are not such, else the write error; the stream is as before.
    pub fn reappend(&mut self, frames: &[Frame]) -> Result<(), AppendError> {
        let contiguous = frames.windows(2).all(|pair| match pair {
            [left, right] => left.last_seq() + 1 == right.first_seq(),
            _ => false,
        });
        let (Some(first), Some(last)) = (frames.first(), frames.last()) else {
            return Err(AppendError::NotDue);
        };
        if !contiguous || last.last_seq() + 1 != self.next_seq() || first.first_seq() < self.first_seq() {
            return Err(AppendError::NotDue);
        }
        let first_seq = first.first_seq();
        let (file, id) = self.create_segment(first_seq, frames).map_err(AppendError::from_io)?;
        let len = file.size().map_err(AppendError::from_io)?;
        self.active = None;
        let mut state = self.segments.lock();
        while let Some(replaced) = state.list.back().copied().filter(|last| last.first_seq >= first_seq) {
            state.remove(replaced.serial);
            self.dirty.forget(replaced.serial);
            if replaced.first_seq > first_seq {
                let _ = self.segments.layer.unlink(&self.segments.path(replaced.first_seq));
            }
        }
        let serial = state.insert(first_seq, Some(id), len);
        self.dirty.add(serial, first_seq, Arc::clone(&file));
        self.active = Some(Active { file, id, len, dirty: true });
        Ok(())
    }

    /// Removes the oldest segment, also one that is being written, and moves cursors behind it. `None` when nothing
    /// is stored or the disk refuses.
    pub fn shed_oldest(&mut self) -> Option<Shed> {
        if self.segment_count() == 1 {
            self.seal();
        }
        let (segment, end_seq) = {
            let state = self.segments.lock();
            (state.list.front().copied()?, state.end_of(0))
        };
        for cursor in self.cursors.values_mut() {
            cursor.advance(end_seq);
        }
        let _ = self.save_cursors(false);
        self.segments.lock().shed_through = end_seq.saturating_sub(1);
        let shed = Shed {
            first_seq: segment.first_seq,
            last_seq: end_seq.saturating_sub(1),
            records: end_seq - segment.first_seq,
            bytes: segment.len,
        };
        self.unlink_front(segment.serial, segment.first_seq).then_some(shed)
    }

    /// Sheds every segment whose last write is older than [`StreamOptions::max_age`].
    pub fn enforce_age(&mut self, now: SystemTime) -> Vec<Shed> {
        let mut shed = Vec::new();
        let Some(max_age) = self.options.max_age else { return shed };
        loop {
            let Some(oldest) = self.segments.lock().list.front().map(|segment| segment.first_seq) else {
                break;
            };
            let modified = self.segments.layer.modified(&self.segments.path(oldest));
            let age = modified.ok().and_then(|modified| now.duration_since(modified).ok());
            if oldest >= self.next_seq() || age.is_none_or(|age| age <= max_age) {
                break;
            }
            match self.shed_oldest() {
                Some(one) => shed.push(one),
                None => break,
            }
        }
        shed
    }

    /// Next sequence to deliver to the consumer `name`; a new consumer starts with the oldest stored record. It may
    /// lie before [`first_seq`](Self::first_seq): then a reader reports what is missing.
    ///
    /// # Errors
    /// [`OpenError::Name`].
    pub fn cursor(&mut self, name: &str) -> Result<u64, OpenError> {
        check_name(name)?;
        if let Some(cursor) = self.cursors.get(name) {
            return Ok(cursor.next_seq);
        }
        let slot = first_slot(self.home.epoch, self.options.name, self.first_seq());
        let cursor = Cursor::fresh(Arc::clone(&self.segments.layer), self.cursor_path(name), slot);
        self.cursors.insert(name.to_owned(), cursor);
        Ok(slot.next_seq)
    }

    /// The consumer `name` has delivered everything before `next_seq`. Segments behind every cursor are removed,
    /// after the cursors were saved. Returns the bytes given back. A position never moves back, and an unknown name
    /// changes nothing.
    pub fn ack(&mut self, name: &str, next_seq: u64) -> u64 {
        let next_seq = next_seq.min(self.next_seq());
        if let Some(cursor) = self.cursors.get_mut(name) {
            cursor.advance(next_seq);
        }
        self.forget_acknowledged()
    }

    /// Forgets a consumer and its file.
    ///
    /// # Errors
    /// The error of removing the file; the consumer is forgotten for this run in any case.
    pub fn retire_cursor(&mut self, name: &str) -> io::Result<()> {
        let Some(cursor) = self.cursors.remove(name) else { return Ok(()) };
        self.dirty.names = true;
        let removed = match cursor.file() {
            Some(_) => self.segments.layer.unlink(&cursor.path),
            None => Ok(()),
        };
        self.forget_acknowledged();
        removed
    }

    /// Writes changed positions to their files; with `force` all of them, down to the device. When the disk is full,
    /// the reserve is given up for it.
    ///
    /// # Errors
    /// The first error; the other cursors are saved all the same.
    pub fn save_cursors(&mut self, force: bool) -> io::Result<()> {
        let mut result = Ok(());
        for cursor in self.cursors.values_mut().filter(|cursor| force || cursor.is_unsaved()) {
            let mut saved = cursor.save();
            if saved.as_ref().is_err_and(crate::error::is_no_space) && self.home.reserve.release() {
                saved = cursor.save();
            }
            match saved {
                Ok(created) => self.dirty.names |= created,
                Err(error) => {
                    result = result.and(Err(error));
                    continue;
                }
            }
            if let Some(file) = cursor.file() {
                if force {
                    result = result.and(file.sync_data());
                } else if self.options.cursor_sync {
                    self.dirty.cursor(file);
                }
            }
        }
        if force {
            result = result.and(self.segments.layer.sync_dir(&self.segments.dir));
            self.home.reserve.restore();
        }
        result
    }

    /// A reader from `from_seq` on, with a position of its own.
    pub fn reader(&self, from_seq: u64) -> Reader {
        Reader::new(Arc::clone(&self.segments), from_seq)
    }

    fn cursor_path(&self, name: &str) -> PathBuf {
        self.segments.dir.join(format!("{name}.cursor"))
    }

    fn lowest_cursor(&self) -> u64 {
        self.cursors.values().map(|cursor| cursor.next_seq).min().unwrap_or(0)
    }

    fn forget_acknowledged(&mut self) -> u64 {
        let lowest = self.lowest_cursor();
        let mut freed = 0;
        let mut saved = false;
        loop {
            let front = {
                let state = self.segments.lock();
                let writing = self.active.is_some() && state.list.len() == 1;
                state.list.front().copied().filter(|_| !writing && state.end_of(0) <= lowest)
            };
            let Some(segment) = front else { break };
            if !saved {
                // Before the file goes, so that a restart does not take the records for lost. Should it fail, a full
                // disk is the greater harm.
                let _ = self.save_cursors(false);
                saved = true;
            }
            if !self.unlink_front(segment.serial, segment.first_seq) {
                break;
            }
            freed += segment.len;
        }
        freed
    }

    fn unlink_front(&mut self, serial: u64, first_seq: u64) -> bool {
        match self.segments.layer.unlink(&self.segments.path(first_seq)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return false,
            _ => {}
        }
        self.dirty.forget(serial);
        self.segments.lock().remove(serial);
        true
    }
}
