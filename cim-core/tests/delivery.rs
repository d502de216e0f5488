//! The engine from intake to sink, with sinks that fail in every way they can.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use cim_core::intake::{Offer, Offered};
use cim_core::settings::{FallbackMode, Period, RouteSettings, RoutesSettings, SinkNames};
use cim_core::{Cim, Class, DeliveryErrorKind, DeliveryState, SinkProfile};
use support::{Answer, Scripted, logs, numbered, send, settled, until};

fn engine(sink: &std::sync::Arc<Scripted>) -> Cim {
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
    let limit = Duration::from_secs(1);
    let sink = Scripted::new();
    *sink.profile.lock().unwrap() = SinkProfile { max_in_flight: 4, deliver_timeout: Some(limit), ..profile };
    sink.script.lock().unwrap().extend((0..4).map(|_| Answer::Hang));
    let cim = engine(&sink);
    let started = std::time::Instant::now();
    send(&cim, &numbered(0..50)).await;
    until(&cim, "four batches in flight", |_| sink.script.lock().unwrap().is_empty()).await;
    assert!(started.elapsed() < limit, "they were in flight one after the other");
    settled(&cim).await;
    assert_eq!(sink.lines(), numbered(0..50));
    assert!(sink.redelivered.lock().unwrap().len() > 3, "only one batch was repeated");
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

fn with_fallback(mode: FallbackMode) -> RoutesSettings {
    let mut logs = RouteSettings::to("main");
    logs.fallback = Some("spare".into());
    logs.fallback_after = "20ms".parse::<Period>().unwrap();
    logs.fallback_mode = mode;
    RoutesSettings { logs, events: RouteSettings::to("main") }
}

#[tokio::test]
async fn the_final_fallback_takes_over_and_gives_back_in_order() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    *main.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let cim = Cim::builder()
        .sink("main", main.sink())
        .sink("spare", spare.sink())
        .routes(with_fallback(FallbackMode::Final))
        .start()
        .unwrap();
    send(&cim, &numbered(0..30)).await;
    settled(&cim).await;
    assert_eq!(spare.lines(), numbered(0..30));
    assert_eq!(logs(&cim).books.to_fallback, 30);
    assert!(main.abandoned.load(Relaxed) > 0, "the sink may still hold what the fallback got");
    *main.down.lock().unwrap() = None;
    let mut sent = 30;
    while main.lines().is_empty() {
        assert!(sent < 5000, "the sink is not used again");
        send(&cim, &numbered(sent..sent + 1)).await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    settled(&cim).await;
    let (first, second) = (spare.lines(), main.lines());
    assert_eq!([first, second].concat(), numbered(0..sent));
}

#[tokio::test]
async fn the_copy_fallback_gets_copies_and_the_sink_gets_everything_later() {
    let (main, spare) = (Scripted::new(), Scripted::new());
    *main.down.lock().unwrap() = Some(DeliveryErrorKind::Unavailable);
    let cim = Cim::builder()
        .sink("main", main.sink())
        .sink("spare", spare.sink())
        .routes(with_fallback(FallbackMode::Copy))
        .start()
        .unwrap();
    send(&cim, &numbered(0..20)).await;
    until(&cim, "copies", |_| spare.lines().len() == 20).await;
    assert_eq!(logs(&cim).books.held, 20);
    assert_eq!(main.abandoned.load(Relaxed), 0, "the sink gets all of it later");
    *main.down.lock().unwrap() = None;
    settled(&cim).await;
    assert_eq!(main.lines(), numbered(0..20));
    assert_eq!(spare.lines(), numbered(0..20));
    assert_eq!(*main.redelivered.lock().unwrap(), numbered(0..20));
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
