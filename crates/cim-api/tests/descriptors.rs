//! Calls leave nothing open. Alone in its process, because it counts the descriptors of the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use cim_api::Face;
use support::{beside, exchange, limits};

const REGISTRATION: &str = "POST /api/v1/_operations/xgvela/register HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\
    Content-Length: 2\r\n\r\n{}";

#[tokio::test]
async fn four_hundred_calls_leave_no_descriptor() {
    beside(Face::Full, limits(), |address, state| async move {
        let before = descriptors();
        for _ in 0..400 {
            state.slow.notify_one();
            let answer = exchange(address, REGISTRATION.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        // The last connection may still be closing.
        assert!(descriptors() <= before + 2, "{} and {before} before", descriptors());
    })
    .await;
}

/// Descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}
