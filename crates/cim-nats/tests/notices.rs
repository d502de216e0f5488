//! Notifications from inside the process: who gets them, when they count as taken, and what is given out again.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use cim_core::Values;
use cim_core::subscriptions::{Outlet, Request, Taken};
use support::{PATIENCE, Peer, Server};
use tokio::sync::oneshot::Receiver;
use tokio::time::timeout;

const SHORT: Duration = Duration::from_millis(200);

/// Hands values over; ready once they are taken.
fn hand_over(server: &Server, values: &[&str]) -> Receiver<()> {
    let mut parcel = Values::default();
    values.iter().for_each(|value| parcel.push(value.as_bytes()));
    let (taken, hears) = Taken::channel();
    server.control.hand_over(parcel, taken);
    hears
}

async fn is_taken(hears: &mut Receiver<()>) {
    timeout(PATIENCE, hears).await.expect("taken in time").expect("taken");
}

async fn is_waiting(hears: &mut Receiver<()>) {
    assert!(timeout(SHORT, hears).await.is_err(), "it has to wait");
}

fn subscriber(server: &Server) -> Peer {
    let mut peer = server.client();
    // At once, so that what waits for a subscriber comes behind the answer.
    peer.send("SUB EVENT-NOTIFICATION 1\r\nPING\r\n");
    assert_eq!(peer.line(), "PONG\r\n");
    peer
}

fn messages(values: &[&str]) -> String {
    values.iter().map(|value| format!("MSG EVENT-NOTIFICATION 1 {}\r\n{value}\r\n", value.len())).collect()
}

#[tokio::test]
async fn what_nobody_listens_to_waits_and_comes_in_order() {
    let server = Server::start();
    let mut hears = [hand_over(&server, &["a", "", "c"]), hand_over(&server, &["d"])];
    is_waiting(&mut hears[0]).await;
    // Another subject is no reason.
    let mut other = server.client();
    other.send("SUB EVENT 1\r\n");
    other.flush();
    is_waiting(&mut hears[0]).await;
    let mut peer = subscriber(&server);
    peer.expect(messages(&["a", "", "c", "d"]));
    for hears in &mut hears {
        is_taken(hears).await;
    }
    let mut later = hand_over(&server, &["e"]);
    peer.expect(messages(&["e"]));
    is_taken(&mut later).await;
}

#[tokio::test]
async fn every_connection_gets_it_and_one_that_reads_is_enough() {
    let server = Server::start();
    let deaf = subscriber(&server);
    let mut peer = subscriber(&server);
    let large = "x".repeat(900_000);
    for round in 0..20 {
        let mut hears = hand_over(&server, &[&large]);
        peer.expect(messages(&[&large]));
        timeout(PATIENCE, &mut hears).await.unwrap_or_else(|_| panic!("round {round}")).expect("taken");
    }
    drop(deaf);
}

#[tokio::test]
async fn what_only_connections_had_that_ended_is_given_out_again() {
    let server = Server::start();
    let deaf = subscriber(&server);
    let values: Vec<String> = (0..24).map(|number| format!("{number:02}{}", "x".repeat(999_998))).collect();
    let mut hears = hand_over(&server, &values.iter().map(String::as_str).collect::<Vec<_>>());
    // It takes none of it for longer than a subscriber may.
    server.wait_for("the deaf connection to be ended", |counts| counts.slow_consumers > 0);
    is_waiting(&mut hears).await;
    drop(deaf);
    let mut peer = subscriber(&server);
    // What the socket of the other one took is not repeated; the rest is whole and in order.
    assert!(peer.line().ends_with(" 1000000\r\n"));
    let first = peer.exact(1_000_002);
    let first: usize = std::str::from_utf8(&first[..2]).unwrap().parse().unwrap();
    assert!(first < 24, "{first}");
    for value in &values[first + 1..] {
        peer.expect(messages(&[value]));
    }
    is_taken(&mut hears).await;
}

#[tokio::test]
async fn what_nobody_awaits_any_more_is_not_given_out() {
    let server = Server::start();
    drop(hand_over(&server, &["gone"]));
    let mut hears = hand_over(&server, &["here"]);
    let mut peer = subscriber(&server);
    peer.expect(messages(&["here"]));
    is_taken(&mut hears).await;
}

#[tokio::test]
async fn the_end_of_the_listener_is_heard() {
    let server = Server::start();
    let control = server.control.clone();
    let hears = hand_over(&server, &["a"]);
    server.finish();
    assert!(hears.await.is_err());
    let (taken, hears) = Taken::channel();
    control.hand_over(Values::default(), taken);
    assert!(hears.await.is_err());
}

#[tokio::test]
async fn a_subscription_with_a_maximum_gets_its_share() {
    let server = Server::start();
    let mut peer = server.client();
    peer.send("SUB EVENT-NOTIFICATION 1\r\nUNSUB 1 2\r\n");
    peer.flush();
    let mut hears = hand_over(&server, &["a", "b", "c"]);
    peer.expect(messages(&["a", "b"]));
    is_waiting(&mut hears).await;
    subscriber(&server).expect(messages(&["c"]));
    is_taken(&mut hears).await;
}

fn request(name: &str, value: &str) -> Request {
    Request {
        name: name.to_owned(),
        subscription: "123456".into(),
        delivery: 1,
        value: value.to_owned().into(),
    }
}

#[tokio::test]
async fn one_that_asks_for_an_answer_has_a_reply_subject_and_says_whose_it_is_to_who_speaks_headers() {
    let server = Server::start();
    let mut old = subscriber(&server);
    let mut new = server.connect();
    new.send("CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB EVENT-NOTIFICATION 2\r\nPING\r\n");
    assert_eq!(new.line(), "PONG\r\n");
    let mut plain = hand_over(&server, &["a"]);
    let (taken, mut hears) = Taken::channel();
    server.control.request(vec![request("123456.0.17.1", "b"), request("123456.0.18.1", "")], taken);
    is_taken(&mut plain).await;
    is_taken(&mut hears).await;
    // In the order of all calls.
    old.expect(messages(&["a"]));
    old.expect("MSG EVENT-NOTIFICATION 1 _CIM.ACK.123456.0.17.1 1\r\nb\r\n");
    old.expect("MSG EVENT-NOTIFICATION 1 _CIM.ACK.123456.0.18.1 0\r\n\r\n");
    new.expect("MSG EVENT-NOTIFICATION 2 1\r\na\r\n");
    let headers = "NATS/1.0\r\nCim-Subscription: 123456\r\nCim-Delivery: 1\r\n\r\n";
    let size = headers.len();
    new.expect(format!(
        "HMSG EVENT-NOTIFICATION 2 _CIM.ACK.123456.0.17.1 {size} {}\r\n{headers}b\r\n",
        size + 1
    ));
}

#[tokio::test]
async fn who_asks_whether_an_answer_came_is_told_so_if_it_did() {
    let server = Server::start();
    server.control.answers_go_to(Arc::default());
    let mut peer = server.client();
    peer.send("SUB inbox.> 1\r\n");
    peer.flush();
    peer.send("PUB _CIM.ACK.123456.0.17.1 inbox.1 4\r\n+ACK\r\n");
    peer.expect("MSG inbox.1 1 0\r\n\r\n");
    // What means nothing is taken and not confirmed.
    peer.send("PUB _CIM.ACK.123456.0.17.1 inbox.2 2\r\nno\r\nPUB _CIM.ACK.x inbox.3 0\r\n\r\n");
    peer.send("PUB _CIM.ACK.123456.0.17.1 0\r\n\r\nPING\r\n");
    assert_eq!(peer.line(), "PONG\r\n");
}
