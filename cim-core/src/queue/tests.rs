//! Who waits for the disk while positions move, and who does not; what becomes of the books when sinks come and go.

use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use cim_spool::{SimFiles, Spool, SpoolOptions, StreamOptions};

use super::*;
use crate::settings::{OnFault, WhenFull};

mod outage;
mod waking;

const PATIENCE: Duration = Duration::from_secs(20);
const MAX_BYTES: u64 = 64 << 10;

struct Scene {
    disk: SimFiles,
    queue: Arc<ClassQueue>,
    _spool: Spool,
}

/// Publishers wait for room, and for a disk that works.
fn strict(level: Level) -> Rules {
    Rules { level, when_full: WhenFull::Block, on_fault: OnFault::Strict, max_age: None, tail_bytes: 1 << 20 }
}

impl Scene {
    /// Members `a` and `b`, whose positions have files.
    fn new() -> Self {
        Self::at(Level::Written)
    }

    fn at(level: Level) -> Self {
        Self::with(strict(level), 1 << 20)
    }

    fn with(rules: Rules, budget: usize) -> Self {
        let disk = SimFiles::new(1);
        let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/spool", "demo/demo-0") };
        let mut spool = Spool::open(Arc::new(disk.clone()), options).unwrap();
        let options = StreamOptions { max_age: rules.max_age, ..StreamOptions::new("logs", 4096, MAX_BYTES) };
        let (stream, _) = spool.stream(options).unwrap();
        let members = ["a".to_owned(), "b".to_owned()];
        let queue =
            ClassQueue::open(Class::Log, 1, rules, Budget::new(budget), Some(stream), &members).unwrap();
        let scene = Self { disk, queue: Arc::new(queue), _spool: spool };
        assert!(scene.commit(0));
        for member in 0..2 {
            scene.queue.settle(member, &run(1, 2));
        }
        scene
    }

    /// One frame of that many records of 1 KiB, behind a tiny one, and announced.
    fn commit(&self, records: usize) -> bool {
        let mut buf = FrameBuf::with_target(1024);
        buf.push(&[b"tiny"]);
        for _ in 0..records {
            buf.push(&[&[7; 1024]]);
        }
        let committed = self.queue.commit(buf, false);
        committed.map(|(end, _)| self.queue.announce(end)).is_ok()
    }

    /// Settles on a thread of its own; returns once that waits for the file.
    fn settle_stalled(&self, member: usize, end: u64, file: &Path) -> thread::JoinHandle<()> {
        self.disk.stall(Some(file));
        let queue = Arc::clone(&self.queue);
        let settling = thread::spawn(move || queue.settle(member, &run(1, end)));
        let start = Instant::now();
        while self.disk.waiting() == 0 {
            assert!(start.elapsed() < PATIENCE, "the settlement never came to {}", file.display());
            thread::yield_now();
        }
        settling
    }

    fn goes_on(&self, settling: thread::JoinHandle<()>) {
        self.disk.stall(None);
        settling.join().unwrap();
    }

    fn oldest(&self) -> PathBuf {
        let segment = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "seg");
        self.disk.paths().into_iter().find(segment).unwrap()
    }

    fn next_life(&self, member: &str) -> u64 {
        self.reopened().1.cursor(member).unwrap()
    }

    /// What the next process would find.
    fn reopened(&self) -> (Spool, cim_spool::Stream) {
        let disk = SimFiles::new(2);
        for path in self.disk.paths() {
            disk.put(&path, self.disk.contents(&path).unwrap());
        }
        let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/spool", "demo/demo-0") };
        let mut spool = Spool::open(Arc::new(disk), options).unwrap();
        let (stream, _) = spool.stream(StreamOptions::new("logs", 4096, MAX_BYTES)).unwrap();
        (spool, stream)
    }
}

fn run(first: u64, end: u64) -> Settlement {
    Settlement { first, end, ..Settlement::default() }
}

fn cursor(member: &str) -> PathBuf {
    Path::new("/spool/logs").join(format!("{member}.cursor"))
}

/// Runs on a thread of its own, so that a call that waits is a failure and not a test that hangs.
fn at_once<T: Send + 'static>(
    queue: &Arc<ClassQueue>,
    call: impl FnOnce(&ClassQueue) -> T + Send + 'static,
) -> T {
    let (done, is_done) = mpsc::sync_channel(1);
    let queue = Arc::clone(queue);
    thread::spawn(move || done.send(call(&queue)));
    is_done.recv_timeout(PATIENCE).expect("it waits for the disk")
}

#[test]
fn a_commit_does_not_wait_while_a_settlement_waits_for_the_disk() {
    for stall_removal in [false, true] {
        let scene = Scene::new();
        for _ in 0..10 {
            assert!(scene.commit(1));
        }
        scene.queue.settle(1, &run(1, 20));
        let oldest = scene.oldest();
        let stalled = if stall_removal { oldest.clone() } else { cursor("a") };
        let settling = scene.settle_stalled(0, 20, &stalled);
        let end = at_once(&scene.queue, |queue| {
            let mut buf = FrameBuf::with_target(1024);
            buf.push(&[b"live"]);
            queue.commit(buf, false).map(|(end, _)| end).map_err(|_| "no room")
        });
        assert_eq!(end, Ok(23));
        assert_eq!(at_once(&scene.queue, |queue| (queue.settled(), queue.is_full())), (20, false));
        assert!(scene.disk.contents(&oldest).is_some(), "nothing goes before the position is saved");
        assert_eq!(scene.next_life("a"), if stall_removal { 20 } else { 2 });
        scene.goes_on(settling);
        assert!(scene.disk.contents(&oldest).is_none());
        assert_eq!(scene.next_life("a"), 20);
    }
}

#[test]
fn members_that_settle_at_once_leave_the_newest_positions() {
    let scene = Scene::new();
    for _ in 0..10 {
        assert!(scene.commit(1));
    }
    let first = scene.settle_stalled(0, 10, &cursor("a"));
    let settlements: Vec<_> = (0..8u64)
        .map(|at| {
            let queue = Arc::clone(&scene.queue);
            thread::spawn(move || queue.settle((at % 2) as usize, &run(1, 12 + at)))
        })
        .collect();
    let start = Instant::now();
    while scene.queue.position(0) != 18 || scene.queue.position(1) != 19 {
        assert!(start.elapsed() < PATIENCE, "positions move before the disk answers");
        thread::yield_now();
    }
    scene.goes_on(first);
    settlements.into_iter().for_each(|settling| settling.join().unwrap());
    assert_eq!((scene.next_life("a"), scene.next_life("b")), (18, 19));
}

#[test]
fn a_full_class_has_room_again_when_the_file_is_gone_and_its_publishers_are_told() {
    let scene = Scene::new();
    while scene.commit(1) || scene.commit(0) {}
    let woken = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&woken);
    scene.queue.on_progress(Arc::new(move || told.store(true, Ordering::Release)));
    let end = scene.queue.lock().next_seq();
    scene.queue.settle(1, &run(1, end));
    let full = scene.queue.stored_bytes();
    let settling = scene.settle_stalled(0, end, &scene.oldest());
    assert!(at_once(&scene.queue, ClassQueue::is_full), "its bytes are still on the disk");
    assert_eq!(scene.queue.stored_bytes(), full);
    assert!(!woken.load(Ordering::Acquire));
    scene.goes_on(settling);
    assert!(!scene.queue.is_full() && scene.queue.stored_bytes() < full);
    assert!(woken.load(Ordering::Acquire));
    assert!(scene.commit(1));
}

#[test]
fn what_the_sinks_hold_leaves_less_memory_for_the_newest_frames() {
    let scene = Scene::with(Rules { tail_bytes: 16 << 10, ..strict(Level::Written) }, 1 << 20);
    let first = scene.queue.lock().next_seq();
    let in_memory = |seq| matches!(scene.queue.take(seq, 1, 1), Taken::Frames(_));
    assert!((0..10).all(|_| scene.commit(1)));
    assert!(in_memory(first));
    scene.queue.leave_memory(12 << 10);
    assert!(scene.commit(1));
    let newest = scene.queue.lock().next_seq() - 1;
    assert!(!in_memory(first) && in_memory(newest));
    scene.queue.leave_memory(usize::MAX);
    assert!(scene.commit(1));
    assert!(in_memory(newest), "a quarter stays");
}

#[test]
fn a_doubt_about_records_that_were_delivered_meanwhile_ends() {
    let scene = Scene::at(Level::Synced);
    scene.queue.sync_once();
    assert!(scene.commit(1));
    scene.disk.fail_syncs(1);
    scene.disk.fail(2, u64::MAX, cim_spool::Fault::Io);
    scene.queue.sync_once();
    assert!(scene.queue.fault().is_some(), "neither synced nor written again");
    scene.disk.heal();
    for member in 0..2 {
        scene.queue.settle(member, &run(1, 4));
    }
    assert!(scene.commit(1));
    scene.queue.sync_once();
    assert_eq!(scene.queue.fault(), None);
    assert_eq!(scene.queue.accepted(), 6);
}

#[test]
fn a_disk_that_failed_to_sync_is_tried_again_although_nobody_publishes() {
    let scene = Scene::at(Level::Synced);
    scene.queue.sync_once();
    // The scene's own commit may have left a question behind, so that there are two without anybody who publishes.
    scene.disk.fail_syncs(2);
    let queue = Arc::clone(&scene.queue);
    let syncing = thread::spawn(move || queue.run_sync());
    assert!(scene.commit(1));
    let until = |is_faulty: bool, meanwhile: &dyn Fn()| {
        let start = Instant::now();
        while scene.queue.fault().is_some() != is_faulty {
            assert!(start.elapsed() < PATIENCE, "faulty is not {is_faulty}");
            meanwhile();
            thread::yield_now();
        }
    };
    until(true, &|| ());
    until(false, &|| scene.queue.upkeep());
    scene.queue.stop_sync();
    syncing.join().unwrap();
    assert_eq!(scene.queue.accepted(), 4);
}

#[test]
fn a_sink_that_leaves_closes_its_books_and_opens_them_again_when_it_returns() {
    let scene = Scene::new();
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let books = |name: &str| {
        let all = scene.queue.books();
        assert!(all.iter().all(|(_, books)| books.balanced()), "{all:?}");
        all.into_iter().find(|(of, _)| of == name).unwrap().1
    };
    // Records 2 to 5, of which `a` delivers two.
    assert!(scene.commit(3));
    scene.queue.settle(0, &run(2, 4));

    scene.queue.set_members(&names(&["b", "c"])).unwrap();
    assert_eq!(scene.queue.departed(), ["a"]);
    let (left, came) = (books("a"), books("c"));
    assert_eq!((left.accepted, left.delivered, left.handed_over, left.held), (5, 3, 2, 0));
    assert_eq!((came.accepted, came.taken_over, came.held), (0, 2, 2));
    assert_eq!(books("b").held, 4, "who stays is not concerned");

    assert!(scene.commit(0));
    assert_eq!(books("a").accepted, 5, "what came after it is none of its business");
    scene.queue.settle(1, &run(4, 7));
    scene.queue.set_members(&names(&["a"])).unwrap();
    // It goes on where the slowest of those that left stopped.
    let back = books("a");
    assert_eq!((back.accepted, back.taken_over, back.delivered, back.held), (5, 5, 3, 5));
    assert_eq!((books("b").handed_over, books("c").handed_over, books("c").delivered), (5, 0, 3));
}

/// Whatever the reason: who writes it down has to know before the position does.
#[test]
fn what_some_sink_never_gets_is_told_before_a_position_passes_it() {
    type GivesUp = fn(&Scene);
    let aged = Rules { max_age: Some(Duration::ZERO), ..strict(Level::Written) };
    let ways: [(Rules, GivesUp); 3] = [
        (strict(Level::Written), |scene| scene.queue.lose(0, 4, DropReason::Damaged)),
        (strict(Level::Written), |scene| {
            scene.queue.settle(0, &Settlement { rejected: vec![3], ..run(2, 4) });
        }),
        (aged, |scene| scene.queue.upkeep()),
    ];
    for (way, (rules, give_up)) in ways.into_iter().enumerate() {
        let scene = Scene::with(rules, 1 << 20);
        assert!(scene.commit(1));
        let (told, saved) = (Arc::new(Mutex::new(Vec::new())), scene.disk.contents(&cursor("a")).unwrap());
        let (tell, disk, before) = (Arc::clone(&told), scene.disk.clone(), saved.clone());
        scene.queue.on_given_up(Arc::new(move |through| {
            lock(&tell).push((through, disk.contents(&cursor("a")).unwrap() == before));
        }));
        give_up(&scene);
        assert_eq!(lock(&told).first(), Some(&(4, true)), "way {way}");
        assert_ne!(scene.disk.contents(&cursor("a")).unwrap(), saved, "way {way}");
    }
}
