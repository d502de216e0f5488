//! The way to a broker: answers lost, everything swallowed, names and addresses that lead nowhere. Who answers nonsense is in
//! `kafka_hostile`. Each fault is followed by the five invariants of `cim_tests::rig`. All of them wait: they run with
//! `CIM_LONG=1` (`make test-kafka`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cim_services::kafka::Listener;
use cim_services::{Kafka, KafkaPlan, free_port};
use cim_testkit::{Behaviour, ChaosProxy, Direction, Ending, Flow};
use cim_tests::invariants::Footprint;
use cim_tests::load::{Load, Plan};
use cim_tests::rig::{Outcome, Rig, Topics, settings};
use cim_tests::{Daemon, has_time, skip};
use rustix::net::{AddressFamily, SocketType};

/// A request without an answer ends its connection: after `socket.timeout.ms`, 8 s unless set, and the second between two looks
/// of the client at its requests. One more for a busy machine.
const GIVEN_UP_WITHIN: Duration = Duration::from_secs(8 + 1 + 1);
/// `/readyz` tells of a connection that is gone within so long.
const TOLD_WITHIN: Duration = Duration::from_secs(2);

/// A broker that tells its clients the address of a proxy, and the proxy.
fn behind_proxy() -> Option<(Kafka, ChaosProxy)> {
    let mut proxy = None;
    let kafka = KafkaPlan::new()
        .proxied(|broker| {
            let started = ChaosProxy::start_at(free_port().unwrap(), broker, 1).unwrap();
            let address = started.address();
            proxy = Some(started);
            address
        })
        .start()?;
    Some((kafka, proxy?))
}

fn rig_behind_proxy(kafka: &Kafka) -> Rig<'_> {
    Rig::start_with(kafka, Plan::default(), &kafka.addresses(Listener::Proxied), "")
}

/// K4: the broker wrote, and its answer is lost with the connection.
#[test]
fn answers_lost_with_their_connection_double_nothing() {
    if !has_time("twenty connections are cut") {
        return;
    }
    let Some((kafka, proxy)) = behind_proxy() else { return };
    let rig = rig_behind_proxy(&kafka);
    for _ in 0..20 {
        // The request passes, its answer does not.
        proxy.behave(
            Behaviour::faithful().flow(Direction::ToClient, Flow::faithful().cut_after(0, Ending::Reset)),
        );
        rig.run_for(1);
        proxy.behave(Behaviour::faithful());
        rig.wait_delivered(500);
    }
    // What was sent again carried the numbers of the first time, by which the broker knows it.
    assert_eq!(rig.finish().duplicates(), 0);
}

/// Twenty seconds without one direction; then what came of it.
fn half_gone(direction: Direction) -> Option<Outcome> {
    let (kafka, proxy) = behind_proxy()?;
    let rig = rig_behind_proxy(&kafka);
    proxy.behave(Behaviour::faithful().flow(direction, Flow::faithful().stall()));
    rig.run_for(20);
    rig.wait_degraded(Duration::from_secs(1));
    if direction == Direction::ToTarget {
        // What was swallowed does not arrive late after all.
        proxy.end_all(Ending::Reset);
    }
    proxy.behave(Behaviour::faithful());
    rig.wait_delivered(1_000);
    Some(rig.finish())
}

/// K5, one way: requests arrive and are stored, answers are lost.
#[test]
fn a_network_that_swallows_the_answers_costs_nothing() {
    if has_time("a network is half gone for 20 s") {
        let _ = half_gone(Direction::ToClient);
    }
}

/// K5, the other way: no request arrives, so nothing is there twice.
#[test]
fn a_network_that_swallows_the_requests_costs_nothing() {
    if has_time("a network is half gone for 20 s")
        && let Some(outcome) = half_gone(Direction::ToTarget)
    {
        assert_eq!(outcome.duplicates(), 0);
    }
}

/// K5: nothing comes back, not even a reset, and TCP would wait for a quarter of an hour.
#[test]
fn a_network_that_swallows_everything_is_given_up_within_ten_seconds() {
    if !has_time("a network is gone for 20 s") {
        return;
    }
    let Some((kafka, proxy)) = behind_proxy() else { return };
    let rig = rig_behind_proxy(&kafka);
    let (connections, began) = (proxy.accepted(), Instant::now());
    proxy.behave(Behaviour::blackhole());
    let left = |limit: Duration| limit.saturating_sub(began.elapsed());
    cim_services::until("another connection in place of the silent one", left(GIVEN_UP_WITHIN), || {
        proxy.accepted() > connections
    });
    rig.wait_degraded(left(GIVEN_UP_WITHIN + TOLD_WITHIN));
    rig.run_for(5);
    proxy.behave(Behaviour::faithful());
    rig.wait_delivered(1_000);
    let _ = rig.finish();
}

/// K11: one address of the name is dead, and for a while there is no such name.
#[test]
fn every_address_of_a_name_is_tried() {
    if !has_time("connecting to a dead address takes its time") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let port = kafka.broker(0).address(Listener::Plain).port();
    let text = settings(&format!("kafka.test:{port}"), &topics, "");
    let hosts = "127.0.0.9 kafka.test\n127.0.0.1 kafka.test\n";
    // Resolver and client may ask in another order than that of the file; what is dead says whether it was asked.
    let tried = dead_end(SocketAddr::from(([127, 0, 0, 9], port)));
    let Some(daemon) = start_with_hosts(&text, hosts) else { return };
    let rig = Rig::over(&kafka, daemon, topics, Plan::default());
    let names = rig.daemon.home().join("hosts");
    for for_a_while in ["", hosts] {
        kafka.broker(0).kill();
        std::fs::write(&names, for_a_while).unwrap();
        rig.run_for(3);
        std::fs::write(&names, hosts).unwrap();
        kafka.broker(0).restart();
        rig.wait_delivered(1_000);
    }
    assert!(tried.load(Ordering::Relaxed) > 0, "the dead address was never tried");
    // An address may also say nothing at all.
    let _silent = black_hole(SocketAddr::from(([127, 0, 0, 10], port)));
    std::fs::write(&names, "127.0.0.10 kafka.test\n127.0.0.1 kafka.test\n").unwrap();
    for _ in 0..3 {
        kafka.broker(0).kill();
        rig.run_for(3);
        kafka.broker(0).restart();
        rig.wait_delivered(1_000);
    }
    let _ = rig.finish();
}

/// An address that answers no attempt to connect: its one place is taken, and nobody accepts.
fn black_hole(address: SocketAddr) -> (OwnedFd, TcpStream) {
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &address).unwrap();
    rustix::net::listen(&socket, 0).unwrap();
    let only = TcpStream::connect(address).unwrap();
    let next = TcpStream::connect_timeout(&address, Duration::from_millis(300));
    assert_eq!(next.unwrap_err().kind(), ErrorKind::TimedOut);
    (socket, only)
}

/// Takes connections and ends them; counts them.
fn dead_end(address: SocketAddr) -> Arc<AtomicUsize> {
    let listener = TcpListener::bind(address).unwrap();
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    std::thread::spawn(move || {
        for _ in listener.incoming().flatten() {
            counted.fetch_add(1, Ordering::Relaxed);
        }
    });
    count
}

/// K11: a name moves from IPv4 to IPv6 and back, and has both for a while, of which the first is dead.
#[test]
fn a_name_that_flips_between_ipv4_and_ipv6_is_followed() {
    if !has_time("a name changes its addresses") {
        return;
    }
    let (four, mut target) = (free_port().unwrap(), None);
    let six = SocketAddr::from((std::net::Ipv6Addr::LOCALHOST, four.port()));
    if TcpListener::bind(six).is_err() {
        return skip("no IPv6 on the loopback interface");
    }
    let proxied = |broker| {
        target = Some(broker);
        four
    };
    let Some(kafka) = KafkaPlan::new().proxied(proxied).named("kafka.test").start() else { return };
    let target = target.unwrap();
    let proxy = |address: SocketAddr| ChaosProxy::start_at(address, target, 1).unwrap();
    let topics = Topics::create(&kafka);
    let mut open = proxy(four);
    let text = settings(&format!("kafka.test:{}", four.port()), &topics, "");
    let Some(daemon) = start_with_hosts(&text, "127.0.0.1 kafka.test\n") else { return };
    let rig = Rig::over(&kafka, daemon, topics, Plan::default());
    let both = "::1 kafka.test\n127.0.0.1 kafka.test\n";
    for (address, hosts) in
        [(six, "::1 kafka.test\n"), (four, "127.0.0.1 kafka.test\n"), (six, both), (four, both)]
    {
        std::fs::write(rig.daemon.home().join("hosts"), hosts).unwrap();
        drop(std::mem::replace(&mut open, proxy(address)));
        rig.wait_delivered(4_000);
    }
    let _ = rig.finish();
}

/// K12: a broker that takes next to nothing, and makes its clients wait for longer with every request.
#[test]
fn a_throttle_without_end_holds_records_until_it_is_lifted() {
    if !has_time("a broker throttles for 30 s") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.limit_producers(Some(1_000));
    rig.run_for(30);
    let held = rig.daemon.metric("cim_records_held");
    assert!(held > 20_000.0, "only {held} records wait: it was not throttled");
    kafka.limit_producers(None);
    rig.wait_delivered(40_000);
    let _ = rig.patience(Duration::from_secs(120)).finish();
}

/// Starts the program in a mount namespace with an `/etc/hosts` of its own.
fn start_with_hosts(settings: &str, hosts: &str) -> Option<Daemon> {
    if !cim_services::has_program("unshare")
        || !Command::new("unshare").args(["-m", "true"]).status().unwrap().success()
    {
        skip("a mount namespace cannot be made here (needs root): names cannot be given addresses");
        return None;
    }
    let spawn = |home: &Path| -> Child {
        let file = home.join("hosts");
        std::fs::write(&file, hosts).unwrap();
        let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", file.display());
        Daemon::spawn_under(home, &["unshare", "-m", "sh", "-c", &script, "sh"])
    };
    Some(Daemon::start_in(tempfile::tempdir().unwrap(), settings, spawn))
}

/// K11: the broker tells clients an address where nobody listens yet.
#[test]
fn an_address_that_leads_nowhere_is_tried_until_somebody_listens() {
    if !has_time("an advertised address leads nowhere for 10 s") {
        return;
    }
    let nowhere = free_port().unwrap();
    let mut target = None;
    let plan = KafkaPlan::new().proxied(|broker| {
        target = Some(broker);
        nowhere
    });
    let Some(kafka) = plan.start() else { return };
    let topics = Topics::create(&kafka);
    let target = target.unwrap();
    // Bootstrap reaches the broker; its answer leads away from it.
    let daemon = Daemon::start(&settings(&target.to_string(), &topics, ""));
    let started = Footprint::of(&daemon);
    let load = Load::start(daemon.nats(), Plan::default());
    load.run_for(Duration::from_secs(10));
    assert!(daemon.metric("cim_records_delivered_total") < 0.5);
    let _proxy = ChaosProxy::start_at(nowhere, target, 1).unwrap();
    let _ = Rig::around(&kafka, daemon, topics, load, started).finish();
}
