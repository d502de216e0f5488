//! Many clients, and clients that want much: everybody else is served all the same.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use cim_api::{Face, Limits};
use support::{LARGE, beside, exchange, get, limits, read_to_close};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const REGISTER: &str = "POST /api/v1/_operations/xgvela/register HTTP/1.1\r\nHost: x\r\n";

/// Descriptors of this process.
fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

#[tokio::test]
async fn a_silent_client_gives_its_connection_up_to_a_new_one() {
    let patient =
        Limits { request_time: Duration::from_secs(60), idle_time: Duration::from_secs(60), ..limits() };
    beside(Face::Full, patient, |address, _| async move {
        let mut silent = Vec::new();
        for _ in 0..4 {
            silent.push(TcpStream::connect(address).await.unwrap());
        }
        assert!(get(address, "GET", "/livez").await.ends_with("ok\n"));
        read_to_close(&mut silent[0]).await;
    })
    .await;
}

#[tokio::test]
async fn connections_that_are_being_answered_stay_and_a_new_one_waits_for_its_turn() {
    let patient =
        Limits { request_time: Duration::from_secs(60), idle_time: Duration::from_secs(60), ..limits() };
    beside(Face::Full, patient, |address, state| async move {
        let mut busy = Vec::new();
        for _ in 0..4 {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(format!("{REGISTER}Content-Length: 2\r\n\r\n{{}}").as_bytes()).await.unwrap();
            busy.push(stream);
        }
        let waiting = get(address, "GET", "/livez");
        let answered = async {
            state.begun.subscribe().wait_for(|begun| *begun >= 4).await.unwrap();
            state.slow.notify_one();
        };
        let (answer, ()) = tokio::join!(waiting, answered);
        assert!(answer.ends_with("ok\n"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_connection_keeps_its_seat_until_its_answer_has_left() {
    let one = Limits {
        connections: 1,
        request_time: Duration::from_secs(60),
        idle_time: Duration::from_secs(60),
        ..limits()
    };
    beside(Face::Full, one, |address, state| async move {
        state.large.store(true, Ordering::Relaxed);
        let mut slow = TcpStream::connect(address).await.unwrap();
        slow.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut first = [0; 1024];
        slow.read_exact(&mut first).await.unwrap();
        let mut other = TcpStream::connect(address).await.unwrap();
        other.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let rest = read_to_close(&mut slow).await.len();
        assert!(first.len() + rest > LARGE, "cut after {rest} bytes");
        assert!(read_to_close(&mut other).await.ends_with("ok\n"));
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_connections_leave_room_for_one_more_and_no_descriptor() {
    beside(Face::Full, Limits { connections: 64, ..Limits::default() }, |address, _| async move {
        let before = descriptors();
        let mut clients = std::collections::VecDeque::new();
        for _ in 0..10_000 {
            // The client's own ends are bounded, too: the machine may not have more.
            if clients.len() == 400 {
                clients.pop_front();
            }
            clients.push_back(TcpStream::connect(address).await.unwrap());
        }
        assert!(get(address, "GET", "/livez").await.ends_with("ok\n"));
        assert!(descriptors() < before + 400 + 70, "{} and {before} before", descriptors());
        drop(clients);
        assert!(get(address, "GET", "/livez").await.ends_with("ok\n"));
    })
    .await;
}

#[tokio::test]
async fn large_endless_and_deep_bodies_are_refused_within_their_limits() {
    beside(Face::Full, limits(), |address, _| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{REGISTER}Content-Length: 10485760\r\n\r\n").as_bytes()).await.unwrap();
        assert!(
            read_to_close(&mut stream).await.starts_with("HTTP/1.1 413 "),
            "10 MiB, before they are sent"
        );

        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(format!("{REGISTER}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).await.unwrap();
        let mut sent = 0;
        while stream.write_all(b"1000\r\n").await.is_ok() && stream.write_all(&[b' '; 0x1000]).await.is_ok() {
            if stream.write_all(b"\r\n").await.is_err() {
                break;
            }
            sent += 0x1000;
            assert!(sent < 64 << 20, "an endless body is read on and on");
        }

        let deep = format!("{{\"lmaas\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
        let huge = "{\"container_name\":1e400}".to_owned();
        let surrogate = "{\"container_name\":\"\\ud800\"}".to_owned();
        for body in [deep, huge, surrogate] {
            let head = format!("{REGISTER}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            let answer = exchange(address, head.as_bytes()).await;
            assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
        }
        assert!(get(address, "GET", "/livez").await.ends_with("ok\n"));
    })
    .await;
}
