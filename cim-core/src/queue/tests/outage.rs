//! A disk that fails for long: the memory is used up, and when the disk takes records again each has the number it had.

use cim_spool::{Fault, Read};

use super::*;
use crate::contract::SinkProfile;
use crate::delivery::{Feed, Next};

const BUDGET: usize = 16 << 10;

fn degrading(when_full: WhenFull) -> Rules {
    Rules { when_full, on_fault: OnFault::Degrade, ..strict(Level::Written) }
}

fn text(seq: u64) -> Vec<u8> {
    let mut text = format!("record {seq} ").into_bytes();
    text.resize(600, b'.');
    text
}

/// Commits the next record, which tells its number.
fn put(queue: &ClassQueue) -> bool {
    let seq = queue.lock().next_seq();
    let mut buf = FrameBuf::with_target(1024);
    buf.push(&[&text(seq)]);
    match queue.commit(buf, false) {
        Ok((end, _)) => {
            assert_eq!(end, seq + 1);
            true
        }
        Err(_) => false,
    }
}

/// Delivers what there is, as a worker does, and checks that each record is the one of its number. Returns the numbers.
fn deliver(queue: &ClassQueue, member: usize) -> Vec<u64> {
    let mut got = Vec::new();
    for _ in 0..1000 {
        let at = queue.position(member);
        let frames = match queue.take(at, 100, 4096) {
            Taken::Empty => return got,
            Taken::Skip(to) => {
                queue.lose(member, to, DropReason::Damaged);
                continue;
            }
            Taken::Frames(frames) => frames,
            Taken::OnDisk => match queue.reader(at).unwrap().next().unwrap() {
                Read::Frame(frame) => vec![frame],
                Read::Lost { last_seq, .. } => {
                    queue.lose(member, last_seq + 1, DropReason::Damaged);
                    continue;
                }
                Read::CaughtUp => panic!("nothing at {at}"),
            },
        };
        for frame in frames {
            for (seq, record) in frame.records().filter(|(seq, _)| *seq >= at) {
                assert_eq!(String::from_utf8_lossy(record), String::from_utf8_lossy(&text(seq)));
                got.push(seq);
            }
            queue.settle(member, &run(at, frame.last_seq() + 1));
        }
    }
    panic!("the queue does not come to an end: {got:?}")
}

fn books(queue: &ClassQueue, member: usize) -> Books {
    let (name, books) = queue.books().swap_remove(member);
    assert!(books.balanced(), "{name}: {books:?}");
    books
}

fn dropped(books: &Books, reason: DropReason) -> u64 {
    books.dropped[reason as usize]
}

#[test]
fn records_keep_their_numbers_when_older_ones_were_shed_in_a_long_fault() {
    let scene = Scene::with(degrading(WhenFull::ShedOldest), BUDGET);
    let queue = &scene.queue;
    for _ in 2..=10 {
        assert!(put(queue));
    }
    assert_eq!(deliver(queue, 0), (2..=10).collect::<Vec<_>>());
    scene.disk.fail(1, u64::MAX, Fault::Io);
    for _ in 11..=100 {
        assert!(put(queue), "shed_oldest refuses nothing");
    }
    assert!(queue.fault().is_some());
    let first_kept = queue.lock().tail.first_seq().unwrap();
    assert!((60..100).contains(&first_kept), "{first_kept}");
    assert_eq!(dropped(&books(queue, 0), DropReason::ShedOldest), first_kept - 11);

    scene.disk.heal();
    queue.upkeep();
    assert_eq!((queue.fault(), queue.is_storing(), queue.first_unstored()), (None, true, None));
    for _ in 101..=120 {
        assert!(put(queue));
        queue.upkeep();
    }
    // The next process reads each record under its own number, and the others as lost.
    let (_spool, stream) = scene.reopened();
    assert_eq!(stream.next_seq(), 121);
    let mut reader = stream.reader(2);
    let mut read = Vec::new();
    loop {
        match reader.next().unwrap() {
            Read::Frame(frame) => {
                read.extend(frame.records().map(|(seq, record)| (seq, record == text(seq))))
            }
            Read::Lost { first_seq, last_seq, .. } => assert_eq!((first_seq, last_seq), (11, first_kept - 1)),
            Read::CaughtUp => break,
        }
    }
    let stored: Vec<u64> = (2..=10).chain(first_kept..=120).collect();
    assert_eq!(read, stored.iter().map(|seq| (*seq, true)).collect::<Vec<_>>());

    assert_eq!(deliver(queue, 0), (first_kept..=120).collect::<Vec<_>>());
    assert_eq!(deliver(queue, 1), stored, "what was on the disk is no reason to lose it");
    for member in 0..2 {
        let books = books(queue, member);
        assert_eq!((books.held, dropped(&books, DropReason::Damaged)), (0, 0));
        assert_eq!(dropped(&books, DropReason::ShedOldest), first_kept - 11);
    }
    assert_eq!(queue.lost(), []);
}

#[test]
fn a_sink_that_comes_to_shed_records_before_the_disk_heals_goes_on_behind_them() {
    let scene = Scene::with(degrading(WhenFull::ShedOldest), BUDGET);
    let queue = &scene.queue;
    for _ in 2..=30 {
        assert!(put(queue));
    }
    scene.disk.fail(1, u64::MAX, Fault::Io);
    for _ in 31..=100 {
        assert!(put(queue));
    }
    // It can be read again, and nobody has tried to write yet.
    scene.disk.heal();
    let first_kept = queue.lock().tail.first_seq().unwrap();
    let stored: Vec<u64> = (2..=30).chain(first_kept..=100).collect();
    assert!(first_kept > 31);
    let mut feed = Feed::new(Arc::clone(queue), 31);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let profile = SinkProfile::default();
    let next = runtime.block_on(async { tokio::time::timeout(PATIENCE, feed.next(&profile)).await });
    assert!(matches!(next, Ok(Next::Lost(through)) if through == first_kept), "{next:?}");
    assert_eq!(deliver(queue, 0), stored);
    assert_eq!(dropped(&books(queue, 0), DropReason::ShedOldest), first_kept - 31);
    assert!(!queue.is_storing());
    queue.upkeep();
    assert!(queue.is_storing());
    assert_eq!(deliver(queue, 1), stored);
    assert_eq!(dropped(&books(queue, 1), DropReason::ShedOldest), first_kept - 31);
    assert_eq!(queue.lost(), []);
}

#[test]
fn what_is_delivered_while_the_disk_fails_frees_its_memory() {
    let scene = Scene::with(degrading(WhenFull::Block), BUDGET);
    let queue = &scene.queue;
    scene.disk.fail(1, u64::MAX, Fault::Io);
    for seq in 2..=100 {
        assert!(put(queue), "the sinks take everything, and still there is no room for {seq}");
        assert_eq!((deliver(queue, 0), deliver(queue, 1)), (vec![seq], vec![seq]));
    }
    assert!(queue.fault().is_some());
    scene.disk.heal();
    queue.upkeep();
    assert_eq!((queue.fault(), queue.is_storing()), (None, true), "nobody has to publish for that");
    assert_eq!((scene.next_life("a"), scene.next_life("b")), (101, 101), "what was delivered is not missing");
    assert!(put(queue));
    assert_eq!(deliver(queue, 0), [101]);
    assert_eq!((scene.reopened().1.next_seq(), scene.next_life("a")), (102, 102));
    assert_eq!((books(queue, 0).delivered, books(queue, 1).held), (101, 1));
}

#[test]
fn a_full_disk_that_fails_makes_room_for_what_the_memory_holds() {
    let scene = Scene::with(degrading(WhenFull::ShedOldest), BUDGET);
    let queue = &scene.queue;
    while queue.stored_bytes() + 1024 < MAX_BYTES {
        assert!(put(queue));
    }
    scene.disk.fail(1, u64::MAX, Fault::Io);
    for _ in 0..20 {
        assert!(put(queue));
    }
    scene.disk.heal();
    queue.upkeep();
    assert_eq!((queue.fault(), queue.is_storing()), (None, true));
    for member in 0..2 {
        deliver(queue, member);
        assert_eq!((books(queue, member).held, dropped(&books(queue, member), DropReason::Damaged)), (0, 0));
    }
}
