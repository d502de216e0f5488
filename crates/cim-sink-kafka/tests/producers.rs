//! Producers that must not go on, against a broker that checks sequence numbers and can be told what to answer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use cim_testkit::null_broker::{Api, Fault, NullBroker, code};
use rig::{Target, samples, texts};

/// What the broker keeps, each partition in its order.
fn seen(broker: &NullBroker, partitions: usize) -> Vec<Vec<String>> {
    let mut seen = vec![Vec::new(); partitions];
    for record in broker.records("LOGS") {
        let text = String::from_utf8_lossy(record.value.as_deref().unwrap_or_default()).into_owned();
        seen[usize::try_from(record.partition).unwrap()].push(text);
    }
    seen
}

/// The producer is replaced, by itself; nothing is lost, and the order is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_producer_that_must_not_go_on_is_replaced() {
    for answer in [code::OUT_OF_ORDER_SEQUENCE, code::INVALID_PRODUCER_EPOCH, code::UNKNOWN_PRODUCER_ID] {
        let broker = NullBroker::start(&[("LOGS", 2), ("EVENT", 1)]).unwrap();
        broker.keep_records();
        let target = Target::new(broker.address().to_string(), &serde_json::json!({}));
        target.deliver(&samples(1..11)).await.unwrap();
        broker.next(Api::Produce, Fault::Error(answer));
        target.insist(&samples(11..31)).await;
        target.insist(&samples(31..41)).await;
        let seen = seen(&broker, 2);
        assert!(seen.iter().all(|partition| partition.is_sorted()), "{answer}: {seen:?}");
        let mut all = seen.concat();
        all.sort();
        all.dedup();
        assert_eq!(all, texts(1..41), "{answer}");
    }
}
