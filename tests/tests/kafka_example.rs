//! The example with every part on a cluster of three: both classes go to Kafka, to files while no broker answers, to a TCP receiver
//! after a switch of each route, and back. Places are judged by `cim verify`, one by one and together. It waits: it runs with
//! `CIM_LONG=1` (`make test-kafka`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use cim_bench::producer::{Producer, ProducerSpec};
use cim_bench::stamp::{self, Reading};
use cim_services::{Etcd, Kafka, free_port};
use cim_tests::invariants::Vigil;
use cim_tests::receiver::Receiver;
use cim_tests::rig::{
    EVENT_PARTITIONS, LOG_PARTITIONS, Topics, explained_duplicates, in_sync, leader, wait_delivered,
};
use cim_tests::verdict::{assert_only_gaps, assert_only_missing};
use cim_tests::{Daemon, has_time};

/// Deliveries go on within this after a fault.
const PATIENCE: Duration = Duration::from_secs(120);
/// Messages of a class that are published in one go, and how often.
const STEP: u64 = 100;
const EVERY: Duration = Duration::from_millis(100);
/// Bytes of a payload.
const PAYLOAD: usize = 200;

/// An application that publishes logs and as many events of the load generator, each class numbered from 1.
struct Speaker {
    accepted: Arc<AtomicUsize>,
    /// Held while a message may be without an answer.
    turn: Arc<Mutex<()>>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Speaker {
    fn start(nats: SocketAddr) -> Self {
        let (accepted, turn, stop) = <(Arc<AtomicUsize>, Arc<Mutex<()>>, Arc<AtomicBool>)>::default();
        // What it writes to a connection whose other end is gone by then, it writes again.
        let patient = |spec| ProducerSpec { reconnect_for: PATIENCE, resend: true, ..spec };
        let specs = [ProducerSpec::logs(nats, 1, PAYLOAD), ProducerSpec::events(nats, 2, PAYLOAD)];
        let mut producers = specs.map(|spec| Producer::connect(patient(spec)).unwrap());
        let thread = {
            let (accepted, turn, stop) = (Arc::clone(&accepted), Arc::clone(&turn), Arc::clone(&stop));
            std::thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let speaking = turn.lock().unwrap();
                    producers.iter_mut().for_each(|producer| producer.send(STEP).unwrap());
                    producers.iter_mut().for_each(|producer| assert!(producer.barrier().unwrap() > 0));
                    drop(speaking);
                    accepted.fetch_add(STEP as usize, Ordering::Relaxed);
                    std::thread::sleep(EVERY);
                }
            })
        };
        Self { accepted, turn, stop, thread }
    }

    /// Ends it. So many messages of each class are accepted.
    fn stop(self) -> usize {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the publisher");
        self.accepted.load(Ordering::Relaxed)
    }
}

/// The example with every part, on servers of this test: only places are others than there.
fn example(kafka: &Kafka, etcd: &Etcd, receiver: SocketAddr) -> String {
    let text = include_str!("../../examples/kafka/cim.toml");
    let places = [
        // Chosen by the test.
        ("[nats] # the listener in the pod\nlisten = \"127.0.0.1:4222\"", String::new()),
        ("[api] # registration, subscriptions, health, metrics\nlisten = \"127.0.0.1:6060\"", String::new()),
        ("\"/var/lib/cim\"", "\"{home}/spool\"".to_owned()),
        ("\"/opt/logs\"", "\"{home}/files\"".to_owned()),
        ("\"127.0.0.1:9092\"", format!("\"{}\"", kafka.bootstrap().replace(',', "\", \""))),
        ("\"fluent-bit:5170\"", format!("\"{receiver}\"")),
        ("\"http://127.0.0.1:2379\"", format!("\"http://{}\"", etcd.member(0).address())),
    ];
    places.into_iter().fold(text.to_owned(), |text, (from, to)| {
        assert!(text.contains(from), "not in the example: {from}");
        text.replace(from, &to)
    })
}

/// Records of a route that a sink has delivered.
fn delivered(daemon: &Daemon, route: &str, sink: &str) -> usize {
    daemon.metric(&format!("cim_records_delivered_total{{route=\"{route}\",sink=\"{sink}\"}}")) as usize
}

/// Sends a route elsewhere while the program runs, and waits until the new sink has delivered.
fn switch(daemon: &Daemon, route: &str, from: &str, to: &str) {
    let line = |sink: &str| format!("[routes.{route}]\nsink = \"{sink}\"");
    let before = delivered(daemon, route, to);
    daemon.reload(&line(from), &line(to));
    let goes_on = || delivered(daemon, route, to) > before + 2_000;
    cim_services::until(&format!("{route} to {to}"), PATIENCE, goes_on);
}

/// A leader is killed, another broker is frozen, then all of them are gone for longer than the fallback waits.
fn brokers_fail(kafka: &Kafka, daemon: &Daemon, topics: &Topics) {
    let whole = || [&topics.logs, &topics.events].iter().for_each(|topic| in_sync(kafka, topic));
    let killed = leader(kafka, &topics.logs, 0);
    kafka.broker(killed).kill();
    wait_delivered(daemon, 8_000, PATIENCE);
    kafka.broker(killed).restart();
    whole();
    let frozen = leader(kafka, &topics.events, 1);
    kafka.broker(frozen).pause();
    wait_delivered(daemon, 16_000, PATIENCE);
    kafka.broker(frozen).resume();
    whole();
    let by_files = || daemon.metric("cim_records_delivered_fallback_total{route=\"logs\"");
    let before = by_files();
    kafka.kill_all();
    cim_services::until("the fallback", PATIENCE, || by_files() > before + 4_000.0);
    kafka.restart_all();
    let back = || daemon.get("/readyz").is_some_and(|page| !page.contains("degraded"));
    cim_services::until("the return", PATIENCE, back);
    whole();
    wait_delivered(daemon, 4_000, PATIENCE);
}

/// Numbers of one class by the place where they are, and how many records that are.
struct Places {
    kafka: BTreeSet<usize>,
    receiver: BTreeSet<usize>,
    files: BTreeSet<usize>,
    records: usize,
}

impl Places {
    /// `begin`: how a record of the class begins on a sink for JSON.
    fn read(kafka: &Kafka, topic: &str, begin: &str, captures: &[PathBuf], files: &[PathBuf]) -> Self {
        let records = kafka.records(topic);
        let found = records.iter().map(|record| number(&record.text()).expect("a whole payload"));
        Self {
            kafka: found.collect(),
            receiver: of_files(captures, begin),
            files: of_files(files, ""),
            records: records.len(),
        }
    }

    fn everything(&self) -> BTreeSet<usize> {
        [&self.kafka, &self.receiver, &self.files].into_iter().flatten().copied().collect()
    }

    /// What only the other places have.
    fn missing_in(&self, place: &BTreeSet<usize>) -> usize {
        self.everything().difference(place).count()
    }

    /// How many copies there are beyond the first, in the topic or in two places.
    fn twice(&self) -> usize {
        self.records + self.receiver.len() + self.files.len() - self.everything().len()
    }
}

/// The numbers in the lines of these files that begin like that.
fn of_files(files: &[PathBuf], begin: &str) -> BTreeSet<usize> {
    let text = |file: &PathBuf| String::from_utf8_lossy(&std::fs::read(file).unwrap()).into_owned();
    let texts: Vec<_> = files.iter().map(text).collect();
    let lines = texts.iter().flat_map(|text| text.lines()).filter(|line| line.starts_with(begin));
    lines.filter_map(number).collect()
}

/// The number of the load generator in a record; `None` where it is cut off.
fn number(record: &str) -> Option<usize> {
    match stamp::read(record.get(record.find("cimb1:")?..)?.as_bytes()) {
        Reading::Whole(stamp) => Some(stamp.seq as usize),
        _ => None,
    }
}

/// The files of a folder in the order of their last writes: a connection of a class that replaced another comes behind it.
fn files_of(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().map(|entry| entry.unwrap().path()).collect();
    files.sort_by_key(|file| file.metadata().unwrap().modified().unwrap());
    files
}

/// Each place is whole but for what the others have, in the eyes of `cim verify`.
fn assert_verified(
    kafka: &Kafka,
    topics: &Topics,
    captures: &[PathBuf],
    files: &Path,
    both: &[Places; 2],
    given: usize,
) {
    for (topic, places) in [&topics.logs, &topics.events].into_iter().zip(both) {
        let missing = places.missing_in(&places.kafka);
        assert_only_missing(&kafka.bootstrap(), topic, places.records, missing, given);
    }
    let [logs, events] = both;
    let missing_in_capture = |class: &str| {
        if class == "LOG" { logs.missing_in(&logs.receiver) } else { events.missing_in(&events.receiver) }
    };
    let captures = captures.iter().map(|capture| capture.to_str().unwrap());
    let arguments: Vec<_> = ["tcp-capture"].into_iter().chain(captures).collect();
    let found = assert_only_gaps(&arguments, given, missing_in_capture);
    assert_eq!(
        found["records"].as_u64(),
        Some((logs.receiver.len() + events.receiver.len()) as u64),
        "{found:#}"
    );
    let found = assert_only_gaps(&["file", files.to_str().unwrap()], given, |_| logs.missing_in(&logs.files));
    assert_eq!(found["records"].as_u64(), Some(logs.files.len() as u64), "{found:#}");
}

/// All numbers are there, and each place is as `cim verify` says. How many copies there are beyond the first.
fn assert_complete(kafka: &Kafka, topics: &Topics, captured: &Path, files: &Path, given: usize) -> usize {
    let read = || {
        let (captures, files) = (files_of(captured), files_of(files));
        [
            Places::read(kafka, &topics.logs, "{\"container_name\"", &captures, &files),
            Places::read(kafka, &topics.events, "{\"eventName\"", &captures, &[]),
        ]
    };
    let all: BTreeSet<usize> = (1..=given).collect();
    let mut both = read();
    // The receiver writes what it has on its own time.
    cim_services::until("every record in one of the places", PATIENCE, || {
        both = read();
        both.iter().all(|places| places.everything() == all)
    });
    assert_verified(kafka, topics, &files_of(captured), files, &both, given);
    let [logs, events] = &both;
    assert!(logs.files.len() > 4_000 && logs.receiver.len() > 2_000 && events.receiver.len() > 2_000);
    let twice = logs.twice() + events.twice();
    eprintln!(
        "{given} of each class: {} logs by files, {} logs and {} events by the receiver, the rest by Kafka, {twice} twice",
        logs.files.len(),
        logs.receiver.len(),
        events.receiver.len(),
    );
    twice
}

#[test]
fn the_example_with_every_part_keeps_every_record() {
    if !has_time("a cluster fails in several ways, and both routes are switched") {
        return;
    }
    let (Some(kafka), Some(etcd)) = (Kafka::cluster(3), Etcd::shared()) else { return };
    let topics = Topics { logs: "LOGS".to_owned(), events: "EVENT".to_owned() };
    kafka.create_topic(&topics.logs, LOG_PARTITIONS);
    kafka.create_topic(&topics.events, EVENT_PARTITIONS);
    let home = tempfile::tempdir().unwrap();
    let (address, captured) = (free_port().unwrap(), home.path().join("captured"));
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", address.port());
    let Some(_receiver) = Receiver::socat_apart(&listen, &captured) else { return };
    let mut daemon = Daemon::start(&example(&kafka, etcd, address));
    let speaker = Speaker::start(daemon.nats());
    wait_delivered(&daemon, 2_000, PATIENCE);
    // The client begins again at each of three addresses; a file of its fallback; two connections to the receiver, with a timer each.
    let vigil = Vigil::over(&daemon).with(3 + 2 + 4, 2);

    brokers_fail(&kafka, &daemon, &topics);
    let announced = explained_duplicates(&daemon);
    {
        // Everything is accepted, and some of it is on its way.
        let _silence = speaker.turn.lock().unwrap();
        vigil.kill_and_restart(&mut daemon);
    }
    wait_delivered(&daemon, 4_000, PATIENCE);
    for (from, to) in [("broker", "agent"), ("agent", "broker")] {
        switch(&daemon, "logs", from, to);
        switch(&daemon, "events", from, to);
    }
    let given = speaker.stop();
    vigil.assert_held(&daemon, PATIENCE);
    for reason in ["dropped", "refused", "dead_lettered"] {
        assert!(daemon.metric(&format!("cim_records_{reason}_total")) < 0.5, "records were {reason}");
    }

    let twice = assert_complete(&kafka, &topics, &captured, &daemon.home().join("files"), given);
    let explained = announced + explained_duplicates(&daemon);
    assert!(twice as f64 <= explained, "{twice} records twice, {explained} explained");
}
