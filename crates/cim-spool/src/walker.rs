//! One pass over the frames of one segment file, damage included.
//!
//! Owns finding frames and checking them; leaves out sequences that lie in other files. Invariants: every step
//! moves forward or ends; what it returns as a frame carried a good header CRC, a good body CRC, this segment's
//! id and a sequence that follows; only `len` bytes of the file are ever looked at.

use std::{io, sync::Arc};

use bytes::Bytes;

use crate::{
    files::SpoolFile,
    format::{BLOCK, FRAME_HEADER, FrameHeader},
    frame::Frame,
};

/// Bytes read ahead at once.
const READ_AHEAD: usize = 1 << 20;
/// Unit of salvage after a read error.
const PAGE: usize = 4096;
/// Failed reads of one place that are reported before the place is salvaged page by page.
const READ_ATTEMPTS: u32 = 3;

/// What one step found.
#[derive(Debug)]
pub(crate) enum Step {
    /// An intact frame.
    Frame(Frame),
    /// An intact header whose body is damaged; the frame was passed over.
    BadBody { bytes: u64 },
    /// Bytes without an intact header were passed over. `claimed` records were announced by a header whose body
    /// is cut off by the end of the file.
    Skipped { bytes: u64, claimed: u64 },
    /// The end, or where the next segment takes over.
    End,
}

/// See the module documentation.
pub(crate) struct Walker {
    file: Arc<dyn SpoolFile>,
    id: Option<u32>,
    /// Offset of the next frame.
    at: u64,
    /// Lowest sequence the next frame may start with.
    follows: u64,
    /// Bytes of the file that count.
    len: u64,
    /// Frames from this sequence on belong to the next segment.
    end_seq: u64,
    window: Bytes,
    window_at: u64,
    failures: u32,
    unreadable: bool,
}

impl Walker {
    pub fn new(file: Arc<dyn SpoolFile>, id: Option<u32>, first_seq: u64) -> Self {
        Self {
            file,
            id,
            at: BLOCK as u64,
            follows: first_seq,
            len: 0,
            end_seq: u64::MAX,
            window: Bytes::new(),
            window_at: 0,
            failures: 0,
            unreadable: false,
        }
    }

    /// Sets what is committed by now.
    pub fn bound(&mut self, len: u64, end_seq: u64) {
        self.len = len;
        self.end_seq = end_seq;
    }

    /// Offset behind the last frame or damage passed.
    pub fn offset(&self) -> u64 {
        self.at
    }

    /// Lowest sequence the next frame may start with.
    pub fn follows(&self) -> u64 {
        self.follows
    }

    /// Whether some bytes could not be read since the last call.
    pub fn take_unreadable(&mut self) -> bool {
        std::mem::take(&mut self.unreadable)
    }

    /// Moves over frames that end before `seq`, looking at headers only. One that cannot be read is left to
    /// [`step`](Self::step), which counts the attempts.
    pub fn hop(&mut self, seq: u64) {
        let mut bytes = [0u8; FRAME_HEADER];
        while self.at < self.len
            && self.file.read_at(self.at, &mut bytes).is_ok_and(|read| read == FRAME_HEADER)
        {
            match self.accept(&bytes) {
                Some(header) if header.end_seq() <= seq && self.fits(self.at, &header) => self.pass(&header),
                _ => break,
            }
        }
    }

    /// The next thing in the file.
    ///
    /// # Errors
    /// The read error; the call may be repeated, and after some repetitions goes on behind the bad place.
    pub fn step(&mut self) -> io::Result<Step> {
        if self.at >= self.len {
            return Ok(Step::End);
        }
        let bytes = self.fetch(self.at, FRAME_HEADER)?;
        let Some(header) = self.accept(&bytes) else { return self.resync(0) };
        if header.first_seq >= self.end_seq {
            return Ok(Step::End);
        }
        if !self.fits(self.at, &header) {
            return self.resync(u64::from(header.count));
        }
        let bytes = self.fetch(self.at, FRAME_HEADER + header.body_len as usize)?;
        self.id = Some(header.segment);
        self.pass(&header);
        let intact = bytes.get(FRAME_HEADER..).map(crc32c::crc32c) == Some(header.body_crc);
        match Frame::verified(&header, bytes) {
            Some(frame) if intact => Ok(Step::Frame(frame)),
            _ => Ok(Step::BadBody { bytes: header.disk_len() }),
        }
    }

    /// An intact header of this pass: right segment, right order.
    fn accept(&self, bytes: &[u8]) -> Option<FrameHeader> {
        let header = FrameHeader::decode(bytes)?;
        let ours = self.id.is_none_or(|id| id == header.segment);
        (ours && header.first_seq >= self.follows).then_some(header)
    }

    fn fits(&self, at: u64, header: &FrameHeader) -> bool {
        at + FRAME_HEADER as u64 + u64::from(header.body_len) <= self.len
    }

    fn pass(&mut self, header: &FrameHeader) {
        self.at += header.disk_len();
        self.follows = header.end_seq();
    }

    /// Looks for the next intact header on a frame boundary.
    fn resync(&mut self, claimed: u64) -> io::Result<Step> {
        let from = self.at;
        let mut at = from + BLOCK as u64;
        while at < self.len {
            let bytes = self.fetch(at, FRAME_HEADER)?;
            if self.accept(&bytes).is_some_and(|header| self.fits(at, &header)) {
                break;
            }
            at += BLOCK as u64;
        }
        self.at = at;
        Ok(Step::Skipped { bytes: at.min(self.len) - from, claimed })
    }

    /// Up to `len` bytes at `at`, less only at the end.
    fn fetch(&mut self, at: u64, len: usize) -> io::Result<Bytes> {
        let have = at.checked_sub(self.window_at).and_then(|start| usize::try_from(start).ok());
        if let Some(start) = have
            && start + len <= self.window.len()
        {
            return Ok(self.window.slice(start..start + len));
        }
        let left = usize::try_from(self.len.saturating_sub(at)).unwrap_or(usize::MAX);
        let mut into = vec![0u8; len.max(READ_AHEAD).min(left)];
        match self.file.read_at(at, &mut into) {
            Ok(read) => into.truncate(read),
            Err(error) => {
                self.failures += 1;
                if self.failures < READ_ATTEMPTS || !self.salvage(at, &mut into) {
                    return Err(error);
                }
                self.unreadable = true;
            }
        }
        self.failures = 0;
        self.window = Bytes::from(into);
        self.window_at = at;
        Ok(self.window.slice(..len.min(self.window.len())))
    }

    /// Reads page by page, a bad page as zeros; false when the whole file is out of reach, which is a lost device
    /// and not a damaged record.
    fn salvage(&self, at: u64, into: &mut [u8]) -> bool {
        let mut probe = [0u8; BLOCK];
        let mut alive = self.file.read_at(0, &mut probe).is_ok();
        let mut offset = at;
        for page in into.chunks_mut(PAGE) {
            match self.file.read_at(offset, page) {
                Ok(_) => alive = true,
                Err(_) => page.fill(0),
            }
            offset += page.len() as u64;
        }
        alive
    }
}
