//! What happens when one of them fails: the program, the broker, the application.

use std::time::{Duration, Instant};

use cim_services::{Kafka, Outgoing};
use cim_tests::invariants::first_copies;
use cim_tests::{Wire, until};

use crate::application::{PATH, Stage, event, events};

/// Receives until the value that ends a test, across connections that end; numbers, in the order of their coming.
fn numbers_until(stage: &Stage, mut wire: Wire, last: usize) -> Vec<usize> {
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut received = Vec::new();
    while received.last() != Some(&last) {
        assert!(Instant::now() < deadline, "{} received", received.len());
        match wire.try_message() {
            Ok(value) => {
                let text = String::from_utf8(value).unwrap();
                received.push(text.trim_start_matches('x').parse().unwrap());
            }
            Err(_) => {
                wire = stage.daemon.connect();
                wire.subscribe("EVENT-NOTIFICATION");
            }
        }
    }
    received
}

/// All numbers are there, and apart from repetitions in their order.
fn assert_complete(received: &[usize], last: usize) {
    assert_eq!(first_copies(received.iter().copied()), (0..=last).collect::<Vec<_>>());
}

#[test]
fn a_program_that_is_killed_keeps_its_subscriptions_and_loses_no_event() {
    let Some(kafka) = Kafka::shared() else { return };
    let mut stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    let id = stage.subscribe(r#"{"localEventName":["A"]}"#);
    kafka.produce(&stage.topic, &events("A", 0..100));
    let before: Vec<usize> =
        (0..100).map(|_| String::from_utf8(wire.message()).unwrap().parse().unwrap()).collect();
    assert_complete(&before, 99);
    until("their place", || stage.group(kafka).committed == [Some(100)]);
    // Some are produced while it is up and perhaps not taken, some while it is gone.
    drop(wire);
    kafka.produce(&stage.topic, &events("A", 100..200));
    stage.daemon.kill_and_restart();
    kafka.produce(&stage.topic, &events("A", 200..300));
    let list = stage.daemon.get(PATH).unwrap();
    assert!(list.contains(&id), "{list}");
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    let mut received = before;
    received.extend(numbers_until(&stage, wire, 299));
    assert_complete(&received, 299);
    // What was committed is not sent again.
    assert!(received.len() < 400, "{}", received.len());
}

#[test]
fn an_event_after_the_first_subscription_is_not_lost_to_a_kill() {
    let Some(kafka) = Kafka::shared() else { return };
    let mut stage = Stage::start(kafka);
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    // Nothing was read yet, so nothing but the beginning can be committed.
    stage.daemon.signal("KILL");
    let _ = stage.daemon.ended();
    kafka.produce(&stage.topic, &events("A", 0..3));
    stage.daemon.start_again();
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    assert_eq!(numbers_until(&stage, wire, 2), [0, 1, 2]);
}

#[test]
fn a_broker_that_goes_away_and_comes_back_costs_no_event_and_no_restart() {
    let Some(kafka) = Kafka::single() else { return };
    let stage = Stage::start(&kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    kafka.produce(&stage.topic, &events("A", 0..10));
    for number in 0..10 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
    // A client that is away for longer than its session begins again where its group was.
    until("their place", || stage.group(&kafka).committed == [Some(10)]);
    kafka.broker(0).kill();
    until("trouble to be told", || stage.status()["trouble"].is_string());
    assert!(stage.daemon.get("/livez").unwrap().starts_with("HTTP/1.1 200"));
    assert!(stage.daemon.get("/readyz").unwrap().starts_with("HTTP/1.1 200"));
    // A subscription needs no broker.
    stage.create(r#"{"localEventName":["B"]}"#);
    kafka.broker(0).restart();
    kafka.produce(&stage.topic, &[event("B", "10"), event("A", "11")]);
    let received = numbers_until(&stage, wire, 11);
    assert_eq!(received, [10, 11]);
    assert!(!stage.daemon.stderr().contains("panicked"));
}

#[test]
fn without_a_broker_at_the_start_subscriptions_are_taken_and_reading_begins_when_it_is_there() {
    let Some(kafka) = Kafka::single() else { return };
    let mut stage = Stage::start(&kafka);
    kafka.broker(0).kill();
    stage.daemon.kill_and_restart();
    let asked = Instant::now();
    stage.create(r#"{"localEventName":["A"]}"#);
    assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
    kafka.broker(0).restart();
    stage.wait_for("reading");
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    kafka.produce(&stage.topic, &events("A", 0..2));
    assert_eq!(numbers_until(&stage, wire, 1), [0, 1]);
}

#[test]
fn a_topic_that_is_made_later_is_read_from_its_first_record() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    kafka.delete_topic(&stage.topic);
    stage.create(r#"{"localEventName":["A"]}"#);
    until("trouble to be told", || {
        stage.status()["trouble"].as_str().is_some_and(|trouble| trouble.contains("there is no topic"))
    });
    kafka.create_topic(&stage.topic, 1);
    kafka.produce(&stage.topic, &events("A", 0..2));
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    assert_eq!(numbers_until(&stage, wire, 1), [0, 1]);
}

#[test]
fn events_wait_within_bounds_for_an_application_that_does_not_listen_or_does_not_read() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    const EVENTS: usize = 400;
    let large = |number: usize| Outgoing {
        value: format!("{}{number}", "x".repeat(50_000)).into_bytes(),
        ..event("A", "")
    };
    kafka.produce(&stage.topic, &(0..EVENTS).map(large).collect::<Vec<_>>());
    stage.wait_for("resting");
    let waiting = stage.daemon.metric("cim_subscription_waiting_bytes");
    assert!((4e6..6e6).contains(&waiting), "{waiting} bytes wait");
    // It subscribes and does not read: the connection is ended, and nothing but what its socket took is gone.
    let mut deaf = stage.daemon.connect();
    deaf.subscribe("EVENT-NOTIFICATION");
    until("the deaf connection to be ended", || {
        stage.daemon.metric("cim_nats_closed_total{reason=\"slow_consumer\"}") > 0.5
    });
    let taken = stage.daemon.metric("cim_subscription_notifications_total");
    assert!(taken < EVENTS as f64 / 2.0, "{taken} taken");
    let received = numbers_until(&stage, deaf, EVENTS - 1);
    assert_complete(&received, EVENTS - 1);
    stage.wait_for("reading");
}

#[test]
fn the_last_subscription_removed_and_made_again_leaves_one_reader() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    let mut id = stage.subscribe(r#"{"localEventName":["A"]}"#);
    for _ in 0..3 {
        assert!(stage.daemon.call("DELETE", &format!("{PATH}/{id}"), b"").starts_with("HTTP/1.1 204"));
        id = stage.create(r#"{"localEventName":["A"]}"#);
    }
    stage.wait_for("reading");
    kafka.produce(&stage.topic, &events("A", 0..20));
    for number in 0..20 {
        assert_eq!(wire.message(), number.to_string().as_bytes(), "in order, and each once");
    }
    kafka.produce(&stage.topic, &[event("A", "last")]);
    assert_eq!(wire.message(), b"last");
    assert!(stage.daemon.metric("cim_subscription_failures_total") < 0.5);
}
