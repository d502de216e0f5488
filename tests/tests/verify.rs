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
use cim_services::Kafka;
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
    let spec = cim_bench::producer::ProducerSpec::logs(daemon.nats(), 1, 200);
    let mut producer = cim_bench::producer::Producer::connect(spec).unwrap();
    producer.send(20_000).unwrap();
    assert_eq!(producer.barrier().unwrap(), 20_000);
    drain(&daemon, cim_tests::PATIENCE);
    let (code, document) = verify(&["kafka", "--brokers", &kafka.bootstrap(), "--topic", &topics.logs]);
    assert_eq!((code, &document["records"]), (0, &20_000.into()), "{document:#}");
    assert_eq!((document["by_header"].as_bool(), document["by_payload"].as_bool()), (Some(true), Some(true)));
}
