//! `cim verify`, as a person and a program see it: clean is clean, and sabotage is caught by its name.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;

use cim_bench::deck::{Deck, Traffic};
use cim_bench::kafka::{RawPlan, RawProducer, RecordSample};
use cim_bench::producer::{Producer, ProducerSpec};
use cim_services::{Kafka, Outgoing, Record};
use cim_tests::invariants::drain;
use cim_tests::rig::{Topics, settings};
use cim_tests::verdict::verify;
use serde_json::Value;

const COUNT: u64 = 40;

/// Payloads 1 to [`COUNT`] of producer 1.
fn payloads() -> Vec<String> {
    let mut deck = Deck::new(&Traffic::Other("x".into()), 9, 1, 128);
    let payload =
        |frame: &[u8]| String::from_utf8(frame[frame.len() - 130..frame.len() - 2].to_vec()).unwrap();
    (1..=COUNT).map(|seq| payload(deck.deal(seq, 1, seq))).collect()
}

fn caught(arguments: &[&str], faults: &[&str]) -> Value {
    let (code, document) = verify(arguments);
    assert_eq!(document["faults"], serde_json::json!(faults), "{document:#}");
    assert_eq!((code, document["clean"].as_bool()), (i32::from(!faults.is_empty()), Some(faults.is_empty())));
    document
}

/// Damage to lines.
type Sabotage = fn(&mut Vec<String>);

/// The three sabotages, by the fault they are.
fn sabotages() -> [(&'static str, Sabotage); 3] {
    let drop: Sabotage = |lines| std::mem::drop(lines.remove(20));
    let double: Sabotage = |lines| lines.insert(30, lines[20].clone());
    let swap: Sabotage = |lines| lines.swap(20, 21);
    [("gaps", drop), ("unmarked_duplicates", double), ("inversions", swap)]
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn log_files_with_their_rotated_ones_are_checked_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let write = |lines: &[String]| {
        let (old, new) = lines.split_at(10);
        let rotated = "pod-1_ns1_app-1-2026-01-01T00-00-00.100.log_bkp";
        std::fs::write(dir.path().join(rotated), old.join("\n") + "\n").unwrap();
        std::fs::write(dir.path().join("pod-1_ns1_app-1.log"), new.join("\n") + "\n").unwrap();
    };
    write(&payloads());
    let clean = caught(&["file", text(dir.path())], &[]);
    assert_eq!((&clean["records"], &clean["sources"][0]["container"]), (&COUNT.into(), &"app-1".into()));
    assert!(clean["compared_by"].as_str().unwrap().contains("load generator"), "{clean:#}");
    for (name, sabotage) in sabotages() {
        let mut lines = payloads();
        sabotage(&mut lines);
        write(&lines);
        caught(&["file", text(dir.path())], &[name]);
    }
    write(&[vec!["2026-01-01 an application wrote this".to_owned()], payloads()].concat());
    caught(&["file", text(dir.path())], &["foreign"]);
}

#[test]
fn tcp_captures_are_checked_with_and_without_line_ends() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture");
    let object =
        |payload: &String| format!(r#"{{"container_name":"app","log":"{payload}","kubernetes":{{}}}}"#);
    for separator in ["", "\n"] {
        let write = |lines: &[String]| {
            let objects: Vec<_> = lines.iter().map(object).collect();
            std::fs::write(&path, objects.join(separator)).unwrap();
        };
        write(&payloads());
        caught(&["tcp-capture", text(&path)], &[]);
        for (name, sabotage) in sabotages() {
            let mut lines = payloads();
            sabotage(&mut lines);
            write(&lines);
            caught(&["tcp-capture", text(&path)], &[name]);
        }
    }
}

#[test]
fn a_capture_of_one_class_is_that_whatever_its_lines_look_like() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("capture");
    std::fs::write(&path, payloads().join("\n")).unwrap();
    for (arguments, class) in
        [(vec![], "LOG"), (vec!["--class", "log"], "LOG"), (vec!["--class", "event"], "EVENT")]
    {
        let arguments: Vec<_> = ["tcp-capture", text(&path)].into_iter().chain(arguments).collect();
        assert_eq!(caught(&arguments, &[])["sources"][0]["class"], class);
    }
}

#[test]
fn what_cannot_be_read_is_not_clean() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(verify(&["file", text(&dir.path().join("nothing here"))]).0, 2);
    caught(&["file", text(dir.path())], &["empty"]);
}

/// A topic whose records carry these numbers, in this order, in one partition.
fn topic(kafka: &Kafka, name: &str, numbers: &[u64]) {
    kafka.create_topic(name, 1);
    for number in numbers {
        let header = |name: &str, value: String| (name.to_owned(), Some(value.into_bytes()));
        let headers = vec![
            header("cim-epoch", format!("{:016x}", 0xabc)),
            header("cim-seq", number.to_string()),
            header("cim-id", "ns1/pod-1".to_owned()),
        ];
        let value = format!(r#"{{"container_name":"app","log":"line {number}","kubernetes":{{}}}}"#);
        let record = RecordSample { key: None, value: value.into_bytes(), headers };
        let (brokers, topic) = (kafka.bootstrap(), name.to_owned());
        let plan = RawPlan { brokers, topic, record, seconds: 0.0, linger_ms: 0, queue_kib: 1024 };
        RawProducer::new(&plan).unwrap().round_trip().unwrap();
    }
}

#[test]
fn a_topic_is_checked_by_its_headers_and_sabotage_is_caught() {
    let Some(kafka) = Kafka::shared() else { return };
    let brokers = kafka.bootstrap();
    let of = |topic: &'static str| ["kafka", "--brokers", &brokers, "--topic", topic].map(str::to_owned);
    let check = |topic, more: &[&str], faults: &[&str]| {
        let arguments = of(topic);
        let arguments: Vec<_> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        caught(&arguments, faults)
    };
    topic(kafka, "verify-clean", &[5, 6, 7, 8]);
    let clean = check("verify-clean", &[], &[]);
    let source = &clean["sources"][0];
    assert_eq!(
        (&source["id"], &source["container"], &source["received"]),
        (&"ns1/pod-1".into(), &"app".into(), &4.into())
    );
    assert_eq!(clean["numberings"][0]["epoch"], "0000000000000abc");
    topic(kafka, "verify-dropped", &[5, 6, 8, 9]);
    assert_eq!(
        check("verify-dropped", &[], &["gaps"])["numberings"][0]["first_missing"],
        serde_json::json!([7])
    );
    check("verify-dropped", &["--from", "2"], &[]);
    check("verify-dropped", &["--from", "0=2", "--to", "3"], &[]);
    topic(kafka, "verify-doubled", &[5, 6, 6, 7]);
    check("verify-doubled", &[], &[]);
    check("verify-doubled", &["--allow-duplicates", "none"], &["marked_duplicates"]);
    topic(kafka, "verify-swapped", &[5, 7, 6, 8]);
    check("verify-swapped", &[], &["inversions"]);
    let missing = ["kafka", "--brokers", &brokers, "--topic", "verify-nothing"];
    assert_eq!(verify(&missing).0, 2);
}

#[test]
fn what_cim_wrote_to_kafka_is_clean() {
    let Some(kafka) = Kafka::shared() else { return };
    let topics = Topics::create(kafka);
    let daemon = cim_tests::Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let mut producer = Producer::connect(ProducerSpec::logs(daemon.nats(), 1, 200)).unwrap();
    producer.send(20_000).unwrap();
    assert_eq!(producer.barrier().unwrap(), 20_000);
    drain(&daemon, cim_tests::PATIENCE);
    let (code, document) = verify(&["kafka", "--brokers", &kafka.bootstrap(), "--topic", &topics.logs]);
    assert_eq!((code, &document["records"]), (0, &20_000.into()), "{document:#}");
    assert_eq!((document["by_header"].as_bool(), document["by_payload"].as_bool()), (Some(true), Some(true)));
}

/// How often two producers send of each class, in turns: so the classes and the producers stand among each other.
const TURNS: u64 = 4;
/// Records of a turn.
const OF_A_TURN: u64 = 10;
/// Number in the payload of the record that is damaged, and its place among those of its class and producer.
const VICTIM: usize = 21;
/// The classes, what only records of the producer that is damaged have in them, and the container that it calls itself. Logs of
/// both producers are of one container, and the numbers in their payloads tell them apart.
const CLASSES: [(&str, &str, &str); 2] = [
    ("EVENT", r#""containerId":"bench-2""#, "bench-2"),
    ("LOG", r#""log":"cimb1:0000000100000002"#, "bench"),
];

/// CIM delivers logs and events of two producers to a topic of one partition.
fn delivered_by_cim(kafka: &Kafka, topic: &str) -> Vec<Record> {
    kafka.create_topic(topic, 1);
    let topics = Topics { logs: topic.to_owned(), events: topic.to_owned() };
    let daemon = cim_tests::Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let specs = |number| {
        [ProducerSpec::logs(daemon.nats(), number, 200), ProducerSpec::events(daemon.nats(), number, 200)]
    };
    let specs = [1, 2].into_iter().flat_map(specs);
    let mut producers: Vec<_> = specs.map(|spec| Producer::connect(spec).unwrap()).collect();
    for turn in 1..=TURNS {
        for producer in &mut producers {
            producer.send(OF_A_TURN).unwrap();
            assert_eq!(producer.barrier().unwrap(), turn * OF_A_TURN);
        }
    }
    drain(&daemon, cim_tests::PATIENCE);
    kafka.records(topic)
}

/// Writes records as they are, key, value and headers, to another topic: who stands between CIM and a reader.
fn relay(kafka: &Kafka, topic: &str, records: &[Record]) {
    kafka.create_topic(topic, 1);
    let outgoing = |record: &Record| {
        let text = |(name, value): &(String, String)| (name.clone(), Some(value.clone().into_bytes()));
        Outgoing {
            headers: record.headers.iter().map(text).collect(),
            value: record.value.clone().unwrap(),
            key: record.key.clone().map(|key| String::from_utf8(key).unwrap()),
            age_ms: 0,
        }
    };
    kafka.produce(topic, &records.iter().map(outgoing).collect::<Vec<_>>());
    let content = |record: &Record| (record.key.clone(), record.value.clone(), record.headers.clone());
    let arrived: Vec<_> = kafka.records(topic).iter().map(content).collect();
    assert_eq!(arrived, records.iter().map(content).collect::<Vec<_>>(), "the relay itself does no damage");
}

/// Damage to a record and to the one that its producer sent next.
type Damage = fn(&mut Vec<Record>, usize, usize);

/// What the relay does, by the fault that it is.
fn damages() -> [(&'static str, Damage); 4] {
    let drop: Damage = |records, victim, _| std::mem::drop(records.remove(victim));
    let double: Damage = |records, victim, next| records.insert(next, records[victim].clone());
    let forge: Damage = |records, victim, next| {
        let mut copy = records[victim].clone();
        copy.headers.retain(|(name, _)| name != "cim-epoch" && name != "cim-seq");
        records.insert(next, copy);
    };
    let swap: Damage = |records, victim, next| records.swap(victim, next);
    [("gaps", drop), ("marked_duplicates", double), ("unmarked_duplicates", forge), ("inversions", swap)]
}

/// Places of the records with this in them.
fn places(records: &[Record], mark: &str) -> Vec<usize> {
    (0..records.len()).filter(|place| records[*place].text().contains(mark)).collect()
}

/// Each count of a fault: its name, class, container (none where CIM's numbers tell of a gap), and how many.
fn counts(document: &Value) -> Vec<(String, String, String, u64)> {
    let count = |list: &str, fault: &str| -> Vec<_> {
        let entries = document[list].as_array().unwrap().iter();
        let text = |entry: &Value, field: &str| entry[field].as_str().unwrap_or_default().to_owned();
        let counted = entries.map(|entry| {
            let number = entry[fault].as_u64().unwrap();
            (fault.to_owned(), text(entry, "class"), text(entry, "container"), number)
        });
        counted.filter(|(.., number)| *number > 0).collect()
    };
    let mut counts = count("numberings", "gaps");
    for fault in ["marked_duplicates", "unmarked_duplicates", "inversions"] {
        counts.extend(count("sources", fault));
    }
    counts.sort();
    counts
}

/// A number in the list of numberings: of a class by the headers of CIM, or of the damaged producer by the payload.
fn numbering<'d>(document: &'d Value, class: &str, by_header: bool) -> &'d Value {
    let numberings = document["numberings"].as_array().unwrap().iter();
    let mut of_class = numberings.filter(|numbering| numbering["class"] == class);
    let found = of_class.find(|numbering| {
        numbering["epoch"].is_string() == by_header && (by_header || numbering["producer"] == 2)
    });
    found.unwrap_or_else(|| panic!("{document:#}"))
}

fn check_copy(kafka: &Kafka, topic: &str, faults: &[&str]) -> Value {
    let brokers = kafka.bootstrap();
    caught(&["kafka", "--brokers", &brokers, "--topic", topic, "--allow-duplicates", "none"], faults)
}

#[test]
fn a_relay_behind_cim_that_drops_doubles_and_swaps_is_caught_by_fault_source_and_count() {
    let Some(kafka) = Kafka::shared() else { return };
    let records = delivered_by_cim(kafka, "verify-behind-cim");
    check_copy(kafka, "verify-behind-cim", &[]);
    relay(kafka, "verify-relayed", &records);
    let clean = check_copy(kafka, "verify-relayed", &[]);
    assert_eq!((clean["by_header"].as_bool(), clean["by_payload"].as_bool()), (Some(true), Some(true)));
    assert_eq!((clean["records"].as_u64(), counts(&clean)), (Some(records.len() as u64), vec![]));
    for (fault, damage) in damages() {
        let (mut copy, topic) = (records.clone(), format!("verify-relayed-{fault}"));
        let mut expected = Vec::new();
        for (class, mark, container) in CLASSES {
            let places = places(&copy, mark);
            assert_eq!(places.len() as u64, TURNS * OF_A_TURN, "{class}");
            damage(&mut copy, places[VICTIM - 1], places[VICTIM]);
            let of = |container: &str| (fault.to_owned(), class.to_owned(), container.to_owned(), 1);
            // A number that CIM gave, and one that the producer gave.
            expected.extend((fault == "gaps").then(|| of("")));
            expected.push(of(container));
        }
        relay(kafka, &topic, &copy);
        let document = check_copy(kafka, &topic, &[fault]);
        assert_eq!(counts(&document), expected, "{document:#}");
        if fault == "gaps" {
            for (class, mark, _) in CLASSES {
                let victim = &records[places(&records, mark)[VICTIM - 1]];
                let seq: u64 = victim.header("cim-seq").unwrap().parse().unwrap();
                let missing = |by_header| numbering(&document, class, by_header)["first_missing"].clone();
                assert_eq!((missing(true), missing(false)), (vec![seq].into(), vec![VICTIM as u64].into()));
            }
        }
    }
}

/// Numbers cannot tell of a loss at the end: who knows what was accepted compares it with `last`.
#[test]
fn what_a_relay_drops_at_the_end_of_a_topic_shows_in_the_last_numbers_only() {
    let Some(kafka) = Kafka::shared() else { return };
    let records = delivered_by_cim(kafka, "verify-with-its-end");
    let whole = check_copy(kafka, "verify-with-its-end", &[]);
    let mut copy = records;
    for (_, mark, _) in CLASSES {
        let last = places(&copy, mark).pop().unwrap();
        copy.remove(last);
    }
    relay(kafka, "verify-without-its-end", &copy);
    let document = check_copy(kafka, "verify-without-its-end", &[]);
    for (class, ..) in CLASSES {
        let last = |document, by_header| numbering(document, class, by_header)["last"].as_u64().unwrap();
        assert_eq!(last(&whole, false), TURNS * OF_A_TURN);
        for by_header in [true, false] {
            assert_eq!(last(&document, by_header), last(&whole, by_header) - 1, "{class}: {document:#}");
        }
    }
}
