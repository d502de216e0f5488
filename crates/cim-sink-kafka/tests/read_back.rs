//! Reading a topic again while it changes. Against the mock cluster of librdkafka, which keeps 5 MiB of a partition.
#![allow(clippy::unwrap_used, clippy::panic, reason = "test code: a failed step is the failure")]

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use cim_sink_kafka::{ReadBack, ReadBackError, read_back};
use cim_testkit::skipped;
use rdkafka::config::ClientConfig;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer as _};

const TOPIC: &str = "LOGS";
const VALUE: [u8; 10_000] = [b'x'; 10_000];

fn produce(servers: &str, records: usize) {
    let producer: BaseProducer = ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    for _ in 0..records {
        producer.send(BaseRecord::<str, _>::to(TOPIC).partition(0).payload(&VALUE)).unwrap();
    }
    producer.flush(Duration::from_secs(30)).unwrap();
}

/// A reader of small answers, so that most of the topic is not fetched yet when its first record is seen.
fn request(mock: &MockCluster<'static, DefaultProducerContext>) -> ReadBack {
    let small = [("fetch.message.max.bytes", "20000"), ("queued.min.messages", "1")];
    ReadBack {
        brokers: vec![mock.bootstrap_servers()],
        topic: TOPIC.to_owned(),
        properties: small.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec(),
        ..ReadBack::default()
    }
}

#[test]
fn a_topic_is_read_from_its_oldest_record_to_its_end_of_the_moment() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, 1, 1).unwrap();
    produce(&mock.bootstrap_servers(), 100);
    let mut offsets = Vec::new();
    read_back(&request(&mock), |record| {
        if offsets.is_empty() {
            produce(&mock.bootstrap_servers(), 10);
        }
        offsets.push(record.offset);
    })
    .unwrap();
    assert_eq!(offsets, (0..100).collect::<Vec<_>>());
}

#[test]
fn records_that_the_topic_drops_before_they_were_read_are_an_error() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, 1, 1).unwrap();
    produce(&mock.bootstrap_servers(), 200);
    let mut seen = 0;
    let read = read_back(&request(&mock), |_| {
        if seen == 0 {
            produce(&mock.bootstrap_servers(), 600);
        }
        seen += 1;
    });
    assert!(seen < 200, "all {seen} were fetched before the topic dropped them");
    let Err(ReadBackError::Partition { partition: 0, offset, .. }) = read else {
        panic!("{read:?} after {seen}")
    };
    assert_eq!(offset, seen);
}

/// By kcat, whose headers may be any bytes; those of our library are text.
fn produce_with_headers(servers: &str, headers: &[&[u8]]) -> bool {
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-q", "-b", servers, "-t", TOPIC, "-p", "0"]);
    for header in headers {
        kcat.arg("-H").arg(OsStr::from_bytes(header));
    }
    let Ok(mut kcat) = kcat.stdin(Stdio::piped()).spawn() else {
        skipped("no kcat, which writes headers of any bytes");
        return false;
    };
    kcat.stdin.take().unwrap().write_all(b"value").unwrap();
    assert!(kcat.wait().unwrap().success());
    true
}

/// The library panics over such a name.
#[test]
fn a_header_whose_name_is_no_text_is_passed_over() {
    let mock = MockCluster::new(1).unwrap();
    mock.create_topic(TOPIC, 1, 1).unwrap();
    let servers = mock.bootstrap_servers();
    if !produce_with_headers(&servers, &[b"\xff\xfe=1"]) {
        return;
    }
    let _ = produce_with_headers(
        &servers,
        &[b"\xff=1", b"cim-epoch=abc", b"cim-\xc3=2", b"cim-seq=7", b"cim-id=ns1/pod-1", b"cim-seq=8"],
    );
    produce(&servers, 1);
    let mut records = Vec::new();
    read_back(&request(&mock), |record| {
        records.push((record.epoch, record.seq, record.id.to_owned(), record.value.len()));
    })
    .unwrap();
    let foreign = |length| (None, None, String::new(), length);
    assert_eq!(
        records,
        [foreign(5), (Some(0xabc), Some(7), "ns1/pod-1".to_owned(), 5), foreign(VALUE.len())]
    );
}
