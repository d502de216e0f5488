//! Full classes, short memory and subscribers that do not read: who is held back, who is cut, who notices nothing.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[path = "../../../tests/src/lateness.rs"]
mod lateness;
mod support;

use cim_nats::NatsConfig;
use lateness::Echo;
use std::time::{Duration, Instant};
use support::{Ending, Engine, Server, config};

/// The product's ladder, a hundred times faster.
fn quick() -> NatsConfig {
    NatsConfig {
        sip_interval: Duration::from_millis(100),
        hold_limit: Duration::from_millis(2_000),
        ..config()
    }
}

/// For subscribers that read whenever the machine lets them: only what waits for them may cut them.
fn patient() -> NatsConfig {
    NatsConfig { write_deadline: Duration::from_secs(30), ..config() }
}

#[test]
fn a_held_publisher_goes_on_in_order_when_space_returns() {
    let server = Server::start();
    let mut peer = server.client();
    peer.send("PUB LOG 1\r\na\r\n");
    peer.flush();
    server.engine.change(|state| state.logs_full = true);
    peer.send("PUB LOG 1\r\nb\r\nPUB LOG 1\r\nc\r\nSUB x 1\r\nPING\r\n");
    server.wait_for("the hold", |counts| counts.holds == 1);
    peer.send("PUB LOG 1\r\nd\r\nPING\r\n");
    let mut other = server.client();
    other.send("PUB EVENT 1\r\ne\r\nPUB CONFIG 2\r\n{}\r\n");
    assert_eq!(other.flush(), "", "neighbours notice nothing");
    assert_eq!(peer.until(Duration::from_millis(50), |_| false), (vec![], Ending::Open));
    assert_eq!(server.engine.lock().logs, [b"a"]);
    server.engine.change(|state| state.logs_full = false);
    peer.expect("PONG\r\nPONG\r\n");
    assert_eq!(server.engine.lock().logs, [b"a", b"b", b"c", b"d"]);
    assert_eq!(server.stats.snapshot().backpressure_closes, 0);
}

#[test]
fn a_configuration_result_never_waits_behind_a_full_class() {
    // The limit is not what ends the hold here.
    let server = Server::with(NatsConfig { hold_limit: Duration::from_secs(20), ..quick() });
    let mut peer = server.client();
    peer.send("PUB EVENT 1\r\na\r\n");
    peer.flush();
    server.engine.change(|state| state.events_full = true);
    peer.send("PUB EVENT 1\r\nb\r\nPUB CONFIG 1\r\n1\r\nPUB EVENT 1\r\nc\r\nPUB CONFIG 1\r\n2\r\n");
    server.wait_for("both results", |counts| counts.received[2].messages == 2);
    peer.send("PUB CONFIG 1\r\n3\r\n");
    server.wait_for("the result in a later sip", |counts| counts.received[2].messages == 3);
    server.engine.change(|state| state.events_full = false);
    assert_eq!(peer.flush(), "");
    let state = server.engine.lock();
    assert_eq!(state.events, [b"a", b"b", b"c"]);
    assert_eq!(state.configs, [b"1", b"2", b"3"]);
}

#[test]
fn sips_keep_a_publisher_alive_and_the_limit_closes_it_plainly() {
    let server = Server::with(NatsConfig { hold_limit: Duration::from_secs(3), ..quick() });
    let mut peer = server.client();
    peer.send("PUB LOG 1\r\na\r\n");
    peer.flush();
    server.engine.change(|state| {
        state.logs_full = true;
        state.reserve = 2;
    });
    let start = Instant::now();
    peer.send("PUB LOG 1\r\nb\r\nPING\r\nPUB LOG 1\r\nc\r\nPING\r\nPUB LOG 1\r\nd\r\nPING\r\n");
    peer.expect("PONG\r\nPONG\r\n");
    assert_eq!(peer.until_closed(), b"", "no -ERR");
    assert!(start.elapsed() >= Duration::from_millis(2_900), "{:?}", start.elapsed());
    assert_eq!(server.engine.lock().logs, [b"a", b"b", b"c"]);
    server.wait_for("the close", |counts| counts.backpressure_closes == 1);
    server.engine.change(|state| state.reserve = 1);
    let mut again = server.client();
    again.send("PUB LOG 1\r\nd\r\n");
    assert_eq!(again.flush(), "", "the reconnect is taken, with one credit");
}

#[test]
fn only_a_fresh_connection_has_a_credit() {
    let server = Server::start();
    let mut old = server.client();
    old.send("PUB LOG 1\r\na\r\n");
    old.flush();
    server.engine.change(|state| {
        state.logs_full = true;
        state.reserve = 1_000;
    });
    old.send("PUB LOG 1\r\nb\r\n");
    server.wait_for("the hold", |counts| counts.holds == 1);
    let mut fresh = server.client();
    fresh.send(format!("PUB LOG 1000\r\n{}\r\n", "x".repeat(1_000)).repeat(100));
    server.wait_for("the second hold", |counts| counts.holds == 2);
    assert_eq!(server.engine.lock().sips, 17, "16 KiB");
}

#[test]
fn a_publisher_that_never_stops_is_read_in_sips_only() {
    let server = Server::on(quick(), Engine::with_budget(4 << 20));
    let mut peer = server.client();
    peer.send("PUB LOG 1\r\na\r\n");
    peer.flush();
    server.engine.change(|state| state.logs_full = true);
    let frames = format!("PUB LOG 1000\r\n{}\r\n", "x".repeat(1_000)).repeat(2_000);
    peer.stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
    let before = server.stats.snapshot().read_bytes;
    peer.try_send(&frames);
    server.wait_for("the hold", |counts| counts.holds == 1);
    peer.stream.set_write_timeout(Some(support::PATIENCE)).unwrap();
    peer.try_send(&frames);
    let (got, ending) = peer.until(support::PATIENCE, |_| false);
    assert_eq!((got, ending), (vec![], Ending::Closed));
    let read = server.stats.snapshot().read_bytes - before;
    let most = (256 << 10) + 25 * (16 << 10) + (1 << 20);
    assert!(read < most + (8 << 20), "{read}");
    assert!(server.engine.lock().most_reserved <= 4 << 20);
}

#[test]
fn a_subscriber_that_stops_reading_is_cut_and_nobody_else_notices() {
    let config = NatsConfig { write_deadline: Duration::from_millis(300), ..config() };
    let server = Server::with(config);
    let mut deaf = server.client();
    deaf.send("SUB data 1\r\n");
    deaf.flush();
    let (mut publisher, mut app) = (server.client(), server.client());
    let frame = format!("PUB data 65536\r\n{}\r\n", "x".repeat(65_536));
    let mut sent = 0;
    while server.stats.snapshot().slow_consumers == 0 {
        publisher.send(&frame);
        sent += 1;
        assert!(sent < 5_000, "never cut");
    }
    app.send("PUB LOG 1\r\nx\r\n");
    let (_, took) = Echo::start().time(|| app.flush());
    assert!(took < Duration::from_secs(1), "{took:?}");
    assert_eq!(publisher.flush(), "");
    server.wait_for("the cut", |counts| counts.subscriptions == 0 && counts.connections == 2);
    assert!(server.engine.lock().most_reserved <= 48 << 20);
}

#[test]
fn a_fast_publisher_does_not_lose_a_subscriber_that_reads() {
    let server = Server::with(patient());
    let mut subscriber = server.client();
    subscriber.send("SUB data 1\r\n");
    subscriber.flush();
    let mut publisher = server.client();
    let frame = format!("PUB data 1024\r\n{}\r\n", "x".repeat(1_024));
    let sender = std::thread::spawn(move || {
        for _ in 0..400 {
            publisher.send(frame.repeat(256));
        }
        publisher.flush();
    });
    let line = "MSG data 1 1024\r\n".len() + 1_024 + 2;
    let want = 400 * 256 * line;
    let mut seen = 0;
    while seen < want {
        let (bytes, ending) =
            subscriber.until(support::PATIENCE, |got| got.len() >= 1 << 20 || seen + got.len() >= want);
        assert_eq!(ending, Ending::Open, "after {seen} of {want}");
        assert!(!bytes.is_empty(), "stuck after {seen} of {want}");
        seen += bytes.len();
    }
    sender.join().unwrap();
    assert_eq!(server.stats.snapshot().slow_consumers, 0);
}

#[test]
fn fan_out_to_slower_subscribers_cuts_nobody() {
    let server = Server::on(patient(), Engine::with_budget(48 << 20));
    let frames = 100 * 256;
    let readers: Vec<_> = (0..4)
        .map(|_| {
            let mut subscriber = server.client();
            subscriber.send("SUB data 1\r\n");
            subscriber.flush();
            std::thread::spawn(move || {
                let want = frames * ("MSG data 1 1024\r\n".len() + 1_024 + 2);
                let mut seen = 0;
                while seen < want {
                    let enough = |got: &[u8]| got.len() >= 1 << 20 || seen + got.len() >= want;
                    let (bytes, ending) = subscriber.until(support::PATIENCE, enough);
                    assert!(ending == Ending::Open && !bytes.is_empty(), "after {seen} of {want}");
                    seen += bytes.len();
                    // A slow reader: as much work again as the reading.
                    assert!(bytes.iter().map(|byte| u64::from(*byte)).sum::<u64>() > 0);
                }
            })
        })
        .collect();
    let mut publisher = server.client();
    let frame = format!("PUB data 1024\r\n{}\r\n", "x".repeat(1_024)).repeat(256);
    for _ in 0..frames / 256 {
        publisher.send(&frame);
    }
    publisher.flush();
    readers.into_iter().for_each(|reader| reader.join().unwrap());
    assert_eq!(server.stats.snapshot().slow_consumers, 0);
}

#[test]
fn a_client_that_answers_no_ping_is_closed() {
    let interval = Duration::from_millis(100);
    let server = Server::with(NatsConfig { first_ping: interval, ping_interval: interval, ..config() });
    let mut dead = server.client();
    assert_eq!(dead.until_closed(), b"PING\r\nPING\r\n");
    server.wait_for("the count", |counts| counts.stale == 1);
    // Time enough to answer.
    let interval = Duration::from_secs(1);
    let server = Server::with(NatsConfig { first_ping: interval, ping_interval: interval, ..config() });
    let mut alive = server.client();
    for _ in 0..4 {
        alive.expect("PING\r\n");
        alive.send("PONG\r\n");
    }
    alive.flush();
    assert_eq!(server.stats.snapshot().stale, 0);
}
