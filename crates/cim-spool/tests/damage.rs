//! Damage to every byte of a small spool: no panic, no hang, only what was touched is lost, and it is counted.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use cim_spool::{LossReason, SimFiles};
use support::{
    Placed, append, open, read_all, record, restored, segments, small_spool, snapshot, stream_file,
};

/// The frame a byte of a segment belongs to; `None` for segment headers and padding.
fn touched<'a>(frames: &'a [Placed], path: &std::path::Path, at: usize) -> Option<(&'a Placed, bool)> {
    let inside = |frame: &&Placed| frame.path == path && (frame.header.start..frame.body.end).contains(&at);
    frames.iter().find(inside).map(|frame| (frame, frame.header.contains(&at)))
}

#[test]
fn a_flipped_bit_loses_its_frame_and_nothing_else() {
    let disk = SimFiles::new(1);
    let frames = small_spool(&disk);
    let last = frames.last().unwrap();
    let files = snapshot(&disk);
    for path in segments(&disk) {
        for at in 0..files[&path].len() {
            let mut damaged = files.clone();
            damaged.get_mut(&path).unwrap()[at] ^= 1 << (at % 8);
            let disk = restored(&damaged);
            let (_spool, mut stream, recovery) = open(&disk);
            let lost = read_all(&stream, 1);
            let context = format!("{path:?} byte {at}");
            match touched(&frames, &path, at) {
                Some((frame, true)) if frame.seqs == last.seqs => {
                    // Nothing says any more how many there were: the tail ends before them, and says so.
                    assert_eq!(lost, vec![], "{context}");
                    assert_eq!(stream.next_seq(), last.seqs.start, "{context}");
                    assert_eq!(recovery.lost.len(), 1, "{context}");
                    assert_eq!(recovery.lost[0].reason, LossReason::TornTail, "{context}");
                    assert_eq!(recovery.truncated_bytes as usize % 64, 0, "{context}");
                }
                touched => {
                    let expected: Vec<u64> =
                        touched.into_iter().flat_map(|(frame, _)| frame.seqs.clone()).collect();
                    let found: Vec<u64> = lost.iter().map(|(seq, _)| *seq).collect();
                    assert_eq!(found, expected, "{context}");
                    assert!(lost.iter().all(|(_, reason)| *reason == LossReason::Damaged), "{context}");
                    assert_eq!(stream.next_seq(), last.seqs.end, "{context}");
                    assert_eq!(recovery.lost, vec![], "{context}");
                }
            }
            // Life goes on behind the damage.
            append(&mut stream, 2);
            let again = read_all(&stream, 1);
            assert_eq!(again, lost, "{context}");
        }
    }
}

#[test]
fn a_cut_segment_loses_what_is_cut() {
    let disk = SimFiles::new(1);
    let frames = small_spool(&disk);
    let end = frames.last().unwrap().seqs.end;
    let files = snapshot(&disk);
    let paths = segments(&disk);
    for path in &paths {
        let is_last = Some(path) == paths.last();
        for len in 0..files[path].len() {
            let mut damaged = files.clone();
            damaged.get_mut(path).unwrap().truncate(len);
            let disk = restored(&damaged);
            let cut = frames.iter().filter(|frame| frame.path == *path && frame.body.end > len);
            let cut: Vec<u64> = cut.flat_map(|frame| frame.seqs.clone()).collect();
            let context = format!("{path:?} cut to {len}");
            let (spool, stream, recovery) = open(&disk);
            let lost: Vec<u64> = read_all(&stream, 1).into_iter().map(|(seq, _)| seq).collect();
            if is_last {
                assert_eq!(lost, Vec::<u64>::new(), "{context}");
                assert_eq!(stream.next_seq(), end - cut.len() as u64, "{context}");
            } else {
                assert_eq!(lost, cut, "{context}");
                assert_eq!((stream.next_seq(), recovery.truncated_bytes), (end, 0), "{context}");
            }
            drop((spool, stream));
            // The tail is cut once.
            let (_spool, mut stream, again) = open(&disk);
            assert_eq!((again.truncated_bytes, again.lost.len()), (0, 0), "{context}");
            append(&mut stream, 1);
            assert_eq!(read_all(&stream, 1).len(), lost.len(), "{context}");
        }
    }
}

#[test]
fn recovery_may_die_at_any_point_and_start_again() {
    let disk = SimFiles::new(1);
    small_spool(&disk);
    let path = segments(&disk).pop().unwrap();
    let mut files = snapshot(&disk);
    let torn = files[&path].len() - 70;
    files.get_mut(&path).unwrap().truncate(torn);
    let (_spool, whole, _) = open(&restored(&files));
    for nth in 1.. {
        let disk = restored(&files);
        disk.fail(nth, u64::MAX, cim_spool::Fault::Io);
        let interrupted = support::try_open(&disk).is_ok();
        let finished = disk.calls() < nth;
        disk.crash(cim_spool::Crash::Process);
        let (_spool, stream, _) = open(&disk);
        assert_eq!(stream.next_seq(), whole.next_seq(), "death at call {nth}");
        assert_eq!(read_all(&stream, 1), vec![], "death at call {nth}");
        if interrupted && finished {
            break;
        }
    }
}

#[test]
fn zeroed_copied_and_stale_blocks_are_seen() {
    let disk = SimFiles::new(1);
    let frames = small_spool(&disk);
    let files = snapshot(&disk);
    let path = segments(&disk)[1].clone();
    let original = &files[&path];
    let total = frames.last().unwrap().seqs.end - 1;
    let other = files[&segments(&disk)[0]].clone();
    for block in (0..original.len() - 64).step_by(64) {
        for with in 0..3 {
            let mut bytes = original.clone();
            let replacement = match with {
                0 => vec![0; 64],
                1 => original[64..128].to_vec(),
                _ => other[64..128].to_vec(),
            };
            bytes[block..block + 64].copy_from_slice(&replacement);
            let mut damaged = files.clone();
            damaged.insert(path.clone(), bytes.clone());
            let (_spool, stream, _) = open(&restored(&damaged));
            let lost = read_all(&stream, 1).len();
            let hit = frames.iter().filter(|frame| {
                let whole = frame.header.start..frame.body.end;
                frame.path == path && bytes[whole.clone()] != original[whole]
            });
            assert_eq!(
                lost,
                hit.map(|frame| frame.seqs.clone().count()).sum::<usize>(),
                "block {block} with {with}"
            );
            assert_eq!(stream.next_seq() - 1, total);
        }
    }
}

#[test]
fn a_damaged_cursor_falls_back_and_never_runs_ahead() {
    let disk = SimFiles::new(1);
    let (spool, mut stream, _) = open(&disk);
    append(&mut stream, 3);
    stream.cursor("sink").unwrap();
    stream.ack("sink", 2);
    stream.save_cursors(false).unwrap();
    stream.ack("sink", 3);
    stream.save_cursors(false).unwrap();
    drop((spool, stream));
    let path = stream_file("sink.cursor");
    let files = snapshot(&disk);
    let at = |files: &std::collections::BTreeMap<std::path::PathBuf, Vec<u8>>| {
        let (_spool, mut stream, _) = open(&restored(files));
        stream.cursor("sink").unwrap()
    };
    assert_eq!(at(&files), 3);
    let mut fell_back = 0;
    for offset in (0..64).chain(4096..4160) {
        let mut damaged = files.clone();
        damaged.get_mut(&path).unwrap()[offset] ^= 1;
        match at(&damaged) {
            2 => fell_back += 1,
            position => assert_eq!(position, 3, "byte {offset}"),
        }
    }
    assert_eq!(fell_back, 64, "one slot holds the position, the other the one before");
    for len in 0..4160 {
        let mut damaged = files.clone();
        damaged.get_mut(&path).unwrap().truncate(len);
        assert!((1..=3).contains(&at(&damaged)), "cut to {len}");
    }
}

#[test]
fn a_payload_that_looks_like_a_frame_is_only_a_payload() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    let fake =
        cim_spool::format::FrameHeader { body_len: 5, count: 1, segment: 7, first_seq: 2, body_crc: 0 };
    let mut buf = cim_spool::FrameBuf::with_target(1024);
    // Header 32, length 1, so that the fake stands on a 64 B boundary of the file.
    buf.push(&[&[0; 31], &fake.encode(), b"\x04fake"]);
    stream.append(buf).map_err(|(error, _)| error).unwrap();
    append(&mut stream, 1);
    let path = segments(&disk)[0].clone();
    let mut files = snapshot(&disk);
    files.get_mut(&path).unwrap()[64] ^= 1;
    let (_spool, stream, _) = open(&restored(&files));
    assert_eq!(read_all(&stream, 1), vec![(1, LossReason::Damaged)]);
    assert_eq!(record(2).len(), "record 2 ".len() + 74);
}

#[test]
fn an_old_frame_behind_the_end_is_refused_though_it_is_intact() {
    let disk = SimFiles::new(1);
    let frames = small_spool(&disk);
    let end = frames.last().unwrap().seqs.end;
    let path = segments(&disk).pop().unwrap();
    let mut files = snapshot(&disk);
    let stale = frames.iter().find(|frame| frame.path == path).unwrap();
    let bytes = files.get_mut(&path).unwrap();
    let copy = bytes[stale.header.start..stale.body.end].to_vec();
    bytes.extend(copy);
    let (_spool, mut stream, recovery) = open(&restored(&files));
    assert_eq!(stream.next_seq(), end);
    assert!(recovery.truncated_bytes > 0);
    append(&mut stream, 1);
    assert_eq!(read_all(&stream, 1), vec![]);
}
