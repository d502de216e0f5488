//! How often a client asks for brokers that do not want it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rig::{Target, samples};

/// With the pauses of the program: a tenth of a second at first, then twice as long each time, to ten seconds, each a quarter shorter or
/// half as long again by chance.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_that_hang_up_are_asked_less_and_less() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let times = Arc::clone(&asked);
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            times.lock().unwrap().push(Instant::now());
            drop(connection);
        }
    });
    let target = Target::new(address.to_string(), &serde_json::json!({ "properties": {} }));
    let begin = Instant::now();
    while begin.elapsed() < Duration::from_secs(8) {
        target.deliver(&samples(1..3)).await.unwrap_err();
    }
    let asked = asked.lock().unwrap();
    let pauses: Vec<_> = asked.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!((3..=14).contains(&asked.len()), "{pauses:?}");
    assert!(pauses.is_sorted_by(|earlier, later| earlier < later), "{pauses:?}");
    assert!(*pauses.last().unwrap() > pauses[0] * 4, "{pauses:?}");
}
