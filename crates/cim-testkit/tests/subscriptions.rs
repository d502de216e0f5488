//! Subscriptions over a feed in memory and an outlet that does what the test says, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::subscriptions::{FeedState, Filter, Outlet, Subscriptions, Taken};
use cim_core::supervisor::Supervisor;
use cim_core::{EventSource, Values};
use cim_testkit::{FeedRecord, MemoryFeed};
use tokio::time::{sleep, timeout};

/// Keeps what it is handed until the test takes it.
#[derive(Default)]
struct Hand {
    parcels: Mutex<VecDeque<(Values, Taken)>>,
}

impl Outlet for Hand {
    fn most(&self) -> usize {
        1 << 20
    }

    fn hand_over(&self, values: Values, taken: Taken) {
        self.parcels.lock().unwrap().push_back((values, taken));
    }
}

struct Stage {
    feed: MemoryFeed,
    hand: Arc<Hand>,
    subscriptions: Subscriptions,
}

impl Stage {
    fn start() -> Self {
        let (feed, hand, subscriptions) =
            (MemoryFeed::new(), Arc::new(Hand::default()), Subscriptions::open(None));
        let supervisor = Supervisor::new(tokio::runtime::Handle::current());
        let source: Arc<dyn EventSource> = Arc::new(feed.clone());
        subscriptions.follow(&supervisor, source, Arc::clone(&hand) as Arc<dyn Outlet>);
        Self { feed, hand, subscriptions }
    }

    async fn subscribe(&self, name: &str) -> String {
        let filter = Filter { local_event_name: Some(vec![name.to_owned()]), ..Filter::default() };
        self.subscriptions.create(filter).await.unwrap()
    }

    fn push(&self, name: &str, value: &[u8]) {
        let headers = vec![("localEventName".to_owned(), name.as_bytes().to_vec())];
        self.feed.push(FeedRecord { headers, value: value.to_vec() });
    }

    /// Waits until something holds.
    async fn until(&self, what: &str, holds: impl Fn(&Self) -> bool) {
        let waited = async {
            while !holds(self) {
                sleep(Duration::from_millis(10)).await;
            }
        };
        let waited = timeout(Duration::from_secs(120), waited).await;
        assert!(waited.is_ok(), "{what}: {:?}", self.subscriptions.view());
    }

    /// Takes everything that is handed over.
    fn take(&self) -> Vec<Vec<u8>> {
        let parcels: Vec<_> = self.hand.parcels.lock().unwrap().drain(..).collect();
        let values = parcels.iter().flat_map(|(values, _)| values.iter().map(<[u8]>::to_vec)).collect();
        parcels.into_iter().for_each(|(_, taken)| taken.tell());
        values
    }

    fn handed(&self) -> usize {
        self.hand.parcels.lock().unwrap().iter().map(|(values, _)| values.len()).sum()
    }
}

#[tokio::test(start_paused = true)]
async fn a_position_is_committed_once_everything_before_it_was_taken() {
    let stage = Stage::start();
    stage.subscribe("A").await;
    assert_eq!(stage.feed.committed(), Some(0));
    for name in ["B", "A", "B", "A", "B"] {
        stage.push(name, name.as_bytes());
    }
    stage.until("two handed over", |stage| stage.handed() == 2).await;
    sleep(Duration::from_secs(5)).await;
    // The first was wanted by nobody and may have been read by itself.
    assert!(stage.feed.committed() <= Some(1), "{:?}", stage.feed.committed());
    assert_eq!(stage.take(), [b"A", b"A"]);
    stage.until("all committed", |stage| stage.feed.committed() == Some(5)).await;
    let view = stage.subscriptions.view();
    assert_eq!((view.read, view.matched, view.delivered, view.waiting_bytes), (5, 2, 2, 0));
}

#[tokio::test(start_paused = true)]
async fn reading_rests_at_four_mebibytes_and_goes_on_at_half_of_it() {
    let stage = Stage::start();
    stage.subscribe("A").await;
    for number in 0..20_u8 {
        stage.push("A", &vec![number; 500_000]);
        // One at a time, so that the bound is met record by record.
        sleep(Duration::from_millis(20)).await;
    }
    stage.until("rest", |stage| stage.subscriptions.view().feed == FeedState::Resting).await;
    assert_eq!(stage.handed(), 9, "4 MiB and the record that crossed them");
    let mut received = 0;
    while received < 20 {
        received += stage.take().len();
        sleep(Duration::from_millis(50)).await;
    }
    stage.until("all committed", |stage| stage.feed.committed() == Some(20)).await;
    assert_eq!(stage.subscriptions.view().feed, FeedState::Reading);
}

#[tokio::test(start_paused = true)]
async fn a_source_that_fails_is_begun_again_for_ever() {
    let stage = Stage::start();
    stage.feed.set_absent(true);
    stage.subscribe("A").await;
    stage.until("trouble", |stage| stage.subscriptions.view().trouble.is_some()).await;
    sleep(Duration::from_secs(3_600)).await;
    let failures = stage.subscriptions.view().failures;
    assert!((300..400).contains(&failures), "{failures} attempts in an hour");
    stage.feed.set_absent(false);
    stage.until("reading", |stage| stage.subscriptions.view().feed == FeedState::Reading).await;
    stage.push("A", b"1");
    stage.until("one handed over", |stage| stage.handed() == 1).await;
}

#[tokio::test(start_paused = true)]
async fn without_subscriptions_there_is_no_reader_and_what_came_meanwhile_is_read_later() {
    let stage = Stage::start();
    let id = stage.subscribe("A").await;
    stage.push("A", b"1");
    stage.until("one handed over", |stage| stage.handed() == 1).await;
    assert_eq!(stage.take(), [b"1"]);
    stage.until("committed", |stage| stage.feed.committed() == Some(1)).await;
    stage.subscriptions.remove(&id).await.unwrap();
    stage.until("idle", |stage| stage.subscriptions.view().feed == FeedState::Idle).await;
    stage.push("A", b"2");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.handed(), 0);
    stage.subscribe("A").await;
    stage.until("one handed over", |stage| stage.handed() == 1).await;
    assert_eq!(stage.take(), [b"2"]);
}

#[tokio::test(start_paused = true)]
async fn the_end_commits_what_was_taken() {
    let stage = Stage::start();
    stage.subscribe("A").await;
    stage.push("A", b"1");
    stage.until("one handed over", |stage| stage.handed() == 1).await;
    stage.take();
    stage.until("delivered", |stage| stage.subscriptions.view().delivered == 1).await;
    stage.subscriptions.stop().await;
    assert_eq!(stage.feed.committed(), Some(1));
    assert_eq!(stage.subscriptions.view().feed, FeedState::Ended);
}

/// Calls from many sides, while records are judged: one owner, so nothing can be torn.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn subscriptions_may_change_at_any_time_while_records_are_read() {
    let stage = Arc::new(Stage::start());
    stage.subscribe("A").await;
    let changes = (0..8).map(|_| {
        let stage = Arc::clone(&stage);
        async move {
            for _ in 0..20 {
                let id = stage.subscribe("A").await;
                stage.subscriptions.replace(&id, Filter::default()).await.unwrap();
                stage.subscriptions.remove(&id).await.unwrap();
            }
        }
    });
    let records = async {
        for number in 0..400_u32 {
            stage.push("A", number.to_string().as_bytes());
            tokio::task::yield_now().await;
        }
    };
    tokio::join!(futures_util::future::join_all(changes), records);
    let mut received = Vec::new();
    while received.len() < 400 {
        received.extend(stage.take());
        sleep(Duration::from_millis(1)).await;
    }
    let expected: Vec<_> = (0..400_u32).map(|number| number.to_string().into_bytes()).collect();
    assert_eq!(received, expected);
}
