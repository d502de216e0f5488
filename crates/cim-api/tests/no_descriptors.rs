//! A process without a free descriptor. Alone in its process, because it takes all of them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::fs::File;
use std::time::{Duration, Instant};

use cim_api::Face;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use support::{beside, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};

/// Takes every descriptor that the process may still have.
fn take_all() -> Vec<File> {
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(256), maximum }).unwrap();
    std::iter::from_fn(|| File::open("/dev/null").ok()).collect()
}

#[tokio::test]
async fn who_is_connected_is_served_while_nobody_else_can_be_accepted() {
    beside(Face::Full, limits(), |address, _| async move {
        let mut connected = TcpStream::connect(address).await.unwrap();
        let waiting = TcpSocket::new_v4().unwrap();
        ask(&mut connected).await;
        let taken = take_all();
        let mut waiting = waiting.connect(address).await.unwrap();
        let mut times = Vec::new();
        for _ in 0..20 {
            let asked = Instant::now();
            ask(&mut connected).await;
            times.push(asked.elapsed());
        }
        times.sort();
        // The pauses between two attempts to accept, a tenth of a second each, are nobody's but of those who wait.
        assert!(times[10] < Duration::from_millis(25), "{times:?}");
        drop(taken);
        ask(&mut waiting).await;
    })
    .await;
}

/// A request on a connection that stays.
async fn ask(stream: &mut TcpStream) {
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(b"ok\n") {
        assert!(stream.read_buf(&mut answer).await.unwrap() > 0, "closed");
    }
}
