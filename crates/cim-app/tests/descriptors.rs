//! A thousand calls of every kind leave no descriptor behind. Alone in its file: descriptors belong to the process.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::io::Write as _;

use cim_core::{Application, Component};
use support::{OK, PUSH, Server, until};

fn open() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_thousand_calls_leave_no_descriptor_behind() {
    let server = Server::start(|stream, count| match count % 5 {
        0 | 1 => stream.write_all(OK).is_ok(),
        2 => false,
        3 => {
            let _ = stream.write_all(b"HTTP/1.1 404 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
            false
        }
        _ => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n");
            let _ = stream.write_all(&[b'x'; 70_000]);
            false
        }
    });
    let application = server.client();
    let before = open();
    for _ in 0..1_000 {
        let _ = application.update_config(&PUSH).await;
    }
    assert_eq!(server.requests().len(), 1_000);
    application.close().await.unwrap();
    // The ends of the server are in this process, too, and close a moment later.
    until(&format!("{before} descriptors"), || open() <= before).await;
}
