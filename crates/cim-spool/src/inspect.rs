//! Looking into a spool directory from outside, also beside the program that uses it. Takes no lock, changes nothing.
//!
//! Owns the report and the dump; leaves out repair, which opening a stream does. Invariant: a file that vanishes or
//! grows meanwhile is no error, and every frame shown was checked.

use std::{io, ops::ControlFlow, path::Path};

use crate::{
    aside::{self, AsideReport},
    cursor::{self, Loaded},
    error::OpenError,
    files::{DirEntry, FileLayer},
    format::{Decoded, VERSION, name_hash, parse_segment_name},
    meta,
    real::RealFiles,
    walker::{Step, Walker},
};

/// What is in a spool directory.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// `<namespace>/<pod>`; `None` when `spool.meta` is missing or damaged.
    pub identity: Option<String>,
    /// Epoch of the spool, from the same file.
    pub epoch: Option<u64>,
    /// The streams, by name.
    pub streams: Vec<StreamReport>,
    /// Directories with spools of other pods and strange segments.
    pub set_aside: Vec<AsideReport>,
}

/// What is in one stream.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StreamReport {
    /// Its name.
    pub name: String,
    /// Its segments, in order.
    pub segments: Vec<SegmentReport>,
    /// Its cursors, by name.
    pub cursors: Vec<CursorReport>,
    /// Files that are neither: set aside, or left behind.
    pub others: Vec<String>,
}

/// What is in one segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentReport {
    /// File name.
    pub file: String,
    /// Size on disk, in bytes.
    pub bytes: u64,
    /// First sequence, by header or else by name.
    pub first_seq: u64,
    /// Sequence after the last intact record, `first_seq` when there is none.
    pub end_seq: u64,
    /// Whether the header is intact.
    pub header_intact: bool,
    /// Intact frames.
    pub frames: u64,
    /// Intact records.
    pub records: u64,
    /// Records missing between intact ones.
    pub lost_records: u64,
    /// Damaged bytes in front of an intact frame.
    pub damaged_bytes: u64,
    /// Bytes after the last intact frame: a torn write, or one under way.
    pub tail_bytes: u64,
}

/// One cursor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CursorReport {
    /// Name of the consumer.
    pub name: String,
    /// Next sequence to deliver; `None` when the file holds no usable position.
    pub next_seq: Option<u64>,
}

impl Report {
    /// Whether nothing is damaged or missing. A torn tail is no damage: opening the stream cuts it.
    pub fn is_clean(&self) -> bool {
        let segment = |segment: &SegmentReport| {
            segment.header_intact && segment.lost_records == 0 && segment.damaged_bytes == 0
        };
        self.identity.is_some()
            && self.streams.iter().all(|stream| {
                let joined = stream.segments.windows(2).all(|pair| match pair {
                    [left, right] => left.end_seq >= right.first_seq,
                    _ => true,
                });
                joined
                    && stream.segments.iter().all(segment)
                    && stream.cursors.iter().all(|cursor| cursor.next_seq.is_some())
            })
    }
}

/// Examines every file of a spool directory.
///
/// # Errors
/// [`OpenError::NewerFormat`], or a directory that cannot be listed. Damage is part of the report.
pub fn check(dir: &Path) -> Result<Report, OpenError> {
    let layer = &RealFiles;
    let mut report = Report::default();
    let path = meta::meta_path(dir);
    match meta::read_meta(layer, &path)? {
        Decoded::Newer(found) => return Err(OpenError::NewerFormat { path, found, supported: VERSION }),
        Decoded::Valid(meta) => (report.identity, report.epoch) = (Some(meta.identity), Some(meta.epoch)),
        Decoded::Damaged => {}
    }
    report.set_aside = aside::report(layer, dir).map_err(OpenError::io("list", dir))?;
    let mut names = layer.list_dirs(dir).map_err(OpenError::io("list", dir))?;
    names.sort();
    for name in names {
        if !name.starts_with(aside::PREFIX) {
            report.streams.push(check_stream(layer, dir, name, report.epoch)?);
        }
    }
    Ok(report)
}

fn check_stream(
    layer: &dyn FileLayer,
    dir: &Path,
    name: String,
    epoch: Option<u64>,
) -> Result<StreamReport, OpenError> {
    let dir = dir.join(&name);
    let mut stream = StreamReport { name, ..StreamReport::default() };
    for entry in listed(layer, &dir)? {
        let path = dir.join(&entry.name);
        if parse_segment_name(&entry.name).is_some() {
            match check_segment(layer, &path, entry) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                other => stream.segments.push(other.map_err(OpenError::io("read", &path))?),
            }
        } else if let Some(name) = entry.name.strip_suffix(".cursor") {
            let hash = name_hash(&stream.name);
            let loaded = layer
                .open(&path, false)
                .and_then(|file| epoch.map(|epoch| cursor::load(file.as_ref(), epoch, hash)).transpose());
            let next_seq = match loaded {
                Ok(Some(Loaded::Position(slot))) => Some(slot.next_seq),
                _ => None,
            };
            stream.cursors.push(CursorReport { name: name.to_owned(), next_seq });
        } else {
            stream.others.push(entry.name);
        }
    }
    stream.segments.sort_by_key(|segment| segment.first_seq);
    Ok(stream)
}

fn listed(layer: &dyn FileLayer, dir: &Path) -> Result<Vec<DirEntry>, OpenError> {
    let mut entries = layer.list(dir).map_err(OpenError::io("list", dir))?;
    entries.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(entries)
}

fn open_walker(
    layer: &dyn FileLayer,
    path: &Path,
    name: &str,
    size: u64,
) -> io::Result<(Walker, Option<u64>, u64)> {
    let file = layer.open(path, false)?;
    let header = match meta::read_header(layer, path) {
        Decoded::Valid(header) => Some(header),
        _ => None,
    };
    let first_seq = header.map(|header| header.first_seq).or(parse_segment_name(name)).unwrap_or(0);
    let id = header.map(|header| header.id);
    let mut walker = Walker::new(file, id.map(|id| id as u32), first_seq);
    walker.bound(size, u64::MAX);
    Ok((walker, id, first_seq))
}

fn check_segment(layer: &dyn FileLayer, path: &Path, entry: DirEntry) -> io::Result<SegmentReport> {
    let (mut walker, id, first_seq) = open_walker(layer, path, &entry.name, entry.bytes)?;
    let mut report = SegmentReport {
        bytes: entry.bytes,
        file: entry.name,
        first_seq,
        end_seq: first_seq,
        header_intact: id.is_some(),
        ..SegmentReport::default()
    };
    let mut failures = 0;
    loop {
        match walker.step() {
            Ok(Step::End) => break,
            Ok(Step::Frame(frame)) => {
                report.frames += 1;
                report.records += frame.count() as u64;
                report.lost_records += frame.first_seq() - report.end_seq;
                report.end_seq = frame.last_seq() + 1;
                report.damaged_bytes += std::mem::take(&mut report.tail_bytes);
            }
            Ok(Step::BadBody { bytes } | Step::Skipped { bytes, .. }) => report.tail_bytes += bytes,
            Err(error) if failures > 3 => return Err(error),
            Err(_) => failures += 1,
        }
    }
    Ok(report)
}

/// Next sequence of the consumer `name`, as its file says now; `None` when there is no usable position.
///
/// # Errors
/// [`OpenError::Name`], [`OpenError::NewerFormat`], or the file operation that failed.
pub fn position(dir: &Path, stream: &str, name: &str) -> Result<Option<u64>, OpenError> {
    let layer = &RealFiles;
    crate::spool::check_name(stream)?;
    crate::spool::check_name(name)?;
    let path = meta::meta_path(dir);
    let epoch = match meta::read_meta(layer, &path)? {
        Decoded::Newer(found) => return Err(OpenError::NewerFormat { path, found, supported: VERSION }),
        Decoded::Valid(meta) => meta.epoch,
        Decoded::Damaged => return Ok(None),
    };
    let path = dir.join(stream).join(format!("{name}.cursor"));
    let loaded =
        layer.open(&path, false).and_then(|file| cursor::load(file.as_ref(), epoch, name_hash(stream)));
    match loaded {
        Ok(Loaded::Position(slot)) => Ok(Some(slot.next_seq)),
        Ok(Loaded::Newer(found)) => Err(OpenError::NewerFormat { path, found, supported: VERSION }),
        Ok(Loaded::Nothing) => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(OpenError::io("read", &path)(error)),
    }
}

/// Shows the intact records of a stream from `from_seq` on, in order, until `show` breaks off. Returns how many.
///
/// # Errors
/// A directory or file that cannot be read.
pub fn dump(
    dir: &Path,
    stream: &str,
    from_seq: u64,
    mut show: impl FnMut(u64, &[u8]) -> ControlFlow<()>,
) -> Result<u64, OpenError> {
    let layer = &RealFiles;
    crate::spool::check_name(stream)?;
    let dir = dir.join(stream);
    let (mut shown, mut next_seq) = (0, from_seq);
    for entry in listed(layer, &dir)? {
        let path = dir.join(&entry.name);
        if parse_segment_name(&entry.name).is_none() {
            continue;
        }
        let mut walker = match open_walker(layer, &path, &entry.name, entry.bytes) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            other => other.map_err(OpenError::io("open", &path))?.0,
        };
        let mut failures = 0;
        loop {
            walker.hop(next_seq);
            let frame = match walker.step() {
                Ok(Step::End) => break,
                Ok(Step::Frame(frame)) => frame,
                Ok(_) => continue,
                Err(error) if failures > 3 => return Err(OpenError::io("read", &path)(error)),
                Err(_) => {
                    failures += 1;
                    continue;
                }
            };
            let Some(frame) = frame.starting_at(next_seq) else { continue };
            for (seq, record) in frame.records() {
                shown += 1;
                next_seq = seq + 1;
                if show(seq, record).is_break() {
                    return Ok(shown);
                }
            }
        }
    }
    Ok(shown)
}
