//! The running program as a pod of a real Kubernetes API server: who it is, what it asks for, what it survives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod agents;
mod aligned;
mod answers;
mod day_one;
mod ending;
mod identity;
mod manifests;
mod original;
mod outages;
mod quiet;

use cim_services::until;
use cim_tests::Daemon;
use cim_tests::cluster::PATIENCE;
use cim_tests::invariants::first_copies;
use serde_json::Value;

/// Events that were delivered to standard output so far.
fn events(daemon: &Daemon) -> Vec<Value> {
    let text = daemon.stdout();
    // The last line may be half written.
    let values = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    values.filter(|value| value.get("eventName").is_some()).collect()
}

/// The application publishes events `E0`, `E1`, … of that many.
fn publish(daemon: &Daemon, numbers: std::ops::Range<usize>) {
    let mut wire = daemon.connect();
    for number in numbers {
        wire.publish("EVENT", format!(r#"{{"eventName":"E{number}"}}"#).as_bytes());
    }
    wire.flush();
}

/// Waits until a page of the API says that.
fn says(daemon: &Daemon, page: &str, text: &str) {
    let read = || daemon.get(page).unwrap_or_default();
    let deadline = std::time::Instant::now() + PATIENCE;
    while !read().contains(text) {
        assert!(
            std::time::Instant::now() < deadline,
            "{page} does not say `{text}`:\n{}\n{}",
            read(),
            daemon.stderr()
        );
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Waits until it is known who the pod is.
fn known(daemon: &Daemon) {
    says(daemon, "/statusz", "\"known\": true");
}

/// Waits until events `E0` to that one are delivered, in order, with the identity of the pod.
fn delivered(daemon: &Daemon, count: usize) {
    let of_app = || -> Vec<Value> {
        let all = events(daemon).into_iter();
        all.filter(|event| event["eventName"].as_str().is_some_and(|name| name.starts_with('E'))).collect()
    };
    let number = |event: &Value| -> usize { event["eventName"].as_str().unwrap()[1..].parse().unwrap() };
    until(&format!("{count} events"), PATIENCE, || of_app().iter().any(|event| number(event) + 1 == count));
    assert_eq!(first_copies(of_app().iter().map(number)), (0..count).collect::<Vec<_>>());
    for event in of_app() {
        assert_eq!(event["sourceHeaders"]["nfId"], "amf1", "{event}");
    }
    // A record shows before it is booked.
    until("exact books", PATIENCE, || daemon.books_balance());
}

/// The application registers.
fn register(daemon: &Daemon) {
    let answer = daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
