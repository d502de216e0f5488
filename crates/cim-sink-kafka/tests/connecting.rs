//! How often a client asks for brokers that do not want it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::time::{Duration, Instant};

use cim_testkit::{ChaosProxy, HeldPort};
use rig::{Target, samples};

/// With the pauses of the program: a tenth of a second at first, then twice as long each time, to ten seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_hang_up_are_asked_less_and_less() {
    let nobody = HeldPort::new().unwrap();
    let proxy = ChaosProxy::start(nobody.address(), 1).unwrap();
    let target = Target::new(proxy.address().to_string(), &serde_json::json!({ "properties": {} }));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(8) {
        target.deliver(&samples(1..3)).await.unwrap_err();
    }
    let (tries, time) = (proxy.accepted(), begin.elapsed());
    assert!((3..=14).contains(&tries), "{tries} connections in {time:?}");
}
