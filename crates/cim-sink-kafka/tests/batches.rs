//! A batch leaves as a whole, and at once (ADR 0021).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::time::{Duration, Instant};

use cim_testkit::null_broker::{Api, NullBroker};
use cim_testkit::{Behaviour, ChaosProxy, Flow};
use rig::{Target, samples};

/// A client that sends the first records before the last ones have entered needs two requests for each, and looks at its
/// connection without a pause until the first one is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_batch_for_a_partition_is_one_request() {
    const BATCHES: u64 = 40;
    let broker = NullBroker::start(&[("LOGS", 1), ("EVENT", 1)]).unwrap();
    let proxy = ChaosProxy::start(broker.address(), 3).unwrap();
    broker.advertise(proxy.address());
    let target = Target::new(proxy.address().to_string(), &serde_json::json!({}));
    target.deliver(&samples(1..3)).await.unwrap();
    // So late that the order to send at once, which has come with one batch, is over when the next one enters.
    proxy.behave(Behaviour::both(Flow::faithful().delay(Duration::from_millis(5))));
    let before = broker.requests(Api::Produce);
    for batch in 0..BATCHES {
        let first = 3 + batch * 400;
        target.deliver(&samples(first..first + 400)).await.unwrap();
    }
    let requests = broker.requests(Api::Produce) - before;
    // A machine that is busy elsewhere splits some; without the linger there are two for each, or more.
    assert!((BATCHES..=BATCHES * 3 / 2).contains(&requests), "{requests} requests for {BATCHES} batches");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_alone_does_not_wait_for_company() {
    let broker = NullBroker::start(&[("LOGS", 1), ("EVENT", 1)]).unwrap();
    let target = Target::named("alone", broker.address().to_string(), &serde_json::json!({}));
    target.deliver(&samples(1..2)).await.unwrap();
    let mut times = Vec::new();
    for seq in 2..52 {
        let began = Instant::now();
        target.deliver(&samples(seq..seq + 1)).await.unwrap();
        times.push(began.elapsed());
    }
    times.sort();
    // Each would wait for 5 ms. A machine that is busy elsewhere is late with some.
    assert!(times[times.len() / 10] < Duration::from_millis(4), "{times:?}");
}
