//! Logs follow `logging_mode` while the program runs: files, an agent over TCP, a real Kafka, both of the local ones, and back.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use cim_services::Kafka;
use cim_tests::pod::Pod;
use cim_tests::until;
use serde_json::json;

/// Lines that are published in each mode once it is in force, and while the next one is on its way.
const SETTLED: usize = 100;
const MOVING: usize = 50;

/// Every mode and where its lines are.
const STAGES: [(&str, &[&str]); 7] = [
    ("FILE", &["file"]),
    ("TCP", &["agent"]),
    ("KAFKA", &["kafka"]),
    ("FILEANDSTDOUT", &["file", "stdout"]),
    ("KAFKA", &["kafka"]),
    ("TCP", &["agent"]),
    ("FILE", &["file"]),
];

/// An agent that takes lines over TCP.
struct Agent {
    address: SocketAddr,
    lines: Arc<Mutex<Vec<String>>>,
}

impl Agent {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, lines) = (listener.local_addr().unwrap(), Arc::<Mutex<Vec<String>>>::default());
        let taken = Arc::clone(&lines);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, taken) = (stream.unwrap(), Arc::clone(&taken));
                std::thread::spawn(move || {
                    for line in BufReader::new(stream).lines().map_while(Result::ok) {
                        taken.lock().unwrap().push(line);
                    }
                });
            }
        });
        Self { address, lines }
    }
}

/// The numbers of the lines, in their order.
fn numbers<'l>(lines: impl Iterator<Item = &'l str>) -> Vec<usize> {
    lines.filter_map(|line| line.strip_prefix("line ")?.parse().ok()).collect()
}

fn in_files(pod: &Pod) -> Vec<usize> {
    let files = std::fs::read_dir(pod.daemon.home().join("opt/logs")).unwrap();
    let files = files.map(|file| file.unwrap().path()).filter(|file| file.is_file());
    let texts: Vec<_> = files.map(|file| std::fs::read_to_string(file).unwrap()).collect();
    assert!(texts.len() < 2, "one container has one file");
    numbers(texts.iter().flat_map(|text| text.lines()))
}

fn publish(pod: &Pod, lines: Range<usize>) {
    let mut wire = pod.daemon.connect();
    for number in lines {
        wire.publish("LOG", format!("line {number}").as_bytes());
    }
    wire.flush();
}

#[test]
fn logs_follow_the_mode_through_all_its_values_and_back_and_none_is_lost() {
    let Some(kafka) = Kafka::single() else { return };
    kafka.create_topic("LOGS", 1);
    kafka.create_topic("EVENT", 1);
    let agent = Agent::start();
    let document = json!({"cimConfig": {
        "lmaas": {"logging_mode": "FILE", "flush_timeout": 5},
        "cim_settings": {"log_level": "INFO"},
        "app_settings": {},
    }});
    let infra = json!({
        "logging_svc_url": agent.address.to_string(), "kafka_brokers": [kafka.bootstrap()], "log_format": "text",
    });
    let pod = Pod::of_files(document, &infra.to_string(), "");

    // Where the lines of each range may be, and whether they must be in all of these places.
    let mut expected: Vec<(Range<usize>, BTreeSet<&str>, bool)> = Vec::new();
    let mut next = 0;
    let mut before: Option<&[&str]> = None;
    for (revision, (mode, places)) in (4..).zip(STAGES) {
        if let Some(before) = before.replace(places) {
            let patch = json!([{"op": "replace", "path": "/cimConfig/lmaas/logging_mode", "value": mode}]);
            pod.change_own(revision, &patch);
            publish(&pod, next..next + MOVING);
            expected.push((next..next + MOVING, before.iter().chain(places).copied().collect(), false));
            next += MOVING;
            pod.commits(&revision.to_string());
        }
        publish(&pod, next..next + SETTLED);
        expected.push((next..next + SETTLED, places.iter().copied().collect(), true));
        next += SETTLED;
        until(&format!("delivery in mode {mode}"), || pod.daemon.metric("cim_records_held") < 0.5);
    }

    let records = kafka.records("LOGS");
    let texts: Vec<_> = records.iter().map(cim_services::Record::text).collect();
    let found = || {
        BTreeMap::from([
            ("file", in_files(&pod)),
            ("stdout", numbers(pod.daemon.stdout().lines())),
            ("agent", numbers(agent.lines.lock().unwrap().iter().map(String::as_str))),
            ("kafka", numbers(texts.iter().map(String::as_str))),
        ])
    };
    // The agent reads what was delivered to it a little later.
    until("all lines somewhere", || found().into_values().flatten().collect::<BTreeSet<_>>().len() == next);
    let found = found();
    for (place, lines) in &found {
        let in_order = lines.windows(2).all(|pair| pair[0] < pair[1]);
        assert!(!lines.is_empty() && in_order, "{place}: in order, and none twice: {lines:?}");
    }
    for (lines, allowed, all) in expected {
        for line in lines {
            let at: BTreeSet<_> = found
                .iter()
                .filter(|(_, lines)| lines.binary_search(&line).is_ok())
                .map(|(place, _)| *place)
                .collect();
            let is_right = if all { at == allowed } else { !at.is_empty() && at.is_subset(&allowed) };
            assert!(is_right, "line {line} is in {at:?}, and belongs into {allowed:?}");
        }
    }
    assert!(pod.daemon.books_balance());
    assert!(pod.daemon.metric("cim_records_dropped_total") < 0.5);
}
