//! Logs and events in a real Kafka broker: what arrives, and that an outage costs nothing. What takes longer is in
//! `kafka_outages`, `kafka_network`, `kafka_topics` and `kafka_program`, what needs three brokers in `kafka_cluster`, what needs passwords in `kafka_security`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use cim_core::clock;
use cim_services::{Kafka, Record};
use cim_tests::invariants::drain;
use cim_tests::load::Plan;
use cim_tests::rig::{EVENT_PARTITIONS, LOG_PARTITIONS, Rig, Topics, settings};
use cim_tests::{Daemon, publication, tool, until};
use serde_json::Value;

/// Who the recorded program was.
const RECORDED: &str = "[identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nuid = \"11111111-2222-3333-4444-555555555555\"\n\
    uhn = \"uhn-1\"\ncnfc_uuid = \"cnfc-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n[identity.tmaas]\n\
    nf_type = \"xgvela\"\nvendor_id = \"xgvela\"\nxgvela_id = \"xgvela1\"\nnf_class = \"xgvela\"\nnf_id = \"xgvela1\"\n\
    nf_service_id = \"svc-1\"\nnf_service_type = \"svc\"\n";

/// Recorded inputs that reach Kafka as they did then. Names in `except` are differences on purpose.
fn recorded(file: &str, member: &str, except: &[&str]) -> Vec<(String, Vec<u8>, Value)> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors").join(file);
    let vectors: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let mut cases = Vec::new();
    for case in vectors["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let expected = if member.is_empty() { &case["expected"] } else { &case["expected"][member] };
        // Of the longest ones only both ends were recorded.
        let (Some(input), Some(_)) = (case["input"]["hex"].as_str(), recorded_value(expected)) else {
            continue;
        };
        if case["keep"] == true && !except.contains(&name) {
            cases.push((name.to_owned(), bytes(input), expected.clone()));
        }
    }
    cases
}

/// The value of a recorded record: bytes that are no clean text stand there as digits.
fn recorded_value(expected: &Value) -> Option<Vec<u8>> {
    let value = &expected["value"];
    let text = value["text"].as_str().map(|text| text.as_bytes().to_vec());
    text.or_else(|| value["hex"].as_str().map(bytes))
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Publishes the inputs in their order and waits until all are delivered.
fn deliver(daemon: &Daemon, subject: &str, cases: &[(String, Vec<u8>, Value)]) {
    let mut wire = daemon.connect();
    for (_, input, _) in cases {
        wire.send(&publication(subject, input));
    }
    wire.flush();
    until("delivery", || daemon.metric("cim_records_delivered_total") + 0.5 > cases.len() as f64);
    drain(daemon, cim_tests::PATIENCE);
    assert!(daemon.books_balance());
}

/// The value JSON without regard to how it is escaped.
fn parsed(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[test]
fn events_have_the_recorded_key_partition_and_value() {
    let Some(kafka) = Kafka::shared() else { return };
    // "full" emits `thresholdInfo` and `monitoredAttributes` now. A few were recorded in other pods.
    let mut cases = recorded("event.json", "", &["full"]);
    cases.retain(|(.., expected)| {
        expected["value"]["text"]
            .as_str()
            .unwrap()
            .contains("\"podId\":\"pod-1\",\"microservice\":\"svc\",\"nf\":\"xgvela1\"")
    });
    assert!(cases.len() >= 12, "only {} cases", cases.len());
    let topics = Topics::create(kafka);
    let text = settings(&kafka.bootstrap(), &topics, &format!("headers = false\n{RECORDED}"));
    let daemon = Daemon::start(&text);
    deliver(&daemon, "EVENT", &cases);
    let records = kafka.records(&topics.events);
    assert_eq!(records.len(), cases.len());
    // One key, one partition: the order is that of publishing.
    for (record, (name, _, expected)) in records.iter().zip(&cases) {
        assert_eq!(parsed(&record.text()), parsed(expected["value"]["text"].as_str().unwrap()), "{name}");
        assert_eq!(
            record.key.as_deref().map(String::from_utf8_lossy).as_deref(),
            expected["key"].as_str(),
            "{name}"
        );
        assert_eq!(Some(record.partition as u64), expected["partition"].as_u64(), "{name}");
        assert!(record.headers.is_empty(), "{name}");
    }
}

#[test]
fn logs_have_the_recorded_value_and_no_key() {
    let Some(kafka) = Kafka::shared() else { return };
    for (format, member) in [("json", "kafka_json"), ("text", "kafka_text")] {
        let cases = recorded("log.json", member, &[]);
        assert!(cases.len() >= 10, "only {} cases", cases.len());
        let no_text = cases.iter().filter(|(.., expected)| expected["value"]["hex"].is_string()).count();
        assert!(format == "json" || no_text >= 3, "only {no_text} cases that are no clean text");
        let topics = Topics::unused();
        kafka.create_topic(&topics.logs, 1);
        kafka.create_topic(&topics.events, 1);
        let text = settings(&kafka.bootstrap(), &topics, &format!("headers = false\n{RECORDED}"));
        let format_line = format!("[routes.logs]\nformat = \"{format}\"\n");
        let daemon = Daemon::start(&text.replace("[routes.logs]\n", &format_line));
        deliver(&daemon, "LOG", &cases);
        let records = kafka.records(&topics.logs);
        assert_eq!(records.len(), cases.len());
        for (record, (name, _, expected)) in records.iter().zip(&cases) {
            let wanted = recorded_value(expected).unwrap();
            let text = String::from_utf8_lossy(&wanted);
            let same = if format == "json" {
                parsed(&record.text()) == parsed(&text)
            } else {
                record.value.as_ref() == Some(&wanted)
            };
            assert!(same, "{name}: {:?} instead of {text:?}", record.text());
            assert_eq!((record.key.as_deref(), record.headers.len()), (None, 0), "{name}");
        }
    }
}

/// The first record finds a client that is connected, and an operator sees what is missing before there is one.
#[test]
fn the_brokers_are_asked_before_there_is_a_record() {
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::unused();
    kafka.create_topic(&topics.events, 1);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    until("a connection", || daemon.metric("cim_kafka_brokers_connected") > 0.5);
    let missing = format!("topic `{}` does not exist", topics.logs);
    let told = || daemon.get("/statusz").expect("the status page").contains(&missing);
    until("the missing topic to be told", told);
    kafka.create_topic(&topics.logs, 1);
    until("the topic to be found", || !told());
}

/// A connected client that holds nothing asks for reports twice a second, and its brokers for nothing.
#[test]
fn an_idle_program_sleeps() {
    const PER_SECOND: u64 = 20;
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::create(kafka);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    until("a connection", || daemon.metric("cim_kafka_brokers_connected") > 0.5);
    let mut begin = (Instant::now(), daemon.wakeups());
    until(&format!("a second with at most {PER_SECOND} wake-ups"), || {
        if begin.0.elapsed() < Duration::from_secs(1) {
            return false;
        }
        let now = (Instant::now(), daemon.wakeups());
        let (before, woken) = (std::mem::replace(&mut begin, now).1, now.1);
        // Fewer than before: a thread has ended, and what it had counted is gone.
        woken.checked_sub(before).is_some_and(|woken| woken <= PER_SECOND)
    });
}

#[test]
fn records_are_numbered_spread_over_partitions_and_read_alike_by_another_client() {
    let Some(kafka) = Kafka::shared() else { return };
    let begin = clock::now_ms().cast_signed();
    let rig = Rig::start(kafka);
    rig.load.wait_for(5_000);
    let topics = rig.topics.clone();
    let outcome = rig.finish();
    assert_eq!(outcome.duplicates(), 0);
    let records = kafka.records(&topics.logs);
    let strange =
        records.iter().find(|record| !(begin..=clock::now_ms().cast_signed()).contains(&record.time));
    assert_eq!(strange, None, "a time that was not during the test, from {begin}");
    let times = || records.iter().map(|record| record.time);
    let span = times().max().unwrap() - times().min().unwrap();
    assert!(span > 1_000, "5,000 lines take 2.5 s to come, and their times lie {span} ms apart");
    let per_partition = |partition| records.iter().filter(|record| record.partition == partition).count();
    let even = records.len() / LOG_PARTITIONS;
    for partition in 0..LOG_PARTITIONS {
        let count = per_partition(partition);
        assert!(
            (even / 2..even * 2).contains(&count),
            "{count} of {} records in partition {partition}",
            records.len()
        );
    }
    let first = &records[0];
    assert_eq!(first.header("cim-id"), Some("ns1/pod-1"));
    assert_eq!(first.header("cim-epoch").map(str::len), Some(16));
    let seqs: BTreeSet<u64> =
        records.iter().map(|record| record.header("cim-seq").unwrap().parse().unwrap()).collect();
    let (low, high) = (*seqs.first().unwrap(), *seqs.last().unwrap());
    assert_eq!(high - low + 1, seqs.len() as u64, "the numbers of a class are dense");
    for (topic, partitions) in [(&topics.logs, LOG_PARTITIONS), (&topics.events, EVENT_PARTITIONS)] {
        assert_eq!(read_by_aiokafka(kafka, topic, partitions), kafka.records(topic), "{topic}");
    }
}

/// One container, one partition, chosen by its name and nothing that a restart would change.
#[test]
fn by_source_keeps_each_container_in_one_partition_and_in_order_also_after_a_restart() {
    const SOURCES: usize = 8;
    let Some(kafka) = Kafka::shared() else { return };
    let plan = Plan { sources: SOURCES, ..Plan::default() };
    let mut rig = Rig::start_with(kafka, plan, &kafka.bootstrap(), "partitioning = \"by_source\"\n");
    rig.load.wait_for(2_000);
    rig.daemon.kill_and_restart();
    rig.load.wait_for(2_000);
    let topics = rig.topics.clone();
    let outcome = rig.finish();
    assert!(outcome.logs.found >= 4_000);
    let mut partitions = BTreeMap::<String, BTreeSet<usize>>::new();
    for record in kafka.records(&topics.logs) {
        let source = parsed(&record.text())["container_name"].as_str().unwrap().to_owned();
        partitions.entry(source).or_default().insert(record.partition);
    }
    assert_eq!(partitions.len(), SOURCES);
    assert!(partitions.values().all(|partitions| partitions.len() == 1), "{partitions:?}");
    let used: BTreeSet<_> = partitions.values().flatten().collect();
    assert!(used.len() > 1, "all containers are in partition {used:?}");
}

/// The trace of a message goes with it, whichever of its headers it stands in; nothing else of them does.
#[test]
fn trace_headers_of_a_message_reach_the_topic_and_no_others() {
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::create(kafka);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let trace = [
        ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
        ("tracestate", "vendor=1"),
        ("baggage", "user=7"),
        ("b3", "0"),
    ];
    let lines: String = trace.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let block = format!("NATS/1.0\r\n{lines}authorization: secret\r\ncim-seq: 7\r\n\r\n");
    let mut wire = daemon.connect();
    wire.send(b"CONNECT {\"verbose\":false,\"headers\":true}\r\n");
    for (subject, payload) in [("LOG", "a line"), ("EVENT", "{\"eventName\":\"Raised\",\"eventTime\":1}")] {
        let sizes = format!("{} {}", block.len(), block.len() + payload.len());
        wire.send(format!("HPUB {subject} {sizes}\r\n{block}{payload}\r\n").as_bytes());
    }
    wire.flush();
    drain(&daemon, cim_tests::PATIENCE);
    for topic in [&topics.logs, &topics.events] {
        let records = kafka.records(topic);
        assert_eq!(records.len(), 1, "{topic}");
        let own = ["cim-epoch", "cim-seq", "cim-id"].map(|name| (name, records[0].header(name).unwrap()));
        let wanted: Vec<_> = own.into_iter().chain(trace).collect();
        let found: Vec<_> =
            records[0].headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(found, wanted, "{topic}");
        assert_eq!(records[0].header("cim-seq"), Some("1"), "{topic}: a message has forged its number");
    }
}

#[test]
fn every_compression_is_taken_by_a_broker_and_read_as_it_was() {
    let Some(kafka) = Kafka::shared() else { return };
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topics = Topics::create(kafka);
        let more = format!("compression = \"{codec}\"\n");
        let daemon = Daemon::start(
            &settings(&kafka.bootstrap(), &topics, &more)
                .replace("[routes.logs]\n", "[routes.logs]\nformat = \"text\"\n"),
        );
        let line = |n: usize| format!("line {n:04} {}", "of text that is much like the others ".repeat(8));
        let mut wire = daemon.connect();
        for n in 0..1_000 {
            wire.publish("LOG", line(n).as_bytes());
        }
        wire.flush();
        drain(&daemon, cim_tests::PATIENCE);
        let mut found: Vec<_> = kafka.records(&topics.logs).iter().map(Record::text).collect();
        found.sort();
        assert!(found == (0..1_000).map(line).collect::<Vec<_>>(), "{codec}: {} records", found.len());
    }
}

/// Everything in a topic, read by a client in which not a line is shared with librdkafka.
fn read_by_aiokafka(kafka: &Kafka, topic: &str, partitions: usize) -> Vec<Record> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/read_topic.py");
    let mut command = Command::new(tool("venv/bin/python"));
    command.arg(script).args([&kafka.bootstrap(), topic, &partitions.to_string()]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let record = |line: &str| {
        let value: Value = serde_json::from_str(line).unwrap();
        let optional = |name: &str| value[name].as_str().map(bytes);
        let header =
            |pair: &Value| (pair[0].as_str().unwrap().to_owned(), pair[1].as_str().unwrap().to_owned());
        Record {
            partition: usize::try_from(value["partition"].as_u64().unwrap()).unwrap(),
            offset: value["offset"].as_u64().unwrap(),
            time: value["time"].as_i64().unwrap(),
            key: optional("key"),
            value: optional("value"),
            headers: value["headers"].as_array().unwrap().iter().map(header).collect(),
        }
    };
    text.lines().map(record).collect()
}

#[test]
fn a_broker_killed_under_load_and_started_again_costs_nothing() {
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.broker(0).kill();
    // Two seconds are promised; a busy machine gets a third.
    rig.wait_degraded(Duration::from_secs(3));
    rig.load.wait_for(4_000);
    kafka.broker(0).restart();
    rig.wait_delivered(4_000);
    rig.load.wait_for(1_000);
    let outcome = rig.finish();
    assert!(outcome.logs.found >= 6_000);
}
