//! Records that a sink refuses for good, and a store of dead letters that is too small or on a disk that fails.

use cim_spool::Crash;

use super::*;
use crate::books::DropReason;
use crate::deadletter::{self, DeadLetters, Letter, Origin};

/// A queue in memory, and a store of dead letters on a disk of its own.
struct Post {
    disk: SimFiles,
    queue: Arc<ClassQueue>,
    store: Arc<DeadLetters>,
    _spool: Spool,
}

fn opened(disk: &SimFiles, max_bytes: u64) -> (Spool, DeadLetters) {
    let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/spool", "demo/demo-0") };
    let mut spool = Spool::open(Arc::new(disk.clone()), options).unwrap();
    let (stream, _) = spool.stream(StreamOptions::new(deadletter::STREAM, 1 << 20, max_bytes)).unwrap();
    (spool, DeadLetters::open(stream).unwrap())
}

impl Post {
    fn new(max_bytes: u64) -> Self {
        let disk = SimFiles::new(1);
        let (spool, store) = opened(&disk, max_bytes);
        let rules = Rules {
            level: Level::Memory,
            when_full: WhenFull::Block,
            on_fault: OnFault::Degrade,
            max_age: None,
            tail_bytes: 0,
        };
        let queue =
            ClassQueue::open(Class::Log, 1, rules, Budget::new(8 << 20), None, &["a".to_owned()]).unwrap();
        Self { disk, queue: Arc::new(queue), store: Arc::new(store), _spool: spool }
    }

    fn publish(&self, bytes: usize) {
        let mut buf = FrameBuf::with_target(1024);
        let prefix = Prefix::new(Encoding::Text, 0, None, b"", false);
        buf.push(&prefix.parts(&vec![b'x'; bytes]));
        let Ok((end, _)) = self.queue.commit(buf, false) else { panic!("no room") };
        self.queue.announce(end);
    }

    fn worker(&self, sink: &Arc<Shelf>, spare: Option<&Arc<Shelf>>, phase: Phase) -> Worker {
        let worker = worker(&self.queue, sink, spare, &watch::Sender::new(phase));
        let primary_due = spare.map(|_| Instant::now() + PATIENCE);
        Worker { dead_letters: Some(Arc::clone(&self.store)), primary_due, ..worker }
    }

    /// Delivers what was published, to a sink that refuses records of that size; returns the numbers that it took.
    async fn drain(&self, refused: usize) -> Vec<u64> {
        let sink = Arc::new(Shelf { refused: Some(refused), ..Shelf::default() });
        let worker = self.worker(&sink, None, Phase::Draining);
        timeout(PATIENCE, worker.run()).await.expect("it ends");
        sink.got.lock().unwrap().clone()
    }

    /// Delivered, dead, dropped.
    fn books(&self) -> (u64, u64, u64) {
        let books = self.queue.books().swap_remove(0).1;
        assert!(books.balanced(), "{books:?}");
        (books.delivered, books.dead_lettered, books.dropped_as(DropReason::Rejected))
    }
}

fn small(seq: u64) -> Letter {
    Letter::new(Origin::Queue(Class::Log), seq, "logs", "rejected", "no", b"an older one")
}

#[tokio::test(start_paused = true)]
async fn a_letter_that_fits_into_no_store_is_dropped_and_costs_no_other_one() {
    for max_bytes in [0, 512 << 10] {
        let post = Post::new(max_bytes);
        let kept = if max_bytes == 0 { 0 } else { 3 };
        for seq in 0..kept {
            post.store.put(&small(seq), None).unwrap();
        }
        post.publish(1 << 20);
        post.publish(8);
        assert_eq!(post.drain(1 << 20).await, [2], "what is behind it does not wait");
        assert_eq!(post.books(), (1, 0, 1));
        assert_eq!((post.store.len(), post.store.evicted()), (kept, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_sync_fails_is_stored_once_and_for_sure() {
    for failures in [1, 3] {
        let post = Post::new(16 << 20);
        post.publish(100);
        post.publish(8);
        post.disk.fail_syncs(failures);
        assert_eq!(post.drain(100).await, [2]);
        assert_eq!(post.books(), (1, 1, 0));
        assert_eq!(post.store.list().unwrap().len(), 1, "after {failures} failed syncs");
        post.disk.crash(Crash::Power);
        let (_spool, store) = opened(&post.disk, 16 << 20);
        assert_eq!(store.list().unwrap().len(), 1, "a power loss takes what the failed sync left");
    }
}

#[tokio::test(start_paused = true)]
async fn what_the_fallback_refuses_and_no_store_holds_waits_for_the_sink() {
    let post = Post::new(512 << 10);
    post.publish(1 << 20);
    let spare = Arc::new(Shelf { refused: Some(1 << 20), ..Shelf::default() });
    let sink = shelf(SinkProfile::default());
    let worker = post.worker(&sink, Some(&spare), Phase::Draining);
    timeout(2 * PATIENCE, worker.run()).await.expect("it ends");
    assert_eq!((sink.got.lock().unwrap().as_slice(), post.books()), (&[1][..], (1, 0, 0)));
}
