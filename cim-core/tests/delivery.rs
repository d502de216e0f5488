//! The engine from intake to sink, with sinks that fail in every way they can.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use cim_core::intake::{Offer, Offered};
use cim_core::settings::{RouteSettings, RoutesSettings, SinkNames};
use cim_core::{Cim, Class, DeliveryErrorKind, DeliveryState, Durability, SinkProfile, StartError};
use tokio::sync::Notify;

use support::{Answer, LONG_END, Scripted, logs, numbered, send, send_together, settled, until};

fn engine(sink: &Arc<Scripted>) -> Cim {
    Cim::builder().sink("test", sink.sink()).start().unwrap()
}

#[tokio::test]
async fn records_arrive_in_order_and_the_books_balance() {
    let sink = Scripted::new();
    let cim = engine(&sink);
    send(&cim, &numbered(0..500)).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..500));
    let books = logs(&cim).books;
    assert_eq!((books.accepted, books.delivered, books.held), (500, 500, 0));
    let report = cim.stop(Duration::from_secs(1)).await;
    assert_eq!((report.delivered, report.exit_code()), (500, 0));
}

#[tokio::test]
async fn every_retryable_failure_is_repeated_in_order() {
    use DeliveryErrorKind::{Closed, Throttled, Unauthorized, Unavailable};
    let sink = Scripted::new();
    for kind in [Unavailable, Throttled, Closed, Unauthorized] {
        sink.script.lock().unwrap().push_back(Answer::Fail(kind));
    }
    sink.script.lock().unwrap().push_back(Answer::Panic);
    let cim = engine(&sink);
    send(&cim, &numbered(0..50)).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..50));
    assert_eq!(logs(&cim).delivery.state, DeliveryState::Ready);
}

#[tokio::test]
async fn only_what_was_not_delivered_is_sent_again() {
    let sink = Scripted::new();
    let cim = engine(&sink);
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    send(&cim, &numbered(0..10)).await;
    until(&cim, "first failure", |cim| logs(cim).delivery.attempts > 0).await;
    sink.script.lock().unwrap().push_back(Answer::Only(DeliveryErrorKind::Unavailable, vec![0]));
    *sink.down.lock().unwrap() = None;
    settled(&cim).await;
    let mut lines = sink.lines();
    lines.sort_by_key(|line| line[5..].parse::<u32>().unwrap());
    assert_eq!(lines, numbered(0..10));
}

#[tokio::test]
async fn a_poisoned_record_goes_to_the_dead_letters_and_its_neighbours_pass() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    *sink.poison.lock().unwrap() = Some(("line 13".into(), DeliveryErrorKind::Rejected));
    let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    send(&cim, &numbered(0..40)).await;
    *sink.down.lock().unwrap() = None;
    settled(&cim).await;
    let mut expected = numbered(0..40);
    expected.remove(13);
    assert_eq!(sink.lines(), expected);
    let books = logs(&cim).books;
    assert_eq!((books.delivered, books.dead_lettered, books.dropped_total()), (39, 1, 0));
    let letters = cim.dead_letters().unwrap().list().unwrap();
    assert_eq!((letters.len(), letters[0].seq, letters[0].reason.as_str()), (1, 14, "rejected"));

    assert_eq!(cim.replay_dead_letters().unwrap(), 1);
    settled(&cim).await;
    let again = cim.dead_letters().unwrap().list().unwrap();
    assert_eq!((again.len(), again[0].seq), (1, 41), "refused again, it is a letter again");

    *sink.poison.lock().unwrap() = None;
    assert_eq!(cim.replay_dead_letters().unwrap(), 1);
    settled(&cim).await;
    assert_eq!(sink.lines().last().map(String::as_str), Some("line 13"));
    assert!(cim.dead_letters().unwrap().is_empty());
}

#[tokio::test]
async fn without_a_spool_a_poisoned_record_is_dropped_by_name() {
    let sink = Scripted::new();
    *sink.poison.lock().unwrap() = Some(("line 1".into(), DeliveryErrorKind::TooLarge));
    let cim = engine(&sink);
    send(&cim, &numbered(0..3)).await;
    settled(&cim).await;
    let books = logs(&cim).books;
    assert_eq!((books.delivered, books.dropped_total()), (2, 1));
    assert_eq!(cim.stop(Duration::from_secs(1)).await.exit_code(), 3);
}

#[tokio::test]
async fn batches_gather_while_one_is_on_its_way_and_keep_to_the_limits() {
    let sink = Scripted::new();
    *sink.profile.lock().unwrap() = SinkProfile { max_records: 7, ..SinkProfile::default() };
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let cim = engine(&sink);
    send(&cim, &numbered(0..100)).await;
    *sink.down.lock().unwrap() = None;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..100));
    assert!(sink.batches.lock().unwrap().iter().all(|size| *size <= 7));
}

#[tokio::test]
async fn a_window_of_several_batches_keeps_order_through_failures() {
    let sink = Scripted::new();
    *sink.profile.lock().unwrap() =
        SinkProfile { max_records: 3, max_in_flight: 4, ..SinkProfile::default() };
    let cim = engine(&sink);
    *sink.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    send(&cim, &numbered(0..200)).await;
    *sink.down.lock().unwrap() = None;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..200));
}

#[tokio::test]
async fn batches_in_flight_behind_a_failed_one_are_repeated_after_it() {
    window_of_four(SinkProfile { max_records: 3, ..SinkProfile::default() }).await;
}

#[tokio::test]
async fn batches_that_are_full_by_bytes_are_in_flight_together() {
    window_of_four(SinkProfile { max_bytes: 300, ..SinkProfile::default() }).await;
}

/// Four batches hang at the same time, and all of their records come again, in order.
async fn window_of_four(profile: SinkProfile) {
    let sink = Scripted::new();
    *sink.profile.lock().unwrap() =
        SinkProfile { max_in_flight: 4, durability: Durability::Remote, ..profile };
    let told: [Arc<Notify>; 4] = std::array::from_fn(|_| Arc::default());
    sink.script.lock().unwrap().extend(told.iter().cloned().map(Answer::FailWhenTold));
    let cim = engine(&sink);
    send(&cim, &numbered(0..50)).await;
    // None of them ends before all are in flight.
    until(&cim, "four batches in flight", |_| sink.script.lock().unwrap().is_empty()).await;
    told.iter().for_each(|told| told.notify_one());
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..50));
    assert!(sink.redelivered.lock().unwrap().len() > 3, "only one batch was repeated");
    assert_eq!(logs(&cim).delivery.outages, 1, "the failures behind the first one follow from it");
}

/// Records that come one by one while the first of them is on its way.
#[tokio::test]
async fn a_batch_gathers_for_an_answer_and_not_where_there_is_none() {
    for durability in [Durability::Remote, Durability::Unacknowledged] {
        let sink = Scripted::new();
        *sink.profile.lock().unwrap() =
            SinkProfile { max_in_flight: 4, durability, ..SinkProfile::default() };
        let told = Arc::<Notify>::default();
        sink.script.lock().unwrap().push_back(Answer::FailWhenTold(Arc::clone(&told)));
        let batches = || sink.batches.lock().unwrap().clone();
        let cim = engine(&sink);
        send(&cim, &numbered(0..1)).await;
        until(&cim, "the first on its way", |_| sink.script.lock().unwrap().is_empty()).await;
        for number in 1..4 {
            send(&cim, &numbered(number..number + 1)).await;
            if durability == Durability::Unacknowledged {
                until(&cim, "the next one", |_| batches().len() == number).await;
            }
        }
        told.notify_one();
        settled(&cim).await;
        let gathered = if durability == Durability::Remote { vec![1, 3] } else { vec![1; 4] };
        assert_eq!(batches(), gathered);
    }
}

/// What a client library answers may be about another record of the same request.
#[tokio::test]
async fn a_record_is_not_given_up_for_what_was_on_its_way_beside_it() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    *sink.profile.lock().unwrap() =
        SinkProfile { max_records: 1, max_in_flight: 4, ..SinkProfile::default() };
    sink.script.lock().unwrap().push_back(Answer::Fail(DeliveryErrorKind::Rejected));
    let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
    send(&cim, &numbered(0..5)).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..5));
    assert_eq!(logs(&cim).books.dead_lettered, 0);
}

/// A sink may start anew after each refusal, as that of Kafka does: what fails for that is no outage that goes on, and the record
/// is found before its neighbours wait for long.
#[tokio::test]
async fn a_sink_that_starts_anew_after_each_refusal_holds_nobody_up_for_long() {
    use DeliveryErrorKind::{Rejected, Unavailable};
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    let halves = [Unavailable, Rejected].into_iter().cycle().take(12);
    sink.script.lock().unwrap().extend([Rejected].into_iter().chain(halves).map(Answer::Fail));
    let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
    let start = Instant::now();
    send_together(&cim, &numbered(0..64));
    settled(&cim).await;
    let took = start.elapsed();
    assert_eq!(sink.lines(), numbered(1..64));
    assert_eq!(logs(&cim).books.dead_lettered, 1);
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// A refusal is an answer: the sink is well, and nothing that follows needs to prove it.
#[tokio::test]
async fn a_sink_is_ready_after_a_lone_record_that_it_refused() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    *sink.poison.lock().unwrap() = Some(("line 0".into(), DeliveryErrorKind::Rejected));
    sink.script.lock().unwrap().push_back(Answer::Fail(DeliveryErrorKind::Unavailable));
    let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
    send(&cim, &numbered(0..1)).await;
    until(&cim, "the letter", |cim| logs(cim).books.dead_lettered == 1).await;
    until(&cim, "ready", |cim| logs(cim).delivery.state == DeliveryState::Ready).await;
    assert_eq!(logs(&cim).delivery.attempts, 0);
}

/// Whether it is the first one, one that follows a failure, or one in flight behind a failure.
#[tokio::test]
async fn a_delivery_that_hangs_does_not_hold_up_the_end() {
    use Answer::{Fail, FailWhenTold, Hang};
    type Script = fn(&Arc<Notify>) -> Vec<Answer>;
    let scripts: [Script; 3] = [
        |_| vec![Hang],
        |_| vec![Fail(DeliveryErrorKind::Unavailable), Hang],
        |told| vec![FailWhenTold(Arc::clone(told)), Hang],
    ];
    for script in scripts {
        let told = Arc::new(Notify::new());
        let dir = tempfile::tempdir().unwrap();
        let sink = Scripted::new();
        *sink.profile.lock().unwrap() =
            SinkProfile { max_records: 1, max_in_flight: 2, ..SinkProfile::default() };
        sink.script.lock().unwrap().extend(script(&told));
        let cim = Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
        send_together(&cim, &numbered(0..2));
        until(&cim, "a delivery that hangs", |_| sink.script.lock().unwrap().is_empty()).await;
        told.notify_one();
        let drained = cim.drain(Duration::from_secs(1)).await;
        let report = cim.close(drained, LONG_END).await;
        assert!(!report.overdue);
        assert_eq!(report.delivered + report.held, 2);
    }
}

#[tokio::test]
async fn a_reload_does_not_wait_for_a_repetition_that_hangs() {
    let (one, two) = (Scripted::new(), Scripted::new());
    one.script.lock().unwrap().extend([Answer::Fail(DeliveryErrorKind::Unavailable), Answer::Hang]);
    let cim = engine(&one);
    send(&cim, &numbered(0..3)).await;
    until(&cim, "the repetition", |_| one.script.lock().unwrap().is_empty()).await;
    let routes = RoutesSettings { logs: RouteSettings::to("two"), events: RouteSettings::to("two") };
    let reload = cim.reload([("two".to_owned(), two.sink())].into(), &routes);
    tokio::time::timeout(Duration::from_secs(10), reload).await.unwrap().unwrap();
    settled(&cim).await;
    assert_eq!(two.lines(), numbered(0..3));
}

/// Old and new delivery must never meet, so there is nothing to be done but to say so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_ends_although_a_delivery_does_not() {
    let (one, two) = (Scripted::new(), Scripted::new());
    let (hold, held) = std::sync::mpsc::sync_channel(1);
    one.script.lock().unwrap().push_back(Answer::Block(held));
    let cim = engine(&one);
    send(&cim, &numbered(0..3)).await;
    until(&cim, "the delivery", |_| one.script.lock().unwrap().is_empty()).await;
    let routes = RoutesSettings { logs: RouteSettings::to("two"), events: RouteSettings::to("two") };
    let reload = || cim.reload([("two".to_owned(), two.sink())].into(), &routes);
    let ended = tokio::time::timeout(Duration::from_secs(10), reload()).await.unwrap();
    assert!(matches!(ended, Err(StartError::Busy { .. })), "{ended:?}");
    drop(hold);
    reload().await.unwrap();
    settled(&cim).await;
    assert_eq!([one.lines(), two.lines()].concat(), numbered(0..3));
}

/// What was answered before the end needs no repetition after it.
#[tokio::test]
async fn what_an_end_leaves_of_a_run_begins_with_the_first_open_record() {
    let dir = tempfile::tempdir().unwrap();
    let sink = Scripted::new();
    sink.script.lock().unwrap().push_back(Answer::Only(DeliveryErrorKind::Unavailable, vec![2, 3]));
    sink.script.lock().unwrap().push_back(Answer::Hang);
    let start = || Cim::builder().spool_dir(dir.path()).sink("test", sink.sink()).start().unwrap();
    let cim = start();
    send_together(&cim, &numbered(0..4));
    until(&cim, "the repetition", |_| sink.script.lock().unwrap().is_empty()).await;
    let report = cim.stop(Duration::from_millis(50)).await;
    assert_eq!((report.delivered, report.held), (2, 2));
    drop(cim);
    let cim = start();
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..4));
}

#[tokio::test]
async fn a_hanging_delivery_is_dropped_at_its_limit_and_repeated() {
    let sink = Scripted::new();
    *sink.profile.lock().unwrap() =
        SinkProfile { deliver_timeout: Some(Duration::from_millis(30)), ..SinkProfile::default() };
    sink.script.lock().unwrap().push_back(Answer::Hang);
    let cim = engine(&sink);
    send(&cim, &numbered(0..5)).await;
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..5));
}

#[tokio::test]
async fn a_sink_gets_ready_before_there_is_a_record_and_holds_nobody_up_with_it() {
    for ends in [None, Some(Answer::Hang), Some(Answer::Panic)] {
        let sink = Scripted::new();
        *sink.preparing.lock().unwrap() = ends;
        let cim = engine(&sink);
        until(&cim, "the preparation", |_| sink.prepared.load(Relaxed) == 1).await;
        send(&cim, &numbered(0..5)).await;
        settled(&cim).await;
        assert_eq!(sink.lines(), numbered(0..5));
        let report = tokio::time::timeout(LONG_END, cim.stop(LONG_END * 2)).await.unwrap();
        assert_eq!((report.delivered, sink.prepared.load(Relaxed)), (5, 1));
    }
}

#[tokio::test]
async fn a_list_of_sinks_gives_each_its_own_cursor_and_books() {
    let (one, two) = (Scripted::new(), Scripted::new());
    *two.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let mut routes = RoutesSettings { logs: RouteSettings::to("one"), events: RouteSettings::to("one") };
    routes.logs.sink = SinkNames::Many(vec!["one".into(), "two".into()]);
    let cim = Cim::builder().sink("one", one.sink()).sink("two", two.sink()).routes(routes).start().unwrap();
    send(&cim, &numbered(0..25)).await;
    until(&cim, "the healthy one is done", |_| one.lines().len() == 25).await;
    assert!(two.lines().is_empty());
    *two.down.lock().unwrap() = None;
    settled(&cim).await;
    assert_eq!(two.lines(), numbered(0..25));
}

#[tokio::test]
async fn a_turn_that_does_not_end_is_delivered_all_the_same() {
    let sink = Scripted::new();
    let cim = engine(&sink);
    let mut lane = cim.lane();
    let line = "x".repeat(200 << 10);
    let offer =
        Offer { class: Class::Log, headers: None, source: b"app", payload: line.as_bytes(), own: false };
    // Each fills a buffer, so all but the last are committed before the turn ends.
    for _ in 0..9 {
        assert_eq!(lane.offer(&offer, false), Offered::Taken);
    }
    until(&cim, "frames of an open turn", |cim| logs(cim).books.delivered >= 8).await;
    let mark = lane.flush();
    assert!(lane.is_accepted(&mark));
    settled(&cim).await;
    assert_eq!(logs(&cim).books.delivered, 9);
}
