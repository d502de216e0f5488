//! Producers that must not go on, against a broker that checks sequence numbers and can be told what to answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::time::Duration;

use cim_core::{Component as _, DeliveryErrorKind, Health};
use cim_testkit::null_broker::{Api, Fault, NullBroker, code};
use cim_testkit::{HeldPort, Sample};
use rig::{Target, counted, impatient, samples, texts, until};

/// What the broker keeps, each partition in its order.
fn seen(broker: &NullBroker, partitions: usize) -> Vec<Vec<String>> {
    let mut seen = vec![Vec::new(); partitions];
    for record in broker.records("LOGS") {
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        seen[usize::try_from(record.partition).unwrap()].push(text);
    }
    seen
}

const REBUILDS: &str = "cim_kafka_producer_rebuilds_total";
const POSSIBLE_DUPLICATES: &str = "cim_kafka_possible_duplicates_total";

/// The producer is replaced, by itself, and says so; nothing is lost, and the order is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_must_not_go_on_is_replaced() {
    for answer in [
        code::OUT_OF_ORDER_SEQUENCE,
        code::INVALID_PRODUCER_EPOCH,
        code::PRODUCER_FENCED,
        code::UNKNOWN_PRODUCER_ID,
    ] {
        let broker = NullBroker::start(&[("LOGS", 2), ("EVENT", 1)]).unwrap();
        broker.keep_records();
        let counts = || [REBUILDS, POSSIBLE_DUPLICATES].map(|metric| counted(metric, "broker"));
        let before = counts();
        let target = Target::new(broker.address().to_string(), &serde_json::json!({}));
        target.deliver(&samples(1..11)).await.unwrap();
        assert_eq!(counts(), before, "{answer}");
        broker.next(Api::Produce, Fault::Error(answer));
        target.insist(&samples(11..31)).await;
        target.insist(&samples(31..41)).await;
        let seen = seen(&broker, 2);
        assert!(seen.iter().all(|partition| partition.is_sorted()), "{answer}: {seen:?}");
        let mut all = seen.concat();
        all.sort();
        all.dedup();
        assert_eq!(all, texts(1..41), "{answer}");
        let [rebuilds, possible] = counts();
        if answer == code::UNKNOWN_PRODUCER_ID {
            // Not fatal: the client itself asks for new numbers, and the broker has stored nothing.
            assert_eq!(rebuilds, before[0], "{answer}");
            continue;
        }
        assert!(rebuilds > before[0], "{answer}: the replacement is not counted");
        assert!(possible > before[1], "{answer}: the broker may have had what was sent again");
    }
}

/// A broker stored records and its answer was lost; the repetition is refused for good. What is sent again then is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_after_an_answer_was_lost_is_counted_when_it_is_sent_again() {
    let counts = || counted(POSSIBLE_DUPLICATES, "refused");
    assert_eq!(counts(), 0);
    let broker = NullBroker::start(&[("LOGS", 1), ("EVENT", 1)]).unwrap();
    broker.keep_records();
    let soon = serde_json::json!({ "properties": { "request.timeout.ms": 500, "socket.timeout.ms": 1_000 } });
    let target = Target::named("refused", broker.address().to_string(), &soon);
    target.insist(&samples(1..4)).await;
    // Nothing was lost before: whoever is refused now is sent again, and is there once.
    broker.next(Api::Produce, Fault::Error(code::TOPIC_AUTHORIZATION_FAILED));
    target.insist(&samples(4..7)).await;
    assert_eq!((broker.records("LOGS").len(), counts()), (6, 0));
    for (seq, lost) in [(7, Fault::LostAnswer), (8, Fault::Unanswered), (9, too_few_replicas())] {
        broker.next(Api::Produce, lost);
        broker.next(Api::Produce, Fault::Error(code::TOPIC_AUTHORIZATION_FAILED));
        target.insist(&samples(seq..seq + 1)).await;
        assert_eq!(counts(), seq - 6, "record {seq}");
    }
    let copies = seen(&broker, 1).concat().len() - 9;
    assert_eq!(copies, 2, "the broker did not store the first attempts");
}

/// A broker that stored says so; the one of these tests only says it.
fn too_few_replicas() -> Fault {
    Fault::Error(code::NOT_ENOUGH_REPLICAS_AFTER_APPEND)
}

/// The engine was told that there is no hope; then the broker came back and took what the client held. A fallback that gets it
/// now doubles it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_arrived_after_its_delivery_was_given_up_is_counted_when_it_is_abandoned() {
    let counts = || counted(POSSIBLE_DUPLICATES, "late");
    assert_eq!(counts(), 0);
    let (topics, port) = ([("LOGS", 1), ("EVENT", 1)], HeldPort::new().unwrap());
    let broker = NullBroker::start_at(port.address(), &topics).unwrap();
    let target = Target::named("late", port.address().to_string(), &impatient());
    target.deliver(&samples(1..4)).await.unwrap();
    drop(broker);
    target.deliver(&samples(4..7)).await.expect_err("it was delivered to nobody");
    let broker = NullBroker::prepare(&topics).keep_records().start_at(port.address()).unwrap();
    until("what the client held", async || broker.records("LOGS").len() == 3).await;
    until("the end of the outage", async || target.sink.probe().await == Health::Ready).await;
    cim_core::LogSink::abandon(&*target.sink).await;
    assert_eq!(counts(), 3);
    cim_core::LogSink::abandon(&*target.sink).await;
    assert_eq!(counts(), 3, "they were counted twice");
}

/// An outage put a record into one request with others, and the broker refuses the request as a whole for one of those.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_is_not_blamed_for_a_neighbour_that_an_outage_gave_it() {
    let (topics, port) = ([("LOGS", 1), ("EVENT", 1)], HeldPort::new().unwrap());
    let broker = NullBroker::start_at(port.address(), &topics).unwrap();
    let target = Target::named("neighbours", port.address().to_string(), &impatient());
    target.deliver(&samples(1..4)).await.unwrap();
    drop(broker);
    // What was sent once is sent again as it was; these are not sent at all before.
    until("the outage is known", async || target.sink.probe().await != Health::Ready).await;
    let (good, refused) = (samples(4..5), [Sample::with_body(5, "alpha", b"poison")]);
    let (first, second) = tokio::join!(target.deliver(&good), target.deliver(&refused));
    assert!(first.is_err() && second.is_err(), "nobody is there");
    let broker = NullBroker::prepare(&topics).keep_records();
    let broker = broker.refuse_values_with(b"poison", code::INVALID_RECORD).start_at(port.address()).unwrap();
    let mut kinds = Vec::new();
    while let Err(error) = target.deliver(&good).await {
        kinds.push(error.kind());
    }
    assert!(kinds.iter().all(|kind| *kind == DeliveryErrorKind::Unavailable), "{kinds:?}");
    assert!(broker.refusals(code::INVALID_RECORD) > 0, "they never went together");
    let error = target.deliver(&refused).await.expect_err("it is poison");
    assert_eq!(error.kind(), DeliveryErrorKind::Rejected, "{error}");
}

/// A broker that is there and answers nothing; more than the client holds is on its way.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_that_finds_no_room_ends_like_those_that_wait_for_an_answer() {
    let broker = NullBroker::start(&[("LOGS", 1), ("EVENT", 1)]).unwrap();
    let more = serde_json::json!({ "give_up_after": "1s", "properties": { "request.timeout.ms": 1_000, "socket.timeout.ms": 60_000 } });
    let target = Target::named("room", broker.address().to_string(), &more);
    target.deliver(&samples(1..2)).await.unwrap();
    for _ in 0..1_000 {
        broker.next(Api::Produce, Fault::Error(code::NOT_ENOUGH_REPLICAS));
    }
    let body = vec![b'x'; 500_000];
    let batches: Vec<Vec<Sample>> = (0..8u64)
        .map(|batch| (0..3).map(|n| Sample::with_body(2 + batch * 3 + n, "alpha", &body)).collect())
        .collect();
    let deliveries = batches.iter().map(|batch| target.deliver(batch));
    let ended =
        tokio::time::timeout(Duration::from_secs(15), futures_util::future::join_all(deliveries)).await;
    let ended = ended.expect("one of them waits for ever");
    assert!(ended.iter().all(Result::is_err), "{ended:?}");
}
