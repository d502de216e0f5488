//! The official Rust client against CIM, until it is ended.
//!
//! `async-nats-client URL survive COUNT`: numbered lines, the last of which is answered when it is accepted, then it hears
//! itself. (The flush of this client empties its buffer and says nothing about the other end.)
//!
//! `async-nats-client URL answer VALUE`: an application that acknowledges notifications of that value and no other. A line for
//! each: its value and the number of the delivery.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "test code: a failed step is the failure, and the other process reads what is printed"
)]

use std::time::Duration;

use async_nats::{Client, ConnectOptions, HeaderValue};
use futures_util::StreamExt;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, url, mode, what] = arguments.as_slice() else {
        panic!("usage: async-nats-client URL survive COUNT | answer VALUE")
    };
    let options = ConnectOptions::new().name("rust").reconnect_delay_callback(|_| Duration::from_millis(50));
    let client = options.connect(url).await.expect("connect");
    match mode.as_str() {
        "survive" => survive(&client, what.parse().expect("count")).await,
        _ => answer(&client, what).await,
    }
}

async fn answer(client: &Client, value: &str) {
    let mut notifications = client.subscribe("EVENT-NOTIFICATION").await.expect("subscribe");
    client.flush().await.expect("flush");
    println!("subscribed");
    while let Some(notification) = notifications.next().await {
        let delivery = notification.headers.as_ref().and_then(|headers| headers.get("Cim-Delivery"));
        if notification.payload == value.as_bytes() {
            let reply = notification.reply.expect("a notification that asks for an answer");
            client.publish(reply, "+ACK".into()).await.expect("publish");
            client.flush().await.expect("flush");
        }
        let delivery = delivery.map_or("-", HeaderValue::as_str);
        println!("{} {delivery}", String::from_utf8_lossy(&notification.payload));
    }
}

async fn survive(client: &Client, count: usize) {
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
