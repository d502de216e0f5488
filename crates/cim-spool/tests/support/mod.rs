//! A small spool on a simulated disk whose layout the test knows, and a reading that accounts for every sequence.

#![allow(dead_code, reason = "each test file uses its part")]

use std::{
    collections::BTreeMap,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use cim_spool::{
    FrameBuf, LossReason, OpenError, Read, Recovery, SimFiles, Spool, SpoolOptions, Stream, StreamOptions,
};

pub const DIR: &str = "/spool";

pub fn options() -> SpoolOptions {
    SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new(DIR, "demo/demo-0") }
}

pub fn stream_options() -> StreamOptions {
    StreamOptions::new("logs", 1024, 64 << 10)
}

pub fn try_open(disk: &SimFiles) -> Result<(Spool, Stream, Recovery), OpenError> {
    let mut spool = Spool::open(Arc::new(disk.clone()), options())?;
    let (stream, recovery) = spool.stream(stream_options())?;
    Ok((spool, stream, recovery))
}

pub fn open(disk: &SimFiles) -> (Spool, Stream, Recovery) {
    try_open(disk).unwrap()
}

pub fn record(seq: u64) -> Vec<u8> {
    format!("record {seq} {}", "x".repeat((seq as usize * 37) % 150)).into_bytes()
}

pub fn buf_of(seqs: Range<u64>) -> FrameBuf {
    let mut buf = FrameBuf::with_target(1024);
    for seq in seqs {
        buf.push(&[&record(seq)]);
    }
    buf
}

pub fn append(stream: &mut Stream, count: u64) {
    let next = stream.next_seq();
    stream.append(buf_of(next..next + count)).map_err(|(error, _)| error).unwrap();
}

/// One frame of the layout: where it lies, and what is in it.
#[derive(Debug, Clone)]
pub struct Placed {
    pub path: PathBuf,
    pub header: Range<usize>,
    pub body: Range<usize>,
    pub seqs: Range<u64>,
}

/// Four segments or more of a few frames each.
pub fn small_spool(disk: &SimFiles) -> Vec<Placed> {
    let (_spool, mut stream, _) = open(disk);
    let mut frames = Vec::new();
    for index in 0..16u64 {
        let first = stream.next_seq();
        let count = 1 + index % 3;
        let body: usize =
            (first..first + count).map(|seq| varint(record(seq).len()) + record(seq).len()).sum();
        append(&mut stream, count);
        let path = segments(disk).pop().unwrap();
        let len = disk.contents(&path).unwrap().len();
        let start = len - (32 + body).div_ceil(64) * 64;
        let header = start..start + 32;
        frames.push(Placed { path, header, body: start + 32..start + 32 + body, seqs: first..first + count });
    }
    assert!(segments(disk).len() >= 4);
    frames
}

fn varint(len: usize) -> usize {
    if len < 128 { 1 } else { 2 }
}

pub fn segments(disk: &SimFiles) -> Vec<PathBuf> {
    disk.paths().into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "seg")).collect()
}

pub fn snapshot(disk: &SimFiles) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.paths().into_iter().map(|path| (path.clone(), disk.contents(&path).unwrap())).collect()
}

pub fn restored(files: &BTreeMap<PathBuf, Vec<u8>>) -> SimFiles {
    let disk = SimFiles::new(1);
    for (path, bytes) in files {
        disk.put(path, bytes.clone());
    }
    disk
}

/// Reads everything from `from`: every sequence comes once, in order, as itself. Returns the lost ones.
pub fn read_all(stream: &Stream, from: u64) -> Vec<(u64, LossReason)> {
    let mut reader = stream.reader(from);
    let (mut next, mut lost) = (from, Vec::new());
    for _ in 0..10_000 {
        match reader.next().unwrap() {
            Read::CaughtUp => {
                assert_eq!(next, stream.next_seq());
                return lost;
            }
            Read::Frame(frame) => {
                assert_eq!(frame.first_seq(), next);
                for (seq, bytes) in frame.records() {
                    assert_eq!(bytes, record(seq), "record {seq}");
                    next = seq + 1;
                }
            }
            Read::Lost { first_seq, last_seq, reason } => {
                assert!(first_seq == next && last_seq >= first_seq, "{first_seq}-{last_seq} at {next}");
                lost.extend((first_seq..=last_seq).map(|seq| (seq, reason)));
                next = last_seq + 1;
            }
        }
    }
    panic!("the reader does not come to an end");
}

pub fn stream_file(name: &str) -> PathBuf {
    Path::new(DIR).join("logs").join(name)
}
