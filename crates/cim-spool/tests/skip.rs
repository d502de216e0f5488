//! Sequences that are passed over: what comes after them keeps its numbers, and readers know what is missing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use cim_spool::{AppendError, Crash, Fault, LossReason, SimFiles};
use support::{append, open, read_all, segments};

fn missing(seqs: std::ops::Range<u64>) -> Vec<(u64, LossReason)> {
    seqs.map(|seq| (seq, LossReason::Missing)).collect()
}

#[test]
fn what_follows_keeps_its_numbers_in_this_life_and_the_next() {
    for stored_before in [0, 3] {
        let disk = SimFiles::new(1);
        let (spool, mut stream, _) = open(&disk);
        if stored_before > 0 {
            append(&mut stream, stored_before);
        }
        stream.skip_to(10).unwrap();
        assert_eq!((stream.next_seq(), stream.written_through()), (10, Some(9)));
        stream.skip_to(7).unwrap();
        assert_eq!(stream.next_seq(), 10, "it never goes back");
        append(&mut stream, 2);
        let lost: Vec<_> = read_all(&stream, 1).into_iter().map(|(seq, _)| seq).collect();
        assert_eq!(lost, (stored_before + 1..10).collect::<Vec<_>>());
        drop((spool, stream));
        let (_spool, stream, recovery) = open(&disk);
        assert_eq!((recovery.next_seq, recovery.lost), (12, vec![]));
        assert_eq!(read_all(&stream, 1), missing(stored_before + 1..10));
    }
}

#[test]
fn numbers_that_were_passed_over_are_not_given_again() {
    for crash in [Crash::Process, Crash::Power] {
        for seed in 1..20 {
            let disk = SimFiles::new(seed);
            let (spool, mut stream, _) = open(&disk);
            append(&mut stream, 3);
            stream.skip_to(10).unwrap();
            if crash == Crash::Power {
                let mut job = stream.begin_sync().unwrap();
                let result = job.run();
                stream.finish_sync(job, result);
                assert_eq!(stream.synced_through(), Some(9));
            }
            disk.crash(crash);
            drop((spool, stream));
            let (_spool, stream, _) = open(&disk);
            assert_eq!(stream.next_seq(), 10, "{crash:?} {seed}");
            assert_eq!(read_all(&stream, 1), missing(4..10));
        }
    }
}

#[test]
fn a_disk_that_refuses_leaves_the_stream_where_it_was() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    append(&mut stream, 3);
    for nth in 1.. {
        disk.fail(nth, 0, Fault::Io);
        let before = disk.calls();
        let skipped = stream.skip_to(10);
        disk.heal();
        if disk.calls() - before < nth {
            skipped.unwrap();
            break;
        }
        if stream.next_seq() == 10 {
            continue;
        }
        assert!(matches!(skipped, Err(AppendError::Io(_))), "{nth}");
        assert_eq!((stream.next_seq(), read_all(&stream, 1)), (4, vec![]));
    }
    append(&mut stream, 1);
    assert_eq!(read_all(&stream, 1), missing(4..10));
}

#[test]
fn what_every_consumer_is_past_goes_although_sequences_are_missing_behind_it() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    stream.cursor("sink").unwrap();
    append(&mut stream, 3);
    stream.skip_to(10).unwrap();
    stream.ack("sink", 9);
    assert_eq!(segments(&disk).len(), 2, "a sink stands before the end of the hole");
    stream.ack("sink", 10);
    assert_eq!((segments(&disk).len(), stream.first_seq()), (1, 10));
}
