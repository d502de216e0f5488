//! The disk work behind a position that moved, run late, twice, out of order, half, or not at all.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::path::Path;
use std::sync::{Arc, Mutex};

use cim_spool::{AppendError, Crash, Fault, SimFiles, Spool, Stream, StreamOptions};
use support::{append, buf_of, open, options, read_all, segments, stream_file, stream_options};

/// A synced stream of at least five segments with one consumer at the beginning.
fn backlog(disk: &SimFiles, cursor_sync: bool) -> (Spool, Stream) {
    let mut spool = Spool::open(Arc::new(disk.clone()), options()).unwrap();
    let (mut stream, _) = spool.stream(StreamOptions { cursor_sync, ..stream_options() }).unwrap();
    stream.cursor("sink").unwrap();
    stream.save_cursors(true).unwrap();
    while stream.segment_count() < 5 {
        append(&mut stream, 3);
    }
    let mut job = stream.begin_sync().unwrap();
    let result = job.run();
    stream.finish_sync(job, result);
    (spool, stream)
}

fn stored(disk: &SimFiles) -> u64 {
    segments(disk).iter().map(|path| disk.contents(path).unwrap().len() as u64).sum()
}

/// A position in the last segment: all others are free behind it.
fn near_the_end(stream: &Stream) -> u64 {
    stream.next_seq() - 1
}

/// Dies at every call of a job, and before the first one. Behind it nothing is lost that was not acknowledged, and
/// without a power cut, or with positions that are synced, nothing at all: at worst records come again.
fn dies_at_every_call(crash: Crash, cursor_sync: bool) {
    for nth in 1.. {
        let disk = SimFiles::new(nth);
        let (spool, mut stream) = backlog(&disk, cursor_sync);
        let acked = near_the_end(&stream);
        stream.advance("sink", acked);
        let job = stream.begin_trim();
        let before = disk.calls();
        disk.fail(nth, u64::MAX, Fault::Io);
        let done = job.run();
        let finished = disk.calls() - before < nth;
        disk.crash(crash);
        drop((done, stream, spool));

        let (_spool, mut stream, recovery) = open(&disk);
        let from = stream.cursor("sink").unwrap();
        let context = format!("{crash:?} at call {nth}, positions synced: {cursor_sync}");
        assert!(from <= acked && recovery.next_seq == acked + 1, "{context}");
        let lost = read_all(&stream, from);
        if crash == Crash::Process || cursor_sync {
            assert_eq!(lost, vec![], "{context}");
        }
        assert!(lost.iter().all(|(seq, _)| *seq < acked), "{context}");
        // What a job left behind, the next one takes.
        stream.advance("sink", acked);
        let done = stream.begin_trim().run();
        stream.finish_trim(done).unwrap();
        assert_eq!((segments(&disk).len(), stream.bytes()), (1, stored(&disk)), "{context}");
        if finished {
            return;
        }
    }
}

#[test]
fn a_death_at_every_call_costs_nothing_but_repeats() {
    for cursor_sync in [false, true] {
        dies_at_every_call(Crash::Process, cursor_sync);
        dies_at_every_call(Crash::Power, cursor_sync);
    }
}

#[test]
fn a_saved_position_never_goes_back_whichever_job_comes_last() {
    let disk = SimFiles::new(1);
    let (spool, mut stream) = backlog(&disk, false);
    let newer = near_the_end(&stream);
    stream.advance("sink", 5);
    let early = stream.begin_trim();
    stream.advance("sink", newer);
    let late = stream.begin_trim();
    let done = [late.run(), early.run()];
    disk.crash(Crash::Process);
    drop((stream, spool));
    let (_spool, mut stream, _) = open(&disk);
    assert_eq!(stream.cursor("sink").unwrap(), newer);
    assert_eq!(read_all(&stream, newer), vec![]);
    for done in done {
        stream.finish_trim(done).unwrap();
    }
    assert_eq!(stream.bytes(), stored(&disk), "the result of another stream's job changes nothing");
}

#[test]
fn bytes_count_until_the_file_is_gone() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream) = backlog(&disk, false);
    let (bytes, end) = (stream.bytes(), near_the_end(&stream));
    stream.advance("sink", end);
    let job = stream.begin_trim();
    assert_eq!((stream.bytes(), stream.segment_count()), (bytes, 1));
    // The position is written; the first removal fails.
    disk.fail(2, 0, Fault::Io);
    let done = job.run();
    stream.finish_trim(done).unwrap();
    assert_eq!((stream.bytes(), stored(&disk)), (bytes, bytes));
    let (job, again) = (stream.begin_trim(), stream.begin_trim());
    for done in [job.run(), again.run()] {
        stream.finish_trim(done).unwrap();
        assert_eq!((stream.bytes(), segments(&disk).len()), (stored(&disk), 1));
    }
}

#[test]
fn a_position_that_cannot_be_saved_is_told_and_saved_by_the_next_job() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream) = backlog(&disk, false);
    let end = near_the_end(&stream);
    stream.advance("sink", end);
    disk.fail(1, 0, Fault::Io);
    let done = stream.begin_trim().run();
    assert!(stream.finish_trim(done).is_err());
    assert_eq!(segments(&disk).len(), 1, "a full disk is the greater harm");
    let done = stream.begin_trim().run();
    stream.finish_trim(done).unwrap();
    disk.crash(Crash::Process);
    drop((stream, _spool));
    assert_eq!(open(&disk).1.cursor("sink").unwrap(), end);
}

#[test]
fn an_append_without_room_removes_what_is_free_and_sheds_nothing() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream) = backlog(&disk, false);
    loop {
        let next = stream.next_seq();
        match stream.append(buf_of(next..next + 3)) {
            Ok(_) => {}
            Err((AppendError::Full { .. }, _)) => break,
            Err((error, _)) => panic!("{error}"),
        }
    }
    let second = stream.first_seq() + 20;
    stream.advance("sink", second);
    let waits = stream.begin_trim();
    let (first, next) = (stream.first_seq(), stream.next_seq());
    assert!(first > 1, "something is free");
    append(&mut stream, 3);
    assert_eq!((stream.first_seq(), stream.next_seq()), (first, next + 3));
    assert!(stream.bytes() <= stream.max_bytes());
    let done = waits.run();
    stream.finish_trim(done).unwrap();
    assert_eq!(stream.bytes(), stored(&disk));
    assert_eq!(read_all(&stream, second), vec![]);
}

#[test]
fn a_disk_that_is_full_gets_the_room_a_job_is_about_to_make() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream) = backlog(&disk, false);
    let end = near_the_end(&stream);
    stream.advance("sink", end);
    let waits = stream.begin_trim();
    let used = disk.paths().iter().map(|path| disk.contents(path).unwrap().len() as u64).sum::<u64>();
    disk.set_capacity(Some(used));
    append(&mut stream, 3);
    let done = waits.run();
    stream.finish_trim(done).unwrap();
    assert_eq!(stream.bytes(), stored(&disk));
}

#[test]
fn a_job_that_outlives_its_stream_leaves_the_disk_alone() {
    let disk = SimFiles::new(1);
    let (spool, mut stream) = backlog(&disk, false);
    let end = near_the_end(&stream);
    stream.advance("sink", end);
    let job = stream.begin_trim();
    drop((stream, spool));
    let calls = disk.calls();
    job.run();
    assert_eq!(disk.calls(), calls);
}

#[test]
fn a_consumer_that_left_does_not_come_back_by_a_job_of_before() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream) = backlog(&disk, false);
    stream.cursor("other").unwrap();
    stream.advance("other", 3);
    let job = stream.begin_trim();
    stream.retire_cursor("other").unwrap();
    job.run();
    assert_eq!(disk.contents(&stream_file("other.cursor")), None);
}

/// Who writes down what is shed is never behind the positions, whatever ends the process in between; and what every consumer
/// has is nobody's loss.
#[test]
fn shedding_is_told_before_it_is_on_the_disk_and_only_where_somebody_waits() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream) = backlog(&disk, false);
    let cursor = |disk: &SimFiles| disk.contents(Path::new("/spool/logs/sink.cursor")).unwrap();
    let (told, saved) = (Arc::new(Mutex::new(Vec::new())), cursor(&disk));
    let (tell, seen, before) = (Arc::clone(&told), disk.clone(), (saved.clone(), segments(&disk)));
    stream.before_shedding(Arc::new(move |end| {
        tell.lock().unwrap().push((end, (cursor(&seen), segments(&seen)) == before));
    }));
    let shed = stream.shed_oldest().unwrap();
    assert_eq!(*told.lock().unwrap(), [(shed.last_seq + 1, true)]);
    assert_ne!(cursor(&disk), saved);
    stream.advance("sink", stream.next_seq());
    assert!(stream.shed_oldest().is_some());
    assert_eq!(told.lock().unwrap().len(), 1);
}
