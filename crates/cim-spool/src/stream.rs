//! One FIFO of records: appending and rotating.
//!
//! Owns the end of a stream where records come in, and its byte limit. Leaves out the other end (`retention`), and
//! when to sync. Invariants: an append is visible whole or not at all; a failed one gives every record back.

use std::{
    io,
    sync::{Arc, Mutex, Weak},
};

use crate::{
    cursors::{self, Cursors, Positions},
    error::AppendError,
    files::SpoolFile,
    format::{BLOCK, MAX_FRAME, SegmentHeader, name_hash},
    frame::{Frame, FrameBuf, OVERHEAD},
    meta::random_u64,
    pool::FramePool,
    reader::Reader,
    retention::BeforeShedding,
    segments::{Segment, Segments},
    spool::{Home, StreamOptions},
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

/// One bounded FIFO. Not shared: one owner appends and acknowledges; any number of [`Reader`]s read beside it.
pub struct Stream {
    pub(crate) home: Home,
    pub(crate) options: StreamOptions,
    pub(crate) segments: Arc<Segments>,
    pub(crate) active: Option<Active>,
    /// Where consumers are; their files may be behind.
    pub(crate) positions: Positions,
    pub(crate) cursors: Arc<Mutex<Cursors>>,
    /// Behind every position and out of the list, oldest first; their files are still there.
    pub(crate) leaving: Vec<Segment>,
    pub(crate) dirty: Dirty,
    pub(crate) syncing: Weak<()>,
    pub(crate) synced: Option<u64>,
    pub(crate) before_shedding: Option<BeforeShedding>,
    pool: FramePool,
}

impl Drop for Stream {
    /// A job that runs ends first; none begins after that.
    fn drop(&mut self) {
        cursors::lock(&self.cursors).close();
    }
}

impl Stream {
    pub(crate) fn assembled(
        home: Home,
        mut options: StreamOptions,
        segments: Arc<Segments>,
        active: Option<Active>,
        cursors: Cursors,
    ) -> Self {
        options.segment_bytes = options.segment_bytes.min(options.max_bytes / 4).max(MIN_SEGMENT);
        let dirty = Dirty::everything(&segments.lock().list);
        Self {
            home,
            options,
            segments,
            active,
            positions: cursors.positions(),
            cursors: Arc::new(Mutex::new(cursors)),
            leaving: Vec::new(),
            dirty,
            syncing: Weak::new(),
            synced: None,
            before_shedding: None,
            pool: FramePool::default(),
        }
    }

    /// Makes an empty stream go on at a sequence, when its records took their numbers elsewhere before. Does nothing
    /// once something is stored, and never goes back.
    pub fn start_at(&mut self, seq: u64) {
        let mut state = self.segments.lock();
        if state.list.is_empty() {
            state.next_seq = state.next_seq.max(seq);
            state.shed_through = state.next_seq.saturating_sub(1);
        }
    }

    /// Goes on at a later sequence, in a new segment: the records up to there had their numbers, and will never be stored.
    /// Readers report them lost, in this run and the next ones. Does nothing when the stream is there already.
    ///
    /// # Errors
    /// [`AppendError::Full`] or the reason why the segment cannot be made; the stream goes on where it was.
    pub fn skip_to(&mut self, seq: u64) -> Result<(), AppendError> {
        if seq <= self.next_seq() {
            return Ok(());
        }
        self.check_limit(BLOCK as u64, 0)?;
        // One without records stays too: it hides what a file before it may hold of these sequences, from before a power cut.
        self.active = None;
        self.open_segment(seq).map_err(AppendError::from_io)?;
        let mut state = self.segments.lock();
        state.next_seq = seq;
        if state.list.len() == 1 {
            state.shed_through = seq.saturating_sub(1);
        }
        // Empty as it is, it has to be synced: without it the numbers would be given again.
        if let (Some(active), Some(last)) = (self.active.as_mut(), state.list.back()) {
            active.dirty = true;
            self.dirty.add(last.serial, last.first_seq, Arc::clone(&active.file));
        }
        Ok(())
    }

    /// Sequence of the next record.
    pub fn next_seq(&self) -> u64 {
        self.segments.lock().next_seq
    }

    /// Oldest sequence still stored; equal to [`next_seq`](Self::next_seq) when none is.
    pub fn first_seq(&self) -> u64 {
        self.segments.lock().first_seq()
    }

    /// Bytes of all segments, those included that are free but whose files are not removed yet.
    pub fn bytes(&self) -> u64 {
        self.segments.lock().bytes + self.leaving.iter().map(|segment| segment.len).sum::<u64>()
    }

    /// The limit of [`bytes`](Self::bytes).
    pub fn max_bytes(&self) -> u64 {
        self.options.max_bytes
    }

    /// Most bytes of a record in a frame of its own that there is room for when nothing else is stored. A larger one is
    /// [`Full`](AppendError::Full) or [`TooLarge`](AppendError::TooLarge) whatever is shed for it.
    pub fn largest_record(&self) -> u64 {
        let room = self.options.max_bytes.saturating_sub(BLOCK as u64) / BLOCK as u64 * BLOCK as u64;
        room.min(MAX_FRAME as u64).saturating_sub(OVERHEAD as u64)
    }

    /// Number of segments; one that is free does not count, though its file may still be there.
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
        self.pool.buffer(target)
    }

    /// Keeps the memory of a frame for a later [`buffer`](Self::buffer), once nobody else holds it.
    pub fn reuse(&mut self, frame: Frame) {
        self.pool.reuse(frame);
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
        let mut written = self.write_frame(&mut buf, extra);
        let again = match &written {
            Err(AppendError::NoSpace(_)) => self.trim() > 0,
            // The segment is as large as a file may become here (RLIMIT_FSIZE): it is sealed, and the next one has room.
            Err(AppendError::Io(error)) => error.kind() == io::ErrorKind::FileTooLarge,
            _ => false,
        };
        if again {
            written = self.write_frame(&mut buf, extra);
        }
        match written {
            Ok(first_seq) => {
                let (frame, memory) = buf.freeze(first_seq);
                self.pool.keep(memory);
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
        let opens = self
            .active
            .as_ref()
            .is_none_or(|active| active.len > BLOCK as u64 && active.len + need > self.options.segment_bytes);
        self.check_limit(if opens { need + BLOCK as u64 } else { need }, extra)?;
        if opens {
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
        if !self.positions.is_empty() && self.lowest_position() >= self.next_seq() {
            self.seal();
        }
        self.trim();
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

    pub(crate) fn open_segment(&mut self, first_seq: u64) -> io::Result<()> {
        let active = self.create_segment(first_seq, &[])?;
        let mut state = self.segments.lock();
        // One that holds no sequence (it could not be read) has lost its name to the new one.
        if let Some(nameless) = state.list.back().copied().filter(|last| last.first_seq == first_seq) {
            state.remove(nameless.serial);
            self.dirty.forget(nameless.serial);
        }
        state.insert(first_seq, Some(active.id), active.len);
        drop(state);
        self.active = Some(active);
        self.home.reserve.restore();
        Ok(())
    }

    /// Writes a segment file under a temporary name and moves it into place, so that a named segment has a header.
    fn create_segment(&mut self, first_seq: u64, frames: &[Frame]) -> io::Result<Active> {
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
        let write = |file: &dyn SpoolFile| -> io::Result<u64> {
            file.write_at(0, &header.encode())?;
            let (mut at, mut bytes) = (BLOCK as u64, Vec::new());
            for frame in frames {
                bytes.clear();
                frame.restamp(id, &mut bytes);
                file.write_at(at, &bytes)?;
                at += bytes.len() as u64;
            }
            layer.rename(&fresh, &self.segments.path(first_seq))?;
            Ok(at)
        };
        let file = layer.create(&fresh)?;
        let len = write(file.as_ref()).inspect_err(|_| {
            let _ = layer.unlink(&fresh);
        })?;
        self.dirty.names = true;
        Ok(Active { file, id, len, dirty: false })
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
        let active = self.create_segment(first_seq, frames).map_err(AppendError::from_io)?;
        self.active = None;
        let mut state = self.segments.lock();
        while let Some(replaced) = state.list.back().copied().filter(|last| last.first_seq >= first_seq) {
            state.remove(replaced.serial);
            self.dirty.forget(replaced.serial);
            if replaced.first_seq > first_seq {
                let _ = self.segments.layer.unlink(&self.segments.path(replaced.first_seq));
            }
        }
        let serial = state.insert(first_seq, Some(active.id), active.len);
        self.dirty.add(serial, first_seq, Arc::clone(&active.file));
        self.active = Some(Active { dirty: true, ..active });
        Ok(())
    }

    /// A reader from `from_seq` on, with a position of its own.
    pub fn reader(&self, from_seq: u64) -> Reader {
        Reader::new(Arc::clone(&self.segments), from_seq)
    }
}
