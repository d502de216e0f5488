//! Subscriptions over a feed in memory and an outlet that does what the test says, in virtual time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use cim_core::deadletter::Letters;
use cim_core::subscriptions::{Answers, FeedState, Filter, Outlet, Request, Rules, Subscriptions, Taken};
use cim_core::supervisor::Supervisor;
use cim_core::{EventSource, Values};
use cim_testkit::{FeedRecord, MemoryFeed};
use tokio::time::{sleep, timeout};

/// Keeps what it is handed until the test takes it.
#[derive(Default)]
struct Hand {
    parcels: Mutex<VecDeque<(Values, Taken)>>,
    requests: Mutex<VecDeque<(Vec<Request>, Taken)>>,
    answers: OnceLock<Arc<Answers>>,
}

impl Outlet for Hand {
    fn most(&self) -> usize {
        1 << 20
    }

    fn hand_over(&self, values: Values, taken: Taken) {
        self.parcels.lock().unwrap().push_back((values, taken));
    }

    fn request(&self, requests: Vec<Request>, taken: Taken) {
        self.requests.lock().unwrap().push_back((requests, taken));
    }

    fn answers_go_to(&self, answers: Arc<Answers>) {
        self.answers.set(answers).unwrap();
    }
}

const RULES: Rules = Rules { ack_wait: Duration::from_secs(30), max_deliver: 3, max_pending: 4 };

struct Stage {
    feed: MemoryFeed,
    hand: Arc<Hand>,
    subscriptions: Subscriptions,
}

impl Stage {
    fn start() -> Self {
        Self::start_with(None)
    }

    fn start_with(letters: Option<Letters>) -> Self {
        let (feed, hand, subscriptions) =
            (MemoryFeed::new(), Arc::new(Hand::default()), Subscriptions::open(None, ""));
        let supervisor = Supervisor::new(tokio::runtime::Handle::current());
        let source: Arc<dyn EventSource> = Arc::new(feed.clone());
        let outlet = Arc::clone(&hand) as Arc<dyn Outlet>;
        subscriptions.follow(&supervisor, source, outlet, letters, RULES);
        Self { feed, hand, subscriptions }
    }

    async fn subscribe(&self, name: &str) -> String {
        let filter = Filter { local_event_name: Some(vec![name.to_owned()]), ..Filter::default() };
        self.subscriptions.create(filter).await.unwrap()
    }

    /// Subscribes and asks for answers.
    async fn subscribe_asking(&self, name: &str) -> String {
        let body = format!(r#"{{"localEventName":["{name}"],"acknowledge":true}}"#);
        self.subscriptions.create(Filter::parse(body.as_bytes()).unwrap()).await.unwrap()
    }

    /// Takes the requests that are there.
    fn requests(&self) -> Vec<Request> {
        let parcels: Vec<_> = self.hand.requests.lock().unwrap().drain(..).collect();
        let (requests, taken): (Vec<_>, Vec<_>) = parcels.into_iter().unzip();
        taken.into_iter().for_each(Taken::tell);
        requests.into_iter().flatten().collect()
    }

    /// Waits for so many requests and takes them.
    async fn requested(&self, count: usize) -> Vec<Request> {
        let mut requests = Vec::new();
        while requests.len() < count {
            requests.extend(self.requests());
            sleep(Duration::from_millis(10)).await;
        }
        requests
    }

    fn answer(&self, request: &Request, word: &str) {
        assert!(self.hand.answers.get().unwrap().tell(request.name.as_bytes(), word.as_bytes()));
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

#[tokio::test(start_paused = true)]
async fn what_was_taken_in_the_moment_of_the_end_is_committed_too() {
    let stage = Stage::start();
    stage.subscribe("A").await;
    stage.push("A", b"1");
    stage.push("A", b"2");
    stage.until("both handed over", |stage| stage.handed() == 2).await;
    // Nobody reads on between these two.
    stage.take();
    stage.subscriptions.stop().await;
    assert_eq!(stage.feed.committed(), Some(2));
    assert_eq!(stage.subscriptions.view().delivered, 2);
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

#[tokio::test(start_paused = true)]
async fn nothing_is_committed_beyond_the_first_record_without_an_answer() {
    let stage = Stage::start();
    let id = stage.subscribe_asking("A").await;
    stage.subscribe("B").await;
    for name in ["A", "B", "A", "A", "C"] {
        stage.push(name, name.as_bytes());
    }
    let requests = stage.requested(3).await;
    stage.until("the plain one", |stage| stage.handed() == 1).await;
    assert_eq!(stage.take(), [b"B"]);
    stage.answer(&requests[0], "");
    stage.answer(&requests[2], "+ACK");
    stage.until("two settled", |stage| stage.feed.committed() == Some(2)).await;
    assert_eq!(stage.subscriptions.view().acknowledged[&id].pending, 1);
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.feed.committed(), Some(2));
    stage.answer(&requests[1], "+ACK");
    stage.until("all committed", |stage| stage.feed.committed() == Some(5)).await;
}

#[tokio::test(start_paused = true)]
async fn time_runs_only_when_somebody_has_the_notification() {
    let stage = Stage::start();
    let id = stage.subscribe_asking("A").await;
    stage.push("A", b"1");
    stage.until("the request", |stage| !stage.hand.requests.lock().unwrap().is_empty()).await;
    sleep(Duration::from_secs(3_600)).await;
    assert_eq!(stage.hand.requests.lock().unwrap().len(), 1);
    for (delivery, seconds) in [(1, 0), (2, 31), (3, 32)] {
        sleep(Duration::from_secs(seconds)).await;
        let requests = stage.requested(1).await;
        assert_eq!((requests[0].delivery, &requests[0].value[..]), (delivery, &b"1"[..]));
    }
    // Without a spool there is nowhere to put it.
    stage.until("the end", |stage| stage.subscriptions.view().acknowledged[&id].dead == 1).await;
    stage.until("the commit", |stage| stage.feed.committed() == Some(1)).await;
    assert_eq!(stage.subscriptions.view().acknowledged[&id].redelivered, 2);
}

#[tokio::test(start_paused = true)]
async fn reading_rests_while_a_subscription_has_more_without_answer_than_it_may() {
    let stage = Stage::start();
    stage.subscribe_asking("A").await;
    stage.subscribe("B").await;
    for number in 0..6_u8 {
        stage.push("A", &[number]);
    }
    let requests = stage.requested(4).await;
    stage.until("rest", |stage| stage.subscriptions.view().feed == FeedState::Resting).await;
    stage.push("B", b"plain");
    sleep(Duration::from_secs(5)).await;
    assert_eq!((stage.handed(), stage.requests().len()), (0, 0));
    requests.iter().for_each(|request| stage.answer(request, ""));
    stage.until("the plain one", |stage| stage.handed() == 1).await;
    let requests = stage.requested(2).await;
    assert_eq!(requests.iter().map(|request| request.value[0]).collect::<Vec<_>>(), [4, 5]);
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_is_removed_takes_what_is_not_settled_with_it() {
    let stage = Stage::start();
    let id = stage.subscribe_asking("A").await;
    stage.subscribe("B").await;
    stage.push("A", b"1");
    stage.requested(1).await;
    stage.push("C", b"2");
    sleep(Duration::from_secs(1)).await;
    assert!(stage.feed.committed() < Some(2));
    stage.subscriptions.remove(&id).await.unwrap();
    stage.until("all committed", |stage| stage.feed.committed() == Some(2)).await;
    assert!(stage.subscriptions.view().acknowledged.is_empty());
}
