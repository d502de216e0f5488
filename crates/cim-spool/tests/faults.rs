//! A full disk and I/O errors at every call of a scripted run: nothing accepted is lost, nothing is half visible.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::{sync::Arc, time::Duration};

use cim_spool::{
    AppendError, Crash, Fault, FrameBuf, LossReason, Read, Reader, SimFiles, Spool, SpoolOptions, Stream,
    StreamOptions,
};
use support::{append, buf_of, open, read_all, record, try_open};

/// Appends, rotates, syncs, acknowledges, as an engine would: a refused buffer is offered again. Returns how many
/// records were accepted.
fn run(stream: &mut Stream) -> u64 {
    let mut refused: Option<FrameBuf> = None;
    for round in 0..12u64 {
        let next = stream.next_seq();
        let buf = refused.take().unwrap_or_else(|| buf_of(next..next + 2));
        assert_eq!(buf.len(), 2);
        match stream.append(buf) {
            Ok(frame) => assert_eq!((frame.first_seq(), frame.count()), (next, 2)),
            Err((AppendError::NoSpace(_) | AppendError::Io(_), buf)) => refused = Some(buf),
            Err((error, _)) => panic!("{error}"),
        }
        if round % 3 == 0
            && let Some(mut job) = stream.begin_sync()
        {
            let result = job.run();
            stream.finish_sync(job, result);
        }
        if round % 4 == 0 {
            stream.ack("sink", stream.next_seq() - 1);
            let _ = stream.save_cursors(false);
        }
    }
    stream.next_seq() - 1
}

fn fails_at_every_call(fault: Fault, more: u64) {
    for nth in 1.. {
        let disk = SimFiles::new(nth);
        disk.fail(nth, more, fault);
        let opened = try_open(&disk).ok();
        let (mut accepted, mut acked) = (0, 1);
        if let Some((_spool, mut stream, _)) = opened {
            stream.cursor("sink").unwrap();
            accepted = run(&mut stream);
            acked = stream.cursor("sink").unwrap();
        }
        let finished = disk.calls() < nth;
        disk.heal();
        disk.crash(Crash::Process);
        let (_spool, mut stream, recovery) = open(&disk);
        let from = stream.cursor("sink").unwrap();
        let context = format!("{fault:?} at call {nth} and {more} more");
        assert!(from <= acked, "{context}");
        assert!(recovery.next_seq > accepted && recovery.next_seq <= accepted + 3, "{context}");
        for (seq, reason) in read_all(&stream, from) {
            assert!(seq < acked, "{context}: accepted record {seq} lost as {reason:?}");
        }
        append(&mut stream, 1);
        if finished {
            return;
        }
    }
}

#[test]
fn a_full_disk_at_every_call() {
    fails_at_every_call(Fault::NoSpace, 0);
    fails_at_every_call(Fault::NoSpace, 5);
}

#[test]
fn an_io_error_at_every_call() {
    fails_at_every_call(Fault::Io, 0);
    fails_at_every_call(Fault::Io, 5);
}

#[test]
fn a_limit_on_the_size_of_files_at_every_call() {
    fails_at_every_call(Fault::FileTooLarge, 0);
    fails_at_every_call(Fault::FileTooLarge, 5);
}

#[test]
fn a_segment_at_the_limit_of_file_size_is_followed_by_another() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    append(&mut stream, 3);
    disk.fail(1, 0, Fault::FileTooLarge);
    append(&mut stream, 2);
    assert_eq!((stream.segment_count(), stream.next_seq()), (2, 6));
    assert_eq!(read_all(&stream, 1), vec![]);
}

#[test]
fn a_full_disk_gives_up_the_reserve_for_cursors() {
    let disk = SimFiles::new(1);
    let options = SpoolOptions { reserve_bytes: 16 << 10, ..SpoolOptions::new("/spool", "demo/demo-0") };
    let mut spool = Spool::open(Arc::new(disk.clone()), options).unwrap();
    let (mut stream, _) = spool.stream(StreamOptions::new("logs", 4096, 1 << 20)).unwrap();
    append(&mut stream, 3);
    stream.cursor("sink").unwrap();
    stream.ack("sink", 3);
    disk.set_capacity(Some(0));
    let refused = stream.append(buf_of(4..6));
    assert!(matches!(refused, Err((AppendError::NoSpace(_), buf)) if buf.len() == 2));
    let used = disk.paths().iter().map(|path| disk.contents(path).unwrap().len() as u64).sum::<u64>();
    disk.set_capacity(Some(used));
    stream.save_cursors(false).unwrap();
    assert!(!disk.paths().iter().any(|path| path.ends_with("reserve")));
    disk.set_capacity(None);
    stream.save_cursors(true).unwrap();
    assert!(disk.paths().iter().any(|path| path.ends_with("reserve")), "claimed again once there is room");
    append(&mut stream, 1);
    assert_eq!(read_all(&stream, 1), vec![]);
}

#[test]
fn a_full_stream_refuses_and_takes_extra_only_when_asked() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    stream.cursor("sink").unwrap();
    let refused = loop {
        let next = stream.next_seq();
        match stream.append(buf_of(next..next + 5)) {
            Ok(_) => {}
            Err((AppendError::Full { bytes, max_bytes }, buf)) => {
                assert!(bytes <= max_bytes);
                break buf;
            }
            Err((error, _)) => panic!("{error}"),
        }
    };
    stream.append_over(refused, 4096).map_err(|(error, _)| error).unwrap();
    let stored = stream.next_seq() - stream.first_seq();
    let shed = stream.shed_oldest().unwrap();
    assert_eq!(stored - shed.records, stream.next_seq() - stream.first_seq());
    assert_eq!(stream.cursor("sink").unwrap(), shed.last_seq + 1);
    let lost = read_all(&stream, 1);
    assert!(lost.iter().all(|(seq, reason)| *seq <= shed.last_seq && *reason == LossReason::Shed));
    assert_eq!(lost.len() as u64, shed.records);
    // Delivered records make room even in the segment being written.
    stream.ack("sink", stream.next_seq());
    append(&mut stream, 5);
}

#[test]
fn old_segments_are_shed_by_age() {
    let disk = SimFiles::new(1);
    let mut spool = Spool::open(Arc::new(disk.clone()), support::options()).unwrap();
    let options = StreamOptions { max_age: Some(Duration::from_secs(60)), ..support::stream_options() };
    let (mut stream, _) = spool.stream(options).unwrap();
    disk.set_clock(Duration::from_secs(1000));
    for _ in 0..10 {
        append(&mut stream, 3);
    }
    let last_old = stream.next_seq() - 1;
    let at = |seconds| std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
    assert_eq!(stream.enforce_age(at(1060)), vec![]);
    let shed = stream.enforce_age(at(1061));
    assert_eq!(shed.last().map(|shed| shed.last_seq), Some(last_old));
    assert_eq!(stream.first_seq(), stream.next_seq());
    append(&mut stream, 1);
}

#[test]
fn a_disk_that_does_not_answer_is_not_called_damage() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    append(&mut stream, 2);
    let mut reader = stream.reader(1);
    disk.fail(1, u64::MAX, Fault::Io);
    for _ in 0..20 {
        assert!(reader.next().is_err());
    }
    disk.heal();
    let Read::Frame(frame) = reader.next().unwrap() else { panic!("the records are still there") };
    assert_eq!(frame.records().next(), Some((1, &record(1)[..])));
}

/// Reads on after each failure, of which there may be two in a row. Returns the records that came, and those that are lost.
fn read_through_failures(mut reader: Reader) -> (Vec<u64>, Vec<u64>) {
    let (mut came, mut lost, mut failures) = (Vec::new(), Vec::new(), 0);
    loop {
        match reader.next() {
            Ok(Read::CaughtUp) => return (came, lost),
            Ok(Read::Frame(frame)) => came.extend(frame.first_seq()..=frame.last_seq()),
            Ok(Read::Lost { first_seq, last_seq, .. }) => lost.extend(first_seq..=last_seq),
            Err(error) => {
                failures += 1;
                assert!(failures < 3, "{error} at {}, again and again", reader.position());
                continue;
            }
        }
        failures = 0;
    }
}

/// Under its header or under its body, and whether the reader begins before it or behind it.
#[test]
fn a_frame_in_a_place_that_cannot_be_read_is_lost_and_the_frames_behind_it_are_not() {
    for offset in [0, 20, 64, 5000] {
        let disk = SimFiles::new(1);
        let mut spool = Spool::open(Arc::new(disk.clone()), support::options()).unwrap();
        let (mut stream, _) = spool.stream(StreamOptions::new("logs", 64 << 10, 1 << 20)).unwrap();
        // Two pages each, with the header and the length: no page has parts of two frames.
        let append_pages = |stream: &mut Stream| {
            let mut buf = FrameBuf::with_target(1024);
            buf.push(&[&[7; (8 << 10) - 34]]);
            stream.append(buf).map_err(|(error, _)| error).unwrap();
        };
        append_pages(&mut stream);
        let file = support::segments(&disk).pop().unwrap();
        let second = disk.contents(&file).unwrap().len() as u64;
        for _ in 0..3 {
            append_pages(&mut stream);
        }
        disk.wear_out(&file, second + offset..second + offset + 1);
        let (came, lost) = read_through_failures(stream.reader(1));
        assert_eq!((came, lost), (vec![1, 3, 4], vec![2]), "{offset}");
        let (came, lost) = read_through_failures(stream.reader(3));
        assert_eq!((came, lost), (vec![3, 4], vec![]), "{offset}");
    }
}

#[test]
fn the_sync_of_another_stream_says_nothing_of_this_one() {
    let (disk, gone) = (SimFiles::new(1), SimFiles::new(2));
    let (_spool, mut stream, _) = open(&disk);
    let (_gone, mut earlier, _) = open(&gone);
    append(&mut earlier, 5);
    append(&mut stream, 2);
    let mut job = earlier.begin_sync().unwrap();
    let result = job.run();
    stream.finish_sync(job, result);
    assert_eq!(stream.synced_through(), None);
    assert!(stream.is_dirty());
}
