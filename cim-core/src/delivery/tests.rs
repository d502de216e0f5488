//! Delivery from a disk that cannot be read: it passes what is lost, and goes on with whatever needs no disk.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use cim_spool::{FrameBuf, SimFiles, Spool, SpoolOptions, StreamOptions};
use cim_wire::{Class, Encoding};
use tokio::sync::watch;
use tokio::time::timeout;

use super::feed::{Feed, Next};
use super::{Condition, Fallback, Outlet, Phase, Worker};
use crate::budget::Budget;
use crate::contract::{
    Batch, Component, DeliveryError, DeliveryErrorKind, Level, LogRecord, LogSink, SinkProfile,
};
use crate::envelope::Prefix;
use crate::queue::{ClassQueue, Rules};
use crate::settings::{FallbackMode, OnFault, WhenFull};

mod letters;

/// Time stands still while anything works, so this is over only when nothing comes any more.
const PATIENCE: Duration = Duration::from_secs(60);

/// Keeps the numbers of what it gets.
#[derive(Default)]
struct Shelf {
    profile: SinkProfile,
    /// Records of that many bytes are refused for good.
    refused: Option<usize>,
    got: Mutex<Vec<u64>>,
}

#[async_trait]
impl Component for Shelf {
    fn name(&self) -> &str {
        "shelf"
    }
}

#[async_trait]
impl LogSink for Shelf {
    fn profile(&self) -> SinkProfile {
        self.profile
    }
    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        if batch.iter().any(|record| Some(record.log.text().len()) == self.refused) {
            return Err(DeliveryError::new(DeliveryErrorKind::TooLarge, "too large"));
        }
        self.got.lock().unwrap().extend(batch.iter().map(|record| record.meta.seq));
        Ok(())
    }
}

/// Four frames of one record that only the disk holds.
struct Scene {
    disk: SimFiles,
    /// The file that holds the second frame, and where it begins there.
    second: (PathBuf, u64),
    queue: Arc<ClassQueue>,
    _spool: Spool,
}

impl Scene {
    fn new(segment_bytes: u64) -> Self {
        let disk = SimFiles::new(1);
        let options = SpoolOptions { reserve_bytes: 0, ..SpoolOptions::new("/spool", "demo/demo-0") };
        let mut spool = Spool::open(Arc::new(disk.clone()), options).unwrap();
        let (stream, _) = spool.stream(StreamOptions::new("logs", segment_bytes, 1 << 20)).unwrap();
        let rules = Rules {
            level: Level::Written,
            when_full: WhenFull::Block,
            on_fault: OnFault::Strict,
            max_age: None,
            tail_bytes: 0,
        };
        let members = ["a".to_owned()];
        let queue =
            ClassQueue::open(Class::Log, 1, rules, Budget::new(1 << 20), Some(stream), &members).unwrap();
        let mut places = Vec::new();
        for _ in 0..4 {
            commit(&queue);
            let is_segment = |path: &PathBuf| path.extension().is_some_and(|ext| ext == "seg");
            let newest = disk.paths().into_iter().rfind(is_segment).unwrap();
            let len = disk.contents(&newest).unwrap().len() as u64;
            places.push((newest, len));
        }
        let (file, end) = places.swap_remove(1);
        let start = if places.first().unwrap().0 == file { places.first().unwrap().1 } else { 64 };
        assert!(start < end);
        Self { disk, second: (file, start), queue: Arc::new(queue), _spool: spool }
    }

    /// The header of the second frame cannot be read.
    fn with_a_bad_place() -> Self {
        let scene = Self::new(256 << 10);
        let (file, start) = &scene.second;
        scene.disk.wear_out(file, *start..*start + 1);
        scene
    }

    /// Nothing of the file with the second frame can be read, as on a device that is gone.
    fn with_a_bad_file() -> Self {
        let scene = Self::new(4096);
        scene.disk.wear_out(&scene.second.0, 0..u64::MAX);
        scene
    }

    fn worker(&self, sink: &Arc<Shelf>, spare: Option<&Arc<Shelf>>, phase: &watch::Sender<Phase>) -> Worker {
        worker(&self.queue, sink, spare, phase)
    }

    async fn first_is_delivered(&self) {
        let delivered = async {
            while self.queue.position(0) < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        timeout(PATIENCE, delivered).await.expect("the first one is delivered");
    }
}

/// Delivers the queue to the sink, or to the spare one for longer than a test takes.
fn worker(
    queue: &Arc<ClassQueue>,
    sink: &Arc<Shelf>,
    spare: Option<&Arc<Shelf>>,
    phase: &watch::Sender<Phase>,
) -> Worker {
    let fallback = |spare: &Arc<Shelf>| Fallback {
        outlet: Outlet::Logs(Arc::clone(spare) as Arc<dyn LogSink>),
        after: Duration::ZERO,
        mode: FallbackMode::Final,
    };
    Worker {
        queue: Arc::clone(queue),
        member: 0,
        label: "logs".to_owned(),
        outlet: Outlet::Logs(Arc::clone(sink) as Arc<dyn LogSink>),
        fallback: spare.map(fallback),
        dead_letters: None,
        condition: Arc::new(Condition::new()),
        phase: phase.subscribe(),
        primary_due: spare.map(|_| Instant::now() + 10 * PATIENCE),
        seen_before: 0,
        copied_to: 0,
    }
}

fn shelf(profile: SinkProfile) -> Arc<Shelf> {
    Arc::new(Shelf { profile, ..Shelf::default() })
}

/// Two pages with its header, so that no page has parts of two frames.
fn commit(queue: &ClassQueue) {
    let mut buf = FrameBuf::with_target(1024);
    let prefix = Prefix::new(Encoding::Text, 0, None, b"", false);
    buf.push(&prefix.parts(&[b'x'; (8 << 10) - 34 - 9]));
    let Ok((end, _)) = queue.commit(buf, false) else { panic!("no room") };
    queue.announce(end);
}

/// Whether the records before it are together in hand when it fails, or each by itself.
#[tokio::test(start_paused = true)]
async fn what_lies_behind_a_place_that_cannot_be_read_is_delivered() {
    for max_bytes in [1, 1 << 20] {
        for with_fallback in [false, true] {
            let scene = Scene::with_a_bad_place();
            let sink = shelf(SinkProfile { max_bytes, ..SinkProfile::default() });
            let spare = with_fallback.then_some(&sink);
            let worker = scene.worker(&sink, spare, &watch::Sender::new(Phase::Draining));
            let _ = timeout(PATIENCE, worker.run()).await;
            assert_eq!(*sink.got.lock().unwrap(), [1, 3, 4], "{max_bytes} {with_fallback}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_cannot_be_read_holds_up_no_end() {
    for with_fallback in [false, true] {
        let scene = Scene::with_a_bad_file();
        let sink = shelf(SinkProfile { max_bytes: 1, ..SinkProfile::default() });
        let phase = watch::Sender::new(Phase::Running);
        let worker = scene.worker(&sink, with_fallback.then_some(&sink), &phase);
        let end = async {
            scene.first_is_delivered().await;
            phase.send_replace(Phase::Landing);
        };
        let (ended, ()) = tokio::join!(timeout(2 * PATIENCE, worker.run()), end);
        ended.expect("it ends");
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_on_its_way_goes_on_while_the_disk_cannot_be_read() {
    let scene = Scene::with_a_bad_file();
    let sink = shelf(SinkProfile { max_bytes: 1, max_in_flight: 2, ..SinkProfile::default() });
    let phase = watch::Sender::new(Phase::Running);
    tokio::select! {
        () = scene.worker(&sink, None, &phase).run() => panic!("nobody has ended it"),
        () = scene.first_is_delivered() => {}
    }
}

#[tokio::test(start_paused = true)]
async fn copies_end_when_the_sink_is_due_although_the_disk_cannot_be_read() {
    let scene = Scene::with_a_bad_file();
    let (sink, phase) = (shelf(SinkProfile::default()), watch::Sender::new(Phase::Running));
    let mut worker = scene.worker(&sink, Some(&sink), &phase);
    let copies = worker.copy_until(1, Instant::now() + PATIENCE / 2);
    timeout(PATIENCE, copies).await.expect("it ends");
    assert_eq!(*sink.got.lock().unwrap(), [1]);
}

#[tokio::test(start_paused = true)]
async fn reads_that_nobody_waits_for_to_the_end_count() {
    let scene = Scene::with_a_bad_place();
    let mut feed = Feed::new(Arc::clone(&scene.queue), 2);
    let next = async {
        loop {
            // Shorter than the pause behind a failure.
            if let Ok(next) = timeout(Duration::from_millis(1), feed.next(&SinkProfile::default())).await {
                return next;
            }
        }
    };
    let next = timeout(PATIENCE, next).await.expect("it passes the place");
    assert!(matches!(next, Next::Lost(3)), "{next:?}");
}
