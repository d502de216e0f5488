//! The official Rust client against CIM: `async-nats-client URL survive COUNT`
//!
//! Numbered lines, the last of which is answered when it is accepted, then it hears itself until it is ended. (The flush of
//! this client empties its buffer and says nothing about the other end.)
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a failed step is the failure, and the other process reads what is printed"
)]

use std::time::Duration;

use async_nats::ConnectOptions;
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, _, count] = arguments.as_slice() else {
        panic!("usage: async-nats-client URL survive COUNT")
    };
    let options = ConnectOptions::new().name("rust").reconnect_delay_callback(|_| Duration::from_millis(50));
    let client = options.connect(url).await.expect("connect");
    let count: usize = count.parse().expect("count");
    for number in 0..count - 1 {
        client.publish("LOG", format!("line {number}").into()).await.expect("publish");
    }
    let last = format!("line {}", count - 1);
    let answer = client.request("LOG", last.into()).await.expect("an acknowledgement");
    assert!(answer.payload.starts_with(b"{\"stream\":\"LOG\""), "{answer:?}");
    let mut echoes = client.subscribe("echo").await.expect("subscribe");
    println!("flushed");
    for number in 0.. {
        let _ = client.publish("echo", number.to_string().into()).await;
        if let Ok(Some(echo)) = tokio::time::timeout(Duration::from_millis(20), echoes.next()).await {
            println!("heard {}", String::from_utf8_lossy(&echo.payload));
        }
    }
}
