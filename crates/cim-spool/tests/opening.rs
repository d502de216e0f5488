//! Who may open a spool directory, and what is done with files that do not belong there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::{
    os::unix::fs::PermissionsExt,
    sync::Arc,
    time::{Duration, SystemTime},
};

use cim_spool::{
    AsideLimits, AsideUse, LossReason, OpenError, RealFiles, SimFiles, Spool, SpoolOptions, StreamOptions,
    check, dump, format,
};
use support::{
    append, open, options, read_all, restored, segments, small_spool, snapshot, stream_file, try_open,
};

fn lost(stream: &cim_spool::Stream) -> Vec<u64> {
    read_all(stream, 1).into_iter().map(|(seq, _)| seq).collect()
}

#[test]
fn a_directory_is_for_one_process_and_private() {
    let home = tempfile::tempdir().unwrap();
    let dir = home.path().join("a/spool");
    let options = || SpoolOptions::new(&dir, "demo/demo-0");
    let mut first = Spool::open(Arc::new(RealFiles), options()).unwrap();
    let (mut stream, _) = first.stream(StreamOptions::new("logs", 1 << 20, 1 << 24)).unwrap();
    append(&mut stream, 3);
    let second = Spool::open(Arc::new(RealFiles), options());
    assert!(matches!(second, Err(OpenError::Locked { .. })));
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&dir), 0o700);
    assert_eq!(mode(&dir.join("logs").join(format::segment_name(1))), 0o600);
    // Looking needs no lock.
    let report = check(&dir).unwrap();
    assert!(report.is_clean(), "{report:?}");
    assert_eq!(report.streams[0].segments[0].records, 3);
    let mut seen = Vec::new();
    let shown = dump(&dir, "logs", 2, |seq, _| {
        seen.push(seq);
        std::ops::ControlFlow::Continue(())
    });
    assert_eq!((shown.unwrap(), seen), (2, vec![2, 3]));
    // The streams hold the directory too.
    drop(first);
    assert!(matches!(Spool::open(Arc::new(RealFiles), options()), Err(OpenError::Locked { .. })));
    drop(stream);
    let spool = Spool::open(Arc::new(RealFiles), options()).unwrap();
    assert!(spool.is_present());
    std::fs::remove_dir_all(&dir).unwrap();
    assert!(!spool.is_present());
}

#[test]
fn a_link_to_the_directory_is_as_good_as_the_directory() {
    let home = tempfile::tempdir().unwrap();
    let (dir, link) = (home.path().join("spool"), home.path().join("link"));
    std::fs::create_dir(&dir).unwrap();
    std::os::unix::fs::symlink(&dir, &link).unwrap();
    let spool = Spool::open(Arc::new(RealFiles), SpoolOptions::new(&link, "demo/demo-0")).unwrap();
    assert!(spool.is_present());
    let other = SpoolOptions::new(&dir, "demo/demo-0");
    assert!(matches!(Spool::open(Arc::new(RealFiles), other), Err(OpenError::Locked { .. })));
    std::fs::remove_file(&link).unwrap();
    assert!(!spool.is_present());
}

#[test]
fn a_lock_that_is_held_for_a_moment_is_waited_for() {
    let home = tempfile::tempdir().unwrap();
    let options = SpoolOptions::new(home.path(), "demo/demo-0");
    let first = Spool::open(Arc::new(RealFiles), options.clone()).unwrap();
    std::thread::scope(|scope| {
        let patient = SpoolOptions { patience: Duration::from_secs(30), ..options.clone() };
        let second = scope.spawn(|| Spool::open(Arc::new(RealFiles), patient));
        let hasty = SpoolOptions { patience: Duration::from_millis(100), ..options };
        assert!(matches!(Spool::open(Arc::new(RealFiles), hasty), Err(OpenError::Locked { .. })));
        drop(first);
        assert!(second.join().unwrap().is_ok());
    });
}

#[test]
fn another_pods_spool_is_set_aside_whole() {
    let disk = SimFiles::new(1);
    small_spool(&disk);
    let before = snapshot(&disk);
    let theirs = SpoolOptions { identity: "demo/demo-1".into(), ..options() };
    let mut spool = Spool::open(Arc::new(disk.clone()), theirs).unwrap();
    let aside = spool.set_aside().unwrap().clone();
    assert_eq!(aside.owner, "demo/demo-0");
    let (stream, _) = spool.stream(support::stream_options()).unwrap();
    assert_eq!((stream.next_seq(), lost(&stream)), (1, vec![]));
    let kept = before.values().filter(|bytes| snapshot(&disk).values().any(|now| now == *bytes)).count();
    assert_eq!(kept, before.len());
}

#[test]
fn a_newer_format_is_refused_and_untouched() {
    let disk = SimFiles::new(1);
    small_spool(&disk);
    for path in [std::path::PathBuf::from("/spool/spool.meta"), segments(&disk)[1].clone()] {
        let mut files = snapshot(&disk);
        let bytes = files.get_mut(&path).unwrap();
        bytes[8] = 2;
        let end = if path.ends_with("spool.meta") { bytes.len() } else { 64 };
        let crc = crc32c::crc32c(&bytes[..end - 4]).to_le_bytes();
        bytes[end - 4..end].copy_from_slice(&crc);
        let disk = restored(&files);
        assert!(matches!(try_open(&disk), Err(OpenError::NewerFormat { found: 2, supported: 1, .. })));
        assert_eq!(snapshot(&disk), files);
    }
}

#[test]
fn a_lost_meta_file_keeps_the_epoch() {
    let disk = SimFiles::new(1);
    small_spool(&disk);
    let epoch = open(&disk).0.epoch();
    disk.remove(std::path::Path::new("/spool/spool.meta"));
    let (spool, stream, _) = open(&disk);
    assert_eq!((spool.epoch(), lost(&stream)), (epoch, vec![]));
}

#[test]
fn a_missing_segment_is_counted_by_sequence() {
    let disk = SimFiles::new(1);
    let frames = small_spool(&disk);
    for path in segments(&disk) {
        let gone = frames.iter().filter(|frame| frame.path == path);
        let gone: Vec<u64> = gone.flat_map(|frame| frame.seqs.clone()).collect();
        let disk = restored(&snapshot(&disk));
        disk.remove(&path);
        let (_spool, stream, _) = open(&disk);
        let is_last = gone.last().copied() == frames.last().map(|frame| frame.seqs.end - 1);
        let found = read_all(&stream, 1);
        let expected = if is_last { vec![] } else { gone };
        assert_eq!(found, expected.into_iter().map(|seq| (seq, LossReason::Missing)).collect::<Vec<_>>());
    }
}

#[test]
fn exchanged_names_are_put_right_and_foreign_segments_aside() {
    let disk = SimFiles::new(1);
    let frames = small_spool(&disk);
    let paths = segments(&disk);
    let files = snapshot(&disk);
    let mut swapped = files.clone();
    swapped.insert(paths[0].clone(), files[&paths[2]].clone());
    swapped.insert(paths[2].clone(), files[&paths[0]].clone());
    let disk = restored(&swapped);
    let (spool, stream, recovery) = open(&disk);
    assert_eq!((lost(&stream), recovery.set_aside.len()), (vec![], 0));
    drop((spool, stream));
    assert_eq!(snapshot(&disk), files, "the names are right on disk too");

    let other = SimFiles::new(2);
    small_spool(&other);
    let mut mixed = files.clone();
    mixed.insert(paths[1].clone(), other.contents(&paths[1]).unwrap());
    let (_spool, stream, recovery) = open(&restored(&mixed));
    let gone = frames.iter().filter(|frame| frame.path == paths[1]);
    assert_eq!(lost(&stream), gone.flat_map(|frame| frame.seqs.clone()).collect::<Vec<_>>());
    assert_eq!(recovery.set_aside.len(), 1);
}

#[test]
fn cursors_lost_older_and_newer_than_the_segments() {
    let disk = SimFiles::new(1);
    let (spool, mut stream, _) = open(&disk);
    for _ in 0..20 {
        append(&mut stream, 3);
    }
    stream.cursor("sink").unwrap();
    stream.ack("sink", 40);
    stream.save_cursors(true).unwrap();
    assert!(stream.first_seq() > 1, "segments behind the cursor are gone");
    let (first, next) = (stream.first_seq(), stream.next_seq());
    drop((spool, stream));
    let files = snapshot(&disk);

    let disk = restored(&files);
    disk.remove(&stream_file("sink.cursor"));
    let (_spool, mut stream, _) = open(&disk);
    assert_eq!(stream.cursor("sink").unwrap(), first, "lost: again from the oldest");

    let disk = restored(&files);
    segments(&disk).iter().for_each(|path| disk.remove(path));
    let (_spool, mut stream, _) = open(&disk);
    assert_eq!(stream.cursor("sink").unwrap(), 40, "newer: sequences are not given out twice");
    assert_eq!(stream.next_seq(), 40);
    append(&mut stream, 1);
    assert_eq!(stream.next_seq(), 41);

    let disk = restored(&files);
    disk.remove(&segments(&disk).into_iter().rev().nth(1).unwrap());
    let (_spool, mut stream, _) = open(&disk);
    let from = stream.cursor("sink").unwrap();
    assert_eq!((from, stream.next_seq()), (40, next));
    assert!(!read_all(&stream, from).is_empty(), "what is missing after the cursor is reported");
}

#[test]
fn names_that_could_leave_the_directory_are_refused() {
    let disk = SimFiles::new(1);
    let (_spool, mut stream, _) = open(&disk);
    for name in ["", ".", "..", "a/b", ".hidden", "a\0b", "ä", &"x".repeat(65)] {
        assert!(matches!(stream.cursor(name), Err(OpenError::Name { .. })), "{name:?}");
    }
}

/// A spool directory in which two pods were before, one after the other.
fn with_two_set_aside(dir: &std::path::Path) -> Spool {
    for pod in ["demo/first", "demo/second"] {
        let mut spool = Spool::open(Arc::new(RealFiles), SpoolOptions::new(dir, pod)).unwrap();
        let (mut stream, _) = spool.stream(support::stream_options()).unwrap();
        for _ in 0..8 {
            append(&mut stream, 3);
        }
        stream.save_cursors(true).unwrap();
    }
    Spool::open(Arc::new(RealFiles), SpoolOptions::new(dir, "demo/third")).unwrap()
}

fn set_aside_bytes(dir: &std::path::Path) -> Vec<u64> {
    cim_spool::check(dir).unwrap().set_aside.into_iter().map(|aside| aside.bytes).collect()
}

#[test]
fn what_is_set_aside_is_bounded_by_bytes_oldest_first() {
    let home = tempfile::tempdir().unwrap();
    let spool = with_two_set_aside(home.path());
    let before = set_aside_bytes(home.path());
    let all = before.iter().sum::<u64>();
    assert_eq!(before.len(), 2);
    let now = SystemTime::now();
    let limits = |max_bytes| AsideLimits { max_bytes, max_age: None };
    let within = spool.bound_set_aside(limits(all), now).unwrap();
    assert_eq!(
        (within, set_aside_bytes(home.path())),
        (AsideUse { bytes: all, ..AsideUse::default() }, before.clone())
    );

    let mut kept = all;
    for max_bytes in [all - 1, all * 3 / 4, all / 2, all / 10] {
        let used = spool.bound_set_aside(limits(max_bytes), now).unwrap();
        let left = set_aside_bytes(home.path());
        assert_eq!((used.bytes, used.too_old), (left.iter().sum(), 0));
        assert_eq!(used.too_many, kept - used.bytes);
        assert!(used.bytes <= max_bytes && used.bytes < kept, "{used:?}");
        kept = used.bytes;
    }
    let used = spool.bound_set_aside(limits(0), now).unwrap();
    assert_eq!((used.bytes, set_aside_bytes(home.path())), (0, vec![]));
}

#[test]
fn what_is_set_aside_is_bounded_by_age() {
    let home = tempfile::tempdir().unwrap();
    let mut spool = with_two_set_aside(home.path());
    let (mut stream, _) = spool.stream(support::stream_options()).unwrap();
    append(&mut stream, 1);
    let all = set_aside_bytes(home.path()).iter().sum();
    let limits = AsideLimits { max_bytes: u64::MAX, max_age: Some(Duration::from_secs(3600)) };
    let young = spool.bound_set_aside(limits, SystemTime::now() + Duration::from_secs(3000)).unwrap();
    assert_eq!(young, AsideUse { bytes: all, ..AsideUse::default() });
    let old = spool.bound_set_aside(limits, SystemTime::now() + Duration::from_secs(4000)).unwrap();
    assert_eq!(old, AsideUse { bytes: 0, too_old: all, too_many: 0 });
    assert_eq!(set_aside_bytes(home.path()), []);
    assert_eq!(lost(&stream), vec![], "our own records stay");
    assert_eq!(stream.next_seq(), 2);
}

#[test]
fn setting_aside_never_overwrites() {
    let disk = SimFiles::new(1);
    small_spool(&disk);
    let ours = snapshot(&disk);
    let other = SimFiles::new(2);
    small_spool(&other);
    let strange = segments(&other)[1].clone();
    for round in 1..=3 {
        disk.put(&strange, other.contents(&strange).unwrap());
        let (_spool, _stream, recovery) = open(&disk);
        assert_eq!(recovery.set_aside.len(), 1, "round {round}");
        let copies =
            snapshot(&disk).into_values().filter(|bytes| *bytes == other.contents(&strange).unwrap());
        assert_eq!(copies.count(), round);
        disk.put(&strange, ours[&strange].clone());
    }
}
