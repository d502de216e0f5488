//! A pod whose etcd, Kafka cluster and API server are all away at once, for as long as an outage takes: the application
//! notices nothing, and nothing is missing afterwards.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cim_services::{Etcd, Kafka, Kubernetes, until};
use cim_tests::application::{Application, Manners};
use cim_tests::check::Findings;
use cim_tests::cluster::{ACCOUNT, Berth, PATIENCE, POD};
use cim_tests::invariants;
use cim_tests::load::{Load, Plan};
use cim_tests::rig::{self, Topics};
use cim_tests::{Daemon, has_time};

/// Seconds without any server. `CIM_OUTAGE_SECONDS` changes the long one, to an hour for example.
const SHORT_SECONDS: u64 = 3;
const LONG_SECONDS: u64 = 60;
/// Budget of memory by default, and what the program takes besides.
const MEMORY_LIMIT_KIB: u64 = (48 + 8) * 1024;
/// Memory of its own while nothing happens; pages of the program file come on top.
const IDLE_LIMIT_KIB: u64 = 8 * 1024;
/// Both together.
const IDLE_RESIDENT_KIB: u64 = 12 * 1024;
const LOAD: Plan = Plan { rate: 50, bytes: 200, sources: 4, event_every: 50 };

fn outage() -> Duration {
    if !has_time("a minute without any server") {
        return Duration::from_secs(SHORT_SECONDS);
    }
    let asked_for = std::env::var("CIM_OUTAGE_SECONDS").ok().map(|text| text.parse().unwrap());
    Duration::from_secs(asked_for.unwrap_or(LONG_SECONDS))
}

fn settings(app: &Application, etcd: &Etcd, kafka: &Kafka, topics: &Topics, berth: &Berth<'_>) -> String {
    // Both begin with the directory of the spool.
    let cluster = berth.settings();
    let (_, cluster) = cluster.split_once('\n').unwrap();
    format!(
        "{}{}{cluster}[configuration]\nsource = \"etcd\"\netcd.endpoints = [{:?}]\n",
        app.setting(),
        rig::settings(&kafka.bootstrap(), topics, ""),
        etcd.endpoints()[0],
    )
}

fn change(etcd: &Etcd, namespace: &str, revision: u32) {
    let key = format!("change-set/{namespace}/shop/v1/ms/app.json/{revision}");
    let _ = etcd.put_for(&key, "[]", 180);
}

fn commits(etcd: &Etcd, namespace: &str, revision: u32) {
    let key = format!("commit-config/{namespace}/shop/v1/ms/{POD}");
    until("the commit", PATIENCE, || etcd.get(&key) == Some(revision.to_string()));
}

/// Most memory the process has had, in KiB.
fn peak_memory(daemon: &Daemon) -> u64 {
    daemon.memory_kib("VmHWM")
}

/// How long the disk takes at the same time for what a registration writes: a file, and its name.
fn slowest_write(directory: &Path, done: &AtomicBool) -> Duration {
    let (fresh, path) = (directory.join(".control"), directory.join("control"));
    let mut slowest = Duration::ZERO;
    loop {
        let asked = Instant::now();
        let mut file = File::create(&fresh).unwrap();
        file.write_all(b"{}").unwrap();
        file.sync_all().unwrap();
        std::fs::rename(&fresh, &path).unwrap();
        File::open(directory).unwrap().sync_all().unwrap();
        slowest = slowest.max(asked.elapsed());
        if done.load(Ordering::Relaxed) {
            return slowest;
        }
    }
}

/// An application that starts now is registered as soon as the disk lets it, and the pod stays in service.
fn assert_serves(daemon: &Daemon) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let control = scope.spawn(|| slowest_write(daemon.home(), &done));
        let asked = Instant::now();
        let answer = daemon.register();
        let took = asked.elapsed();
        done.store(true, Ordering::Relaxed);
        let control = control.join().unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        assert!(
            took < Duration::from_secs(1) + control,
            "registered after {took:?}, a write took {control:?}"
        );
    });
    let page = daemon.get("/readyz").unwrap();
    assert!(page.starts_with("HTTP/1.1 200"), "{page}");
    assert!(peak_memory(daemon) <= MEMORY_LIMIT_KIB, "{} KiB", peak_memory(daemon));
}

#[test]
fn a_pod_outlives_an_outage_of_every_server_and_a_kill_in_the_middle_of_it() {
    let outage = outage();
    let (Some(kubernetes), Some(etcd), Some(kafka)) = (Kubernetes::start(), Etcd::single(), Kafka::single())
    else {
        return;
    };
    let berth = Berth::new(&kubernetes);
    let namespace = berth.namespace.name().to_owned();
    let topics = Topics::create(&kafka);
    let app = Application::start(Manners::default());
    let mut daemon = Daemon::start(&settings(&app, &etcd, &kafka, &topics, &berth));
    app.connect(daemon.nats());
    assert_serves(&daemon);
    change(&etcd, &namespace, 1);
    commits(&etcd, &namespace, 1);
    let load = Load::start(daemon.nats(), LOAD);
    until("deliveries", PATIENCE, || daemon.metric("cim_records_delivered_total") > 100.0);

    kafka.kill_all();
    etcd.member(0).kill();
    kubernetes.kill();
    load.run_for(outage / 2);
    assert_serves(&daemon);
    daemon.kill_and_restart();
    app.connect(daemon.nats());
    load.run_for(outage / 2);
    assert_serves(&daemon);
    println!("{outage:?} without any server: at most {} KiB of memory", peak_memory(&daemon));

    kafka.restart_all();
    etcd.member(0).restart();
    kubernetes.restart();
    // What a kubelet does before the old one expires.
    berth.write_token(&berth.namespace.token(ACCOUNT));
    change(&etcd, &namespace, 2);
    commits(&etcd, &namespace, 2);
    let slowest = load.slowest_pong();
    let published = load.stop();
    invariants::drain(&daemon, PATIENCE);
    invariants::assert_books(&daemon);
    let logs = Findings::logs(&kafka.records(&topics.logs), &published);
    let mut events = kafka.records(&topics.events);
    // Beside the own events of the program.
    events.retain(|event| event.text().contains(r#""eventName":"E0"#));
    let events = Findings::events(&events, &published);
    rig::assert_clean(&daemon, &rig::Outcome { published, logs, events });
    assert_eq!(app.revisions(), [1, 2]);
    assert!(slowest < Duration::from_secs(1), "a PING waited {slowest:?} for its PONG");
    assert!(!berth.is_pod_leaving() && berth.deletions().is_empty(), "nobody asks for the end of the pod");
    // The API server is asked again when it has to be, and known to be back then.
    until("nothing degraded", PATIENCE, || !daemon.get("/readyz").unwrap().contains("degraded"));
}

#[test]
fn an_idle_pod_that_is_connected_with_every_server_needs_little_memory_of_its_own() {
    let (Some(kubernetes), Some(etcd), Some(kafka)) = (Kubernetes::start(), Etcd::single(), Kafka::single())
    else {
        return;
    };
    let berth = Berth::new(&kubernetes);
    let topics = Topics::create(&kafka);
    let app = Application::start(Manners::default());
    let daemon = Daemon::start(&settings(&app, &etcd, &kafka, &topics, &berth));
    app.connect(daemon.nats());
    assert_serves(&daemon);
    change(&etcd, berth.namespace.name(), 1);
    commits(&etcd, berth.namespace.name(), 1);
    let load = Load::start(daemon.nats(), LOAD);
    until("deliveries", PATIENCE, || daemon.metric("cim_records_delivered_total") > 20.0);
    let _ = load.stop();
    invariants::drain(&daemon, PATIENCE);
    until("little memory", PATIENCE, || daemon.memory_kib("RssAnon") <= IDLE_LIMIT_KIB);
    // What only the start needed is given back some seconds after it.
    if has_time("memory is given back") {
        until("pages of the program are given back", PATIENCE, || {
            daemon.memory_kib("VmRSS") <= IDLE_RESIDENT_KIB
        });
    }
    println!("idle: {} KiB, {} of its own", daemon.memory_kib("VmRSS"), daemon.memory_kib("RssAnon"));
}
