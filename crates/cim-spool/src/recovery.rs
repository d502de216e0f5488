//! Opening a stream after whatever happened to it.
//!
//! Owns the way from file names to a [`Stream`]: headers of all segments, frames of the last one only. Leaves out
//! damage inside earlier segments, which readers find and count. Invariants: nothing changes before every file is
//! known to be of a readable version; running it twice, or half and then again, gives the same stream.

use std::{io, path::PathBuf, sync::Arc};

use crate::{
    aside,
    cursor::{self, Loaded},
    cursors::Cursors,
    error::OpenError,
    files::SpoolFile,
    format::{
        BLOCK, Decoded, FIRST_SEQ, SegmentHeader, VERSION, name_hash, padded, parse_segment_name,
        segment_name,
    },
    meta::read_header,
    segments::Segments,
    spool::{Home, StreamOptions},
    stream::{Active, Stream},
    walker::{Step, Walker},
};

/// Why records are gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LossReason {
    /// Checksums or headers do not fit.
    Damaged,
    /// Neither the records nor a trace of them is there: files removed, or lost with the machine's power.
    Missing,
    /// The disk cannot read them.
    Unreadable,
    /// Removed on purpose, to make room or by age.
    Shed,
    /// Cut off at the end of the last segment: a write that was under way when the process or machine died.
    TornTail,
}

/// Something that recovery had to give up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Loss {
    /// Why.
    pub reason: LossReason,
    /// Records, as far as an intact header told; 0 where none did.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// What opening a stream found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Oldest stored sequence; equal to `next_seq` when nothing is stored.
    pub first_seq: u64,
    /// Sequence of the next record.
    pub next_seq: u64,
    /// Bytes of all segments.
    pub recovered_bytes: u64,
    /// Bytes cut from the end of the last segment.
    pub truncated_bytes: u64,
    /// What the tail lost. Losses elsewhere are reported by the reader that comes to them.
    pub lost: Vec<Loss>,
    /// Segments of another pod, stream or spool, and second copies, moved to where they are not read.
    pub set_aside: Vec<PathBuf>,
    /// Names of the cursors that have a file. One that is not used any more holds segments back until
    /// [`Stream::retire_cursor`].
    pub cursors: Vec<String>,
}

struct Found {
    name: String,
    bytes: u64,
    header: Option<SegmentHeader>,
    first_seq: u64,
}

/// What scanning the last segment found.
struct Tail {
    file: Arc<dyn SpoolFile>,
    /// Bytes up to the end of the last frame that is kept.
    end: u64,
    size: u64,
    next_seq: u64,
    frames: u64,
    clean: bool,
    claimed: u64,
}

/// Opens the stream.
pub(crate) fn recover(home: Home, options: StreamOptions) -> Result<(Stream, Recovery), OpenError> {
    let dir = home.dir.join(options.name);
    home.layer.create_dir(&dir).map_err(OpenError::io("create", &dir))?;
    let entries = home.layer.list(&dir).map_err(OpenError::io("list", &dir))?;
    let mut found = Vec::new();
    let mut cursor_names = Vec::new();
    for entry in &entries {
        if let Some(name) = entry.name.strip_suffix(".cursor") {
            cursor_names.push(name.to_owned());
        } else if parse_segment_name(&entry.name).is_some() || entry.name.ends_with(".moved") {
            found.push((entry.name.clone(), entry.bytes));
        }
    }
    let mut work = Recoverer { home, options, dir, aside: None, report: Recovery::default() };
    let found = work.read_headers(found)?;
    let cursors = work.load_cursors(cursor_names)?;
    // Only now is everything known to be readable: from here on files change.
    for entry in entries.iter().filter(|entry| entry.name.ends_with(".tmp")) {
        let _ = work.home.layer.unlink(&work.dir.join(&entry.name));
    }
    let ours = work.sort_out(found)?;
    Ok(work.assemble(ours, cursors))
}

struct Recoverer {
    home: Home,
    options: StreamOptions,
    dir: PathBuf,
    /// Where this recovery puts what is not ours; made when there is something.
    aside: Option<PathBuf>,
    report: Recovery,
}

impl Recoverer {
    fn read_headers(&self, names: Vec<(String, u64)>) -> Result<Vec<Found>, OpenError> {
        let mut found = Vec::with_capacity(names.len());
        for (name, bytes) in names {
            let path = self.dir.join(&name);
            let header = match read_header(self.home.layer.as_ref(), &path) {
                Decoded::Newer(found) => {
                    return Err(OpenError::NewerFormat { path, found, supported: VERSION });
                }
                Decoded::Valid(header) => Some(header),
                Decoded::Damaged => None,
            };
            let named = parse_segment_name(&name);
            if let Some(first_seq) = header.map(|header| header.first_seq).or(named) {
                found.push(Found { name, bytes, header, first_seq });
            }
        }
        Ok(found)
    }

    fn load_cursors(&mut self, mut names: Vec<String>) -> Result<Cursors, OpenError> {
        names.sort();
        let mut cursors = Cursors::new(&self.home, self.dir.clone(), self.options.name);
        let stream = name_hash(self.options.name);
        for name in names {
            let path = self.dir.join(format!("{name}.cursor"));
            let loaded = self.home.layer.open(&path, true).and_then(|file| {
                let loaded = cursor::load(file.as_ref(), self.home.epoch, stream)?;
                Ok((file, loaded))
            });
            match loaded {
                Ok((_, Loaded::Newer(found))) => {
                    return Err(OpenError::NewerFormat { path, found, supported: VERSION });
                }
                Ok((file, Loaded::Position(slot))) => {
                    cursors.load(Arc::from(&*name), file, slot);
                    self.report.cursors.push(name);
                }
                // A damaged or unreadable cursor starts over: duplicates instead of losses.
                Ok((_, Loaded::Nothing)) | Err(_) => {}
            }
        }
        Ok(cursors)
    }

    /// Puts foreign segments aside and wrongly named ones where they belong; returns ours in order.
    fn sort_out(&mut self, found: Vec<Found>) -> Result<Vec<Found>, OpenError> {
        let stream = name_hash(self.options.name);
        let (mut ours, mut moved) = (Vec::new(), Vec::new());
        for (index, mut segment) in found.into_iter().enumerate() {
            let foreign = segment.header.is_some_and(|header| {
                (header.epoch, header.identity, header.stream)
                    != (self.home.epoch, self.home.identity, stream)
            });
            if foreign {
                self.put_aside(&segment.name)?;
            } else if segment.name == segment_name(segment.first_seq) {
                ours.push(segment);
            } else {
                // Two steps, so that two segments with exchanged names do not overwrite each other.
                let parked = format!("{index}-{:020}.moved", segment.first_seq);
                self.rename(&segment.name, &parked)?;
                segment.name = parked;
                moved.push(segment);
            }
        }
        for mut segment in moved {
            let name = segment_name(segment.first_seq);
            if ours.iter().any(|other: &Found| other.first_seq == segment.first_seq) {
                self.put_aside(&segment.name)?;
            } else {
                self.rename(&segment.name, &name)?;
                segment.name = name;
                ours.push(segment);
            }
        }
        ours.sort_by_key(|segment| segment.first_seq);
        Ok(ours)
    }

    fn put_aside(&mut self, name: &str) -> Result<(), OpenError> {
        let layer = self.home.layer.as_ref();
        let place = match &self.aside {
            Some(place) => place.clone(),
            None => {
                let place = aside::new_place(layer, &self.home.dir, self.home.epoch)
                    .map(|place| place.join(self.options.name));
                let place = place.map_err(OpenError::io("set aside from", &self.dir))?;
                layer.create_dir(&place).map_err(OpenError::io("create", &place))?;
                self.aside.insert(place).clone()
            }
        };
        let (from, to) = (self.dir.join(name), place.join(name));
        layer.rename(&from, &to).map_err(OpenError::io("rename", &from))?;
        self.report.set_aside.push(to);
        Ok(())
    }

    fn rename(&self, from: &str, to: &str) -> Result<(), OpenError> {
        let from = self.dir.join(from);
        self.home.layer.rename(&from, &self.dir.join(to)).map_err(OpenError::io("rename", &from))
    }

    fn assemble(mut self, mut ours: Vec<Found>, cursors: Cursors) -> (Stream, Recovery) {
        let segments = Segments::new(Arc::clone(&self.home.layer), self.dir.clone(), FIRST_SEQ);
        let mut active = None;
        let mut next_seq = cursors.positions().into_values().max().unwrap_or(FIRST_SEQ);
        while let Some(last) = ours.pop() {
            let Ok(tail) = self.scan(&last) else {
                // Unreadable for now: readers report what they cannot read.
                next_seq = next_seq.max(last.first_seq);
                ours.push(last);
                break;
            };
            if last.header.is_none() && tail.frames == 0 {
                self.drop_tail(&tail, tail.size);
                let _ = self.home.layer.unlink(&self.dir.join(&last.name));
                continue;
            }
            let reusable = self.cut(&tail);
            let appendable = reusable && tail.next_seq >= next_seq && tail.end < self.options.segment_bytes;
            next_seq = next_seq.max(tail.next_seq);
            if let Some(header) = last.header.filter(|_| appendable) {
                active = Some(Active::reopened(tail.file, header.id, tail.end));
            }
            ours.push(Found { bytes: tail.end, ..last });
            break;
        }
        {
            let mut state = segments.lock();
            state.next_seq = next_seq;
            for segment in ours {
                let id = segment.header.map(|header| header.id as u32);
                state.insert(segment.first_seq, id, segment.bytes);
            }
            self.report.first_seq = state.first_seq();
            self.report.next_seq = next_seq;
            self.report.recovered_bytes = state.bytes;
        }
        let stream = Stream::assembled(self.home, self.options, Arc::new(segments), active, cursors);
        (stream, self.report)
    }

    fn scan(&self, segment: &Found) -> io::Result<Tail> {
        let path = self.dir.join(&segment.name);
        let file = self.home.layer.open(&path, true).or_else(|_| self.home.layer.open(&path, false))?;
        let size = file.size()?;
        let id = segment.header.map(|header| header.id as u32);
        let mut walker = Walker::new(Arc::clone(&file), id, segment.first_seq);
        walker.bound(size, u64::MAX);
        let start = size.min(BLOCK as u64);
        let mut tail =
            Tail { file, end: start, size, next_seq: segment.first_seq, frames: 0, clean: true, claimed: 0 };
        let mut failures = 0;
        loop {
            match walker.step() {
                Ok(Step::End) => break,
                Ok(Step::Frame(frame)) => {
                    tail.next_seq = frame.last_seq() + 1;
                    tail.end = walker.offset();
                    tail.frames += 1;
                    tail.claimed = 0;
                }
                // Its sequences are known and must not be given out again: it stays, for readers to count.
                Ok(Step::BadBody { .. }) => {
                    tail.next_seq = walker.follows();
                    tail.end = walker.offset();
                    tail.frames += 1;
                    tail.clean = false;
                }
                Ok(Step::Skipped { claimed, .. }) => {
                    tail.claimed = claimed;
                    // Damage in the middle, or the end: known only when a frame follows.
                    tail.clean &= walker.offset() >= size;
                }
                Err(error) if failures > 3 => return Err(error),
                Err(_) => failures += 1,
            }
        }
        Ok(tail)
    }

    /// Cuts a torn tail; true when the segment may be appended to.
    fn cut(&mut self, tail: &Tail) -> bool {
        let aligned = padded(tail.end) == tail.end;
        if tail.size == tail.end && aligned {
            return tail.clean;
        }
        self.drop_tail(tail, tail.size.saturating_sub(tail.end));
        let done = tail.file.truncate(padded(tail.end)).and_then(|()| tail.file.sync_data());
        done.is_ok() && tail.clean
    }

    fn drop_tail(&mut self, tail: &Tail, bytes: u64) {
        if bytes == 0 {
            return;
        }
        self.report.truncated_bytes += bytes;
        self.report.lost.push(Loss { reason: LossReason::TornTail, records: tail.claimed, bytes });
    }
}
