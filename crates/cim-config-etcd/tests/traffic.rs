//! What the source sends, and over which connections.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use cim_config_etcd::{EtcdSettings, EtcdSource, Pace};
use cim_core::{Commit, ConfigOutcome, ConfigSource as _, Reported, SourceErrorKind, chain};
use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use cim_testkit::{Behaviour, ChaosProxy, Direction, Flow, has_time, until};
use rig::{PATIENCE, Tail, change, scope};
use tokio::time::{Instant, sleep};

/// Nothing but what is asked for, for the length of a test.
const NEVER: Duration = Duration::from_secs(3600);

fn proxied(etcd: &Etcd, pace: Pace, keep_alive: &str) -> (ChaosProxy, EtcdSource) {
    let proxy = ChaosProxy::start(etcd.member(0).address(), 1).unwrap();
    let settings = EtcdSettings {
        keep_alive: keep_alive.parse().unwrap(),
        ..rig::settings(&[format!("http://{}", proxy.address())])
    };
    let source = EtcdSource::paced("etcd", &settings, pace).unwrap();
    (proxy, source)
}

fn commit(value: i32) -> ConfigOutcome {
    let key = "commit-config/ns/amf/v1/ms/pod".to_owned();
    ConfigOutcome { commit: Some(Commit { key, value }), status: None }
}

/// Transactions that the member has answered, as it counts them itself: every listing is one, and so is every report.
fn transactions(member: SocketAddr) -> u64 {
    let mut stream = TcpStream::connect(member).unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: etcd\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    let counts =
        |line: &&str| line.starts_with("grpc_server_handled_total") && line.contains("grpc_method=\"Txn\"");
    let counts = page.lines().filter(counts).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
    counts.sum::<f64>() as u64
}

#[tokio::test(flavor = "multi_thread")]
async fn the_watch_has_a_connection_of_its_own() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let (proxy, source) = proxied(&etcd, Pace::default(), "10s");
        let mut tail = Tail::new(&source, &scope("amf"), None);
        tail.reset().await;
        assert_eq!(proxy.live(), 1, "of the watch");
        for value in 1..4 {
            assert_eq!(source.report(&commit(value)).await.unwrap(), Reported::Stored);
        }
        assert_eq!(proxy.live(), 2, "of the watch and of the calls");
        drop(tail);
        let deadline = Instant::now() + PATIENCE;
        while proxy.live() > 1 {
            assert!(Instant::now() < deadline, "the connection of the watch outlives it");
            sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(source.report(&commit(4)).await.unwrap(), Reported::Stored);
        assert_eq!((proxy.live(), proxy.accepted()), (1, 2));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ping_without_an_answer_ends_a_dead_watch_where_nothing_else_would() {
    let Some(etcd) = Etcd::single() else { return };
    let pace = Pace { progress: NEVER, silence: NEVER, audit: NEVER, ..Pace::default() };
    let (proxy, source) = proxied(&etcd, pace, "5s");
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    etcd.put(&change("amf", 1), "1");
    tail.put().await;
    proxy.behave(Behaviour::both(Flow::faithful().stall()));
    // A ping every 5 s, and 2.5 s for its answer.
    let error = tail.error_within(PATIENCE).await;
    assert_eq!(error.kind(), SourceErrorKind::Unavailable, "{}", chain(&error));
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_compared_without_their_values() {
    let Some(etcd) = Etcd::single() else { return };
    etcd.put(&change("amf", 1), &"x".repeat(1 << 20));
    let pace = Pace { audit: Duration::from_millis(200), ..Pace::default() };
    let (proxy, source) = proxied(&etcd, pace, "10s");
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    // The proxy counts a piece after it has passed it on.
    let answered = || proxy.forwarded(Direction::ToClient);
    until("the value was read once", PATIENCE, async || answered() > 1 << 20).await;
    let (before, first) = (transactions(etcd.member(0).address()), answered());
    let deadline = Instant::now() + PATIENCE;
    while transactions(etcd.member(0).address()) < before + 5 {
        assert!(Instant::now() < deadline, "the keys are not read");
        assert!(tail.within(Duration::from_millis(50)).await.is_none(), "nothing has changed");
    }
    let answered = answered() - first;
    assert!(answered < 64 << 10, "{answered} bytes for five readings of one key");
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_compared_once_a_minute() {
    assert_eq!(Pace::default().audit, Duration::from_secs(60));
    if !has_time("the reads of 65 seconds") {
        return;
    }
    let Some(etcd) = Etcd::single() else { return };
    let source = rig::source(&etcd);
    let mut tail = Tail::new(&source, &scope("amf"), None);
    tail.reset().await;
    let before = transactions(etcd.member(0).address());
    assert!(tail.within(Duration::from_secs(65)).await.is_none(), "nothing has changed");
    assert_eq!(transactions(etcd.member(0).address()), before + 1);
}
