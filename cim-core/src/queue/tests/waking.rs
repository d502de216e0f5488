//! Who waits for room or for the disk is woken by whatever ends the wait, also where nothing is delivered.

use cim_spool::Fault;

use super::*;

struct Woken(Arc<AtomicU64>);

impl Woken {
    fn of(queue: &ClassQueue) -> Self {
        let times = Arc::new(AtomicU64::new(0));
        let told = Arc::clone(&times);
        queue.on_progress(Arc::new(move || {
            told.fetch_add(1, Ordering::AcqRel);
        }));
        Self(times)
    }

    fn times(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }
}

/// Until a small record finds no room either.
fn fill(scene: &Scene) {
    while scene.commit(1) || scene.commit(0) {}
    assert!(scene.queue.is_full());
}

#[test]
fn a_sink_that_leaves_makes_room_and_publishers_are_told() {
    let scene = Scene::new();
    fill(&scene);
    let end = scene.queue.lock().next_seq();
    scene.queue.settle(1, &run(1, end));
    assert!(scene.queue.is_full());
    let woken = Woken::of(&scene.queue);
    scene.queue.set_members(&["b".to_owned()]).unwrap();
    assert_eq!((scene.queue.is_full(), woken.times()), (false, 1));
    assert!(scene.commit(1));
}

#[test]
fn a_sink_that_leaves_makes_room_in_memory_too() {
    let rules = strict(Level::Memory);
    let members = ["a".to_owned(), "b".to_owned()];
    let queue = ClassQueue::open(Class::Log, 1, rules, Budget::new(16 << 10), None, &members).unwrap();
    let put = || {
        let mut buf = FrameBuf::with_target(1024);
        buf.push(&[&[7; 1024]]);
        queue.commit(buf, false).is_ok()
    };
    while put() {}
    let end = queue.lock().next_seq();
    queue.settle(1, &run(1, end));
    assert!(!put());
    let woken = Woken::of(&queue);
    queue.set_members(&["b".to_owned()]).unwrap();
    assert_eq!((queue.is_full(), woken.times()), (false, 1));
    assert!(put());
}

#[test]
fn records_that_grow_too_old_make_room_and_publishers_are_told() {
    let rules = Rules { max_age: Some(Duration::from_secs(60)), ..strict(Level::Written) };
    // The clock of the disk stands at 1970: everything is too old.
    let scene = Scene::with(rules, 1 << 20);
    fill(&scene);
    let woken = Woken::of(&scene.queue);
    scene.queue.upkeep();
    assert_eq!((scene.queue.is_full(), woken.times()), (false, 1));
    scene.queue.upkeep();
    assert_eq!(woken.times(), 1, "nobody waits any more");
}

#[test]
fn records_that_are_lost_make_room_and_publishers_are_told() {
    let scene = Scene::new();
    fill(&scene);
    let end = scene.queue.lock().next_seq();
    scene.queue.settle(1, &run(1, end));
    let woken = Woken::of(&scene.queue);
    scene.queue.lose(0, end, DropReason::Damaged);
    assert_eq!((scene.queue.is_full(), woken.times()), (false, 1));
}

#[test]
fn a_new_spool_has_room_and_publishers_are_told() {
    let scene = Scene::new();
    fill(&scene);
    scene.queue.detach("gone");
    let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/other", "demo/demo-0") };
    let mut spool = Spool::open(Arc::new(scene.disk.clone()), options).unwrap();
    let (stream, _) = spool.stream(StreamOptions::new("logs", 4096, 4 * MAX_BYTES)).unwrap();
    let woken = Woken::of(&scene.queue);
    scene.queue.attach(stream).unwrap();
    assert_eq!((scene.queue.is_full(), woken.times()), (false, 1));
}

#[test]
fn room_that_returns_between_a_refusal_and_its_note_is_not_overlooked() {
    // A refusal and the last settlement at the same time: who was refused is woken, or the settlement came before.
    for _ in 0..100 {
        let scene = Scene::new();
        fill(&scene);
        let end = scene.queue.lock().next_seq();
        scene.queue.settle(1, &run(1, end));
        scene.queue.wanted.store(false, Ordering::Release);
        let woken = Woken::of(&scene.queue);
        let queue = Arc::clone(&scene.queue);
        let settling = thread::spawn(move || queue.settle(0, &run(1, end)));
        let taken = scene.commit(1);
        settling.join().unwrap();
        assert!(taken || woken.times() > 0, "refused, and nobody is told that there is room");
    }
}

#[test]
fn who_waits_for_a_sync_is_woken_when_a_fault_ends_the_wait() {
    let rules = Rules { on_fault: OnFault::Degrade, ..strict(Level::Synced) };
    let scene = Scene::with(rules, 1 << 20);
    scene.queue.sync_once();
    assert!(scene.commit(0));
    assert_eq!(scene.queue.accepted(), 2, "it waits for a sync");
    let woken = Woken::of(&scene.queue);
    scene.disk.fail(1, u64::MAX, Fault::Io);
    assert!(scene.commit(0));
    assert_eq!((scene.queue.accepted(), woken.times()), (4, 1));
}
