//! The null broker of the test kit, seen by librdkafka: it takes what a real broker takes, refuses what a real broker refuses,
//! and each fault really happens.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, reason = "test code")]

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cim_testkit::null_broker::{Api, Fault, NullBroker, code};
use cim_testkit::{Behaviour, ChaosProxy, Flow};
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};

const PATIENCE: Duration = Duration::from_secs(60);
const PARTITIONS: usize = 3;

/// What became of every record, by its number.
#[derive(Clone, Default)]
struct Reports(Arc<Mutex<BTreeMap<usize, Option<RDKafkaErrorCode>>>>);

impl rdkafka::ClientContext for Reports {}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        let error = result.as_ref().err().and_then(|(error, _)| error.rdkafka_error_code());
        let twice = self.0.lock().unwrap().insert(number, error);
        assert!(twice.is_none(), "record {number} was reported twice");
    }
}

struct Client {
    producer: BaseProducer<Reports>,
    reports: Reports,
}

impl Client {
    fn new(broker: &NullBroker) -> Self {
        Self::at(&broker.address().to_string())
    }

    fn at(servers: &str) -> Self {
        Self::waiting(servers, Duration::from_secs(1))
    }

    /// Which waits for an answer as long as a busy machine may take.
    fn patient(broker: &NullBroker) -> Self {
        Self::waiting(&broker.address().to_string(), PATIENCE)
    }

    /// Which waits so long for an answer.
    fn waiting(servers: &str, answer: Duration) -> Self {
        let millis = answer.as_millis();
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", servers).set("message.timeout.ms", "0");
        config.set("acks", "all").set("enable.idempotence", "true").set("max.in.flight", "5");
        config.set("batch.num.messages", "50").set("linger.ms", "1");
        config.set("request.timeout.ms", millis.to_string());
        config.set("socket.timeout.ms", (2 * millis).to_string()).set("retry.backoff.ms", "20");
        config.set("reconnect.backoff.ms", "10").set("reconnect.backoff.max.ms", "50");
        let reports = Reports::default();
        Self { producer: config.create_with_context(reports.clone()).unwrap(), reports }
    }

    /// Sends records of these numbers, each with a key, a header and its number as value.
    fn send(&self, numbers: std::ops::Range<usize>) {
        for number in numbers {
            let (key, value) = (format!("key-{}", number % 7), format!("record {number:06}"));
            let record = BaseRecord::with_opaque_to("LOGS", number).key(&key).payload(&value);
            let text = number.to_string();
            let headers = OwnedHeaders::new().insert(Header { key: "n", value: Some(&text) });
            self.producer.send(record.headers(headers)).map_err(|(error, _)| error).unwrap();
        }
    }

    /// What became of them, by number.
    fn finish(&self) -> BTreeMap<usize, Option<RDKafkaErrorCode>> {
        self.producer.flush(PATIENCE).unwrap();
        self.reports.0.lock().unwrap().clone()
    }

    fn all_delivered(&self, count: usize) {
        let reports = self.finish();
        let failed: Vec<_> = reports.values().flatten().collect();
        assert!(reports.len() == count && failed.is_empty(), "{} failed: {:?}", failed.len(), failed.first());
    }
}

fn broker() -> NullBroker {
    let broker = NullBroker::start(&[("LOGS", PARTITIONS)]).unwrap();
    broker.keep_records();
    broker
}

/// Every number once, in order per partition, with its key and its header.
fn stored_once_and_in_order(broker: &NullBroker, count: usize) {
    let records = broker.records("LOGS");
    let mut numbers = Vec::new();
    let mut last = [None; PARTITIONS];
    for record in &records {
        let value = String::from_utf8(record.value.clone().unwrap()).unwrap();
        let number: usize = value.strip_prefix("record ").unwrap().parse().unwrap();
        assert_eq!(record.key.clone().unwrap(), format!("key-{}", number % 7).into_bytes());
        assert_eq!(record.headers, [("n".to_owned(), Some(number.to_string().into_bytes()))]);
        let before = last[record.partition as usize].replace(number);
        assert!(before.is_none_or(|before| before < number), "{number} came after {before:?}");
        numbers.push(number);
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..count).collect::<Vec<_>>());
    assert_eq!(broker.end_offsets("LOGS").iter().sum::<i64>(), count as i64);
}

#[test]
fn librdkafka_delivers_to_it_byte_for_byte() {
    let broker = broker();
    let client = Client::patient(&broker);
    client.send(0..5_000);
    client.all_delivered(5_000);
    stored_once_and_in_order(&broker, 5_000);
    assert!(broker.end_offsets("LOGS").iter().all(|end| *end > 0), "{:?}", broker.end_offsets("LOGS"));
    assert_eq!((broker.requests(Api::InitProducerId), broker.faults_waiting()), (1, 0));
}

#[test]
fn whatever_is_worth_a_retry_is_retried_once_and_in_order() {
    let faults = [
        Fault::Error(code::NOT_ENOUGH_REPLICAS),
        Fault::Error(code::NOT_ENOUGH_REPLICAS_AFTER_APPEND),
        Fault::Error(code::LEADER_NOT_AVAILABLE),
        Fault::Error(code::NOT_LEADER),
        Fault::Error(code::REQUEST_TIMED_OUT),
        Fault::Error(code::KAFKA_STORAGE_ERROR),
        Fault::Throttle(Duration::from_millis(300)),
        Fault::LostAnswer,
        Fault::Silence,
    ];
    for fault in faults {
        let broker = broker();
        let client = Client::new(&broker);
        client.send(0..100);
        client.all_delivered(100);
        let start = Instant::now();
        broker.next(Api::Produce, fault.clone());
        broker.next(Api::Produce, fault.clone());
        client.send(100..1_000);
        client.all_delivered(1_000);
        assert_eq!(broker.faults_waiting(), 0, "{fault:?} did not happen");
        if let Fault::Error(error) = fault {
            assert!(broker.refusals(error) >= 2);
        }
        stored_once_and_in_order(&broker, 1_000);
        if fault == Fault::Throttle(Duration::from_millis(300)) {
            assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
        }
    }
}

#[test]
fn an_answer_that_makes_no_sense_is_survived() {
    for fault in [Fault::garbage(), Fault::two_gib()] {
        let broker = broker();
        let client = Client::new(&broker);
        client.send(0..100);
        client.all_delivered(100);
        broker.next(Api::Produce, fault.clone());
        client.send(100..200);
        // What was in flight has an uncertain end, and the library may say so instead of trying again.
        let uncertain = client.finish().into_values().flatten().collect::<Vec<_>>();
        assert!(
            uncertain.iter().all(|code| *code == RDKafkaErrorCode::BadMessage),
            "{fault:?} {:?}",
            uncertain.first()
        );
        assert_eq!(broker.faults_waiting(), 0, "{fault:?} did not happen");
        client.send(200..300);
        let late = client.finish().range(200..).filter(|(_, code)| code.is_some()).count();
        assert!(late == 0 || client.producer.client().fatal_error().is_some(), "{late}");
    }
}

#[test]
fn faults_of_other_requests_heal_too() {
    for (api, fault) in [
        (Api::Metadata, Fault::Error(code::LEADER_NOT_AVAILABLE)),
        (Api::Metadata, Fault::LostAnswer),
        (Api::ApiVersions, Fault::LostAnswer),
        (Api::InitProducerId, Fault::Error(code::NOT_ENOUGH_REPLICAS)),
        (Api::InitProducerId, Fault::LostAnswer),
    ] {
        let broker = broker();
        broker.next(api, fault.clone());
        let client = Client::new(&broker);
        client.send(0..200);
        client.all_delivered(200);
        assert_eq!(broker.faults_waiting(), 0, "{api:?} {fault:?} did not happen");
        stored_once_and_in_order(&broker, 200);
    }
}

#[test]
fn a_refused_record_is_reported_with_the_code_of_the_broker() {
    for (error, seen) in [
        (code::MESSAGE_TOO_LARGE, RDKafkaErrorCode::MessageSizeTooLarge),
        (code::INVALID_RECORD, RDKafkaErrorCode::InvalidRecord),
    ] {
        let broker = broker();
        broker.refuse_values_with(b"record 000042", error);
        let client = Client::new(&broker);
        client.send(42..43);
        assert_eq!(client.finish()[&42], Some(seen));
        assert_eq!(broker.end_offsets("LOGS"), [0; PARTITIONS]);
    }
}

#[test]
fn a_missing_topic_is_missing_until_it_is_created() {
    let broker = NullBroker::start(&[]).unwrap();
    broker.keep_records();
    let client = Client::new(&broker);
    client.send(0..1);
    let start = Instant::now();
    while broker.requests(Api::Metadata) < 2 && start.elapsed() < PATIENCE {
        client.producer.poll(Duration::from_millis(10));
    }
    assert_eq!(broker.end_offsets("LOGS"), [0; 0]);
    broker.create_topic("LOGS", PARTITIONS);
    let unknown = client.finish().values().flatten().any(|code| *code == RDKafkaErrorCode::UnknownTopic);
    client.send(1..2);
    let delivered = client.finish()[&1].is_none();
    assert!(delivered && broker.end_offsets("LOGS").iter().sum::<i64>() == 2 - i64::from(unknown));
}

/// A batch of one record without a producer number, with a wrong checksum if wanted.
fn handmade_batch(damage: bool) -> Vec<u8> {
    let record = [14, 0, 0, 0, 1, 2, b'x', 0];
    let mut covered = vec![0, 0, 0, 0, 0, 0];
    covered.extend([0; 16]);
    covered.extend((-1i64).to_be_bytes());
    covered.extend((-1i16).to_be_bytes());
    covered.extend((-1i32).to_be_bytes());
    covered.extend(1i32.to_be_bytes());
    covered.extend(record);
    let checksum = crc32c::crc32c(&covered) ^ u32::from(damage);
    let mut batch = 0i64.to_be_bytes().to_vec();
    batch.extend((covered.len() as i32 + 9).to_be_bytes());
    batch.extend(0i32.to_be_bytes());
    batch.push(2);
    batch.extend(checksum.to_be_bytes());
    batch.extend(covered);
    batch
}

/// A Produce request of version 7 with that batch; returns the error code of the answer.
fn produce(stream: &mut TcpStream, batch: &[u8]) -> i16 {
    let mut request = vec![0, 0, 0, 7, 0, 0, 0, 9, 0xff, 0xff];
    request.extend([0xff, 0xff, 0xff, 0xff, 0, 0, 0x3, 0xe8]);
    request.extend([0, 0, 0, 1, 0, 4, b'L', b'O', b'G', b'S', 0, 0, 0, 1, 0, 0, 0, 0]);
    request.extend((batch.len() as i32).to_be_bytes());
    request.extend(batch);
    stream.write_all(&(request.len() as i32).to_be_bytes()).unwrap();
    stream.write_all(&request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Correlation, one topic, its name, one partition, its number, the code.
    i16::from_be_bytes([answer[22], answer[23]])
}

#[test]
fn a_damaged_batch_is_refused_and_not_counted() {
    let broker = broker();
    let mut stream = TcpStream::connect(broker.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(produce(&mut stream, &handmade_batch(true)), code::CORRUPT_MESSAGE);
    let mut short = handmade_batch(false);
    short.pop();
    assert_eq!(produce(&mut stream, &short), code::CORRUPT_MESSAGE);
    assert_eq!(broker.end_offsets("LOGS"), [0; PARTITIONS]);
    assert_eq!(produce(&mut stream, &handmade_batch(false)), 0);
    assert_eq!(broker.end_offsets("LOGS").iter().sum::<i64>(), 1);
}

#[test]
fn what_is_no_request_ends_the_connection_and_nothing_else() {
    let broker = broker();
    for nonsense in
        [&b"GET / HTTP/1.1\r\n\r\n"[..], &[0x7f, 0xff, 0xff, 0xff], &[0, 0, 0, 4, 0, 0, 0, 7], &[0, 0, 0, 0]]
    {
        let mut stream = TcpStream::connect(broker.address()).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.write_all(nonsense).unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
    let client = Client::new(&broker);
    client.send(0..10);
    client.all_delivered(10);
}

#[test]
fn it_works_behind_a_proxy_that_it_advertises() {
    let broker = broker();
    let proxy = ChaosProxy::start(broker.address(), 7).unwrap();
    broker.advertise(proxy.address());
    let client = Client::at(&proxy.address().to_string());
    client.send(0..100);
    client.all_delivered(100);
    proxy.behave(Behaviour::both(Flow::faithful().delay(Duration::from_millis(2))));
    client.send(100..200);
    proxy.end_all(cim_testkit::Ending::Reset);
    client.all_delivered(200);
    stored_once_and_in_order(&broker, 200);
}

#[test]
fn a_broker_that_forgot_its_producers_says_so() {
    let broker = broker();
    let client = Client::new(&broker);
    client.send(0..100);
    client.all_delivered(100);
    broker.forget_producers();
    client.send(100..200);
    // The library goes on under the next epoch of its number.
    client.all_delivered(200);
    assert!(broker.refusals(code::UNKNOWN_PRODUCER_ID) > 0);
    stored_once_and_in_order(&broker, 200);
}
