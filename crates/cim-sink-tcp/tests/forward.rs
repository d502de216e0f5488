//! Framing `forward` against a receiver on loopback: conformance, the form of entries, and answers that are none.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::error::Error as _;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cim_core::{Class, DeliveryErrorKind, LogFormat, Sink, Undelivered, async_trait};
use cim_sink_tcp::{Framing, TcpSettings, TcpSink};
use cim_testkit::{CannotExpress, Fault, Harness, Sample, Subject};
use rmpv::Value;
use support::{Answer, Mood, PATIENCE, Receiver, context};

fn sink(address: SocketAddr) -> Arc<TcpSink> {
    let settings = TcpSettings {
        address: Some(address.to_string()),
        framing: Some(Framing::Forward),
        ack_timeout: "1s".parse().unwrap(),
        ..TcpSettings::default()
    };
    Arc::new(TcpSink::new(&context(LogFormat::Json), &settings, None).unwrap())
}

fn subject(receiver: &Receiver) -> Subject {
    Subject::of(Sink::both(sink(receiver.address)), Class::Log, PATIENCE).unwrap()
}

/// The messages that are there whole, and the bytes of each.
fn messages(mut stream: &[u8]) -> Vec<(Value, usize)> {
    let mut found = Vec::new();
    loop {
        let before = stream.len();
        match rmpv::decode::read_value(&mut stream) {
            Ok(message) => found.push((message, before - stream.len())),
            Err(_) => return found,
        }
    }
}

fn member<'v>(map: &'v Value, name: &str) -> &'v Value {
    let found = map.as_map().unwrap().iter().find(|(key, _)| key.as_str() == Some(name));
    &found.unwrap_or_else(|| panic!("no member {name} in {map}")).1
}

fn chunk(message: &Value) -> String {
    member(&message[2], "chunk").as_str().unwrap().to_owned()
}

fn ack(chunk: &str) -> Vec<u8> {
    let answer = Value::Map(vec![("ack".into(), chunk.into())]);
    let mut bytes = Vec::new();
    rmpv::encode::write_value(&mut bytes, &answer).unwrap();
    bytes
}

/// Acknowledges as the protocol says.
fn truthful(bytes: &[u8]) -> Option<(usize, Vec<u8>)> {
    messages(bytes).into_iter().next().map(|(message, length)| (length, ack(&chunk(&message))))
}

fn bytes_of(value: &Value) -> &[u8] {
    value.as_slice().unwrap()
}

/// A log entry, told apart from any other.
fn log_form(container: &[u8], log: &[u8], kubernetes: &str) -> Vec<u8> {
    [b"<", container, b"|", log, b"|", kubernetes.as_bytes(), b">\n"].concat()
}

fn json_of(value: &Value) -> serde_json::Value {
    match value {
        Value::Nil => serde_json::Value::Null,
        Value::Integer(number) => number.as_i64().unwrap().into(),
        Value::String(text) => text.as_str().unwrap().into(),
        Value::Array(items) => items.iter().map(json_of).collect(),
        Value::Map(members) => {
            members.iter().map(|(key, value)| (key.as_str().unwrap().to_owned(), json_of(value))).collect()
        }
        other => panic!("an event has no {other}"),
    }
}

fn entry_form(record: &Value, class: Class) -> Vec<u8> {
    if class == Class::Event {
        return format!("{}\n", json_of(record)).into_bytes();
    }
    let kubernetes = member(record, "kubernetes");
    let place = [member(kubernetes, "namespace_name"), member(kubernetes, "pod_name")];
    let place = place.map(|value| value.as_str().unwrap()).join("/");
    log_form(bytes_of(member(record, "container_name")), bytes_of(member(record, "log")), &place)
}

struct ForwardHarness(Receiver);

#[async_trait]
impl Harness for ForwardHarness {
    fn build(&self) -> Sink {
        Sink::both(sink(self.0.address))
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        if class == Class::Log {
            return log_form(sample.container.as_bytes(), &sample.body, "ns1/pod-1");
        }
        let headers = serde_json::json!({
            "podId": "pod-1", "microservice": "", "nf": "", "nfPrefix": "ns1", "nfType": "", "svcVersion": "",
        });
        let body = String::from_utf8_lossy(&sample.body);
        // Each byte that is not UTF-8 becomes one replacement in CIM's JSON; the library replaces sequences.
        let body =
            if std::str::from_utf8(&sample.body).is_ok() { body } else { replaced(&sample.body).into() };
        let event = serde_json::json!({
            "eventName": "SampleRaised", "eventTime": sample.seq, "managedObject": null,
            "additionalInfo": [{ "name": "body", "value": body }], "sourceHeaders": headers,
            "containerId": sample.container,
        });
        format!("{event}\n").into_bytes()
    }

    async fn read(&self, class: Class) -> Vec<Vec<u8>> {
        let streams = self.0.streams().into_iter().map(|stream| {
            let entries =
                messages(&stream).into_iter().flat_map(|(message, _)| message[1].as_array().unwrap().clone());
            entries.flat_map(|entry| entry_form(&entry[1], class)).collect()
        });
        streams.collect()
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        match fault {
            Fault::Absent => self.0.vanish(),
            Fault::CutMidBatch => self.0.appear(Mood::Cutting),
            Fault::Stalled => self.0.set(Mood::Stalled),
        }
        Ok(())
    }

    async fn heal(&self) {
        self.0.appear(Mood::Reading);
    }
}

fn replaced(bytes: &[u8]) -> String {
    let mut text = String::new();
    for chunk in bytes.utf8_chunks() {
        text.push_str(chunk.valid());
        chunk.invalid().iter().for_each(|_| text.push('\u{fffd}'));
    }
    text
}

cim_testkit::conformance!(logs: logs, ForwardHarness(Receiver::start(Some(truthful))));
cim_testkit::conformance!(events: events, ForwardHarness(Receiver::start(Some(truthful))));

#[tokio::test]
async fn a_batch_is_one_chunk_with_everything_the_protocol_asks_for() {
    let receiver = Receiver::start(Some(truthful));
    let batch: Vec<_> = (5..8).map(|seq| Sample::numbered(seq, "app")).collect();
    subject(&receiver).deliver(&batch).await.unwrap();
    let streams = receiver.streams();
    let (message, length) = messages(&streams[0]).remove(0);
    assert_eq!(length, streams[0].len(), "one message");
    assert_eq!(message[0].as_str(), Some("cim.logs"));
    assert_eq!(member(&message[2], "size").as_u64(), Some(3));
    assert_eq!(chunk(&message), "0000000000000001-logs-5-7");
    // 1_600_000_000.005: seconds and nanoseconds.
    let time = [0x5f, 0x5e, 0x10, 0x00, 0x00, 0x4c, 0x4b, 0x40];
    assert_eq!(message[1][0][0], Value::Ext(0, time.to_vec()));
}

/// The same chunk again, under the same name: a receiver can tell it from a new one.
#[tokio::test]
async fn a_chunk_without_answer_is_sent_again_whole() {
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    let second_time: Answer = |bytes| {
        let (message, length) = messages(bytes).into_iter().next()?;
        let answer =
            if CALLS.fetch_add(1, Ordering::SeqCst) == 0 { Vec::new() } else { ack(&chunk(&message)) };
        Some((length, answer))
    };
    let receiver = Receiver::start(Some(second_time));
    let (subject, batch) = (subject(&receiver), [Sample::numbered(1, "app"), Sample::numbered(2, "app")]);
    let error = subject.deliver(&batch).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
    assert_eq!(error.undelivered(), &Undelivered::All);
    let expected = format!("chunk 0000000000000001-logs-1-2 is not acknowledged by {}", receiver.address);
    assert_eq!(error.to_string(), expected);
    let expected = "no acknowledgement within 1s; is the receiver a Forward input that answers chunks?";
    assert_eq!(error.source().unwrap().to_string(), expected);
    subject.deliver(&batch).await.unwrap();
    let chunks: Vec<_> = receiver.streams().iter().flat_map(|stream| messages(stream)).collect();
    assert_eq!(chunks.len(), 2);
    assert_eq!(chunks[0], chunks[1]);
}

#[tokio::test]
async fn an_answer_that_is_none_delivers_nothing() {
    let wrong: [(Answer, &str); 3] = [
        (|bytes| truthful(bytes).map(|(length, _)| (length, ack("other"))), "acknowledged another chunk"),
        (
            |bytes| truthful(bytes).map(|(length, _)| (length, b"HTTP/1.1 400\r\n".to_vec())),
            "is no acknowledgement",
        ),
        (
            |bytes| truthful(bytes).map(|(length, _)| (length, vec![0xdb, 0, 1, 0, 0, b'x'])),
            "no acknowledgement within",
        ),
    ];
    for (answer, expected) in wrong {
        let receiver = Receiver::start(Some(answer));
        let error = subject(&receiver).deliver(&[Sample::numbered(1, "app")]).await.unwrap_err();
        assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
        let source = error.source().unwrap().to_string();
        assert!(source.contains(expected), "{source}");
    }
}

/// Bytes of an answer that never ends are no answer: the time is that of the chunk.
#[tokio::test]
async fn an_answer_that_dribbles_does_not_prolong_the_wait() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let receiver = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        // A text of 4,000 bytes, shorter than what is refused for its length.
        let mut answer = [0xda, 0x0f, 0xa0].into_iter().chain(std::iter::repeat(b'x'));
        let mut buffer = [0; 4_096];
        loop {
            match stream.read(&mut buffer) {
                Ok(count) if count > 0 => {}
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let _ = stream.write_all(&[answer.next().unwrap()]);
                }
                _ => return,
            }
        }
    });
    let subject = Subject::of(Sink::both(sink(address)), Class::Log, PATIENCE).unwrap();
    let started = Instant::now();
    let batch = [Sample::numbered(1, "app")];
    let delivery = tokio::time::timeout(PATIENCE, subject.deliver(&batch)).await;
    let error = delivery.expect("an end of the wait").unwrap_err();
    let source = error.source().unwrap().to_string();
    assert!(source.starts_with("no acknowledgement within 1s"), "{source}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    tokio::task::spawn_blocking(|| receiver.join().unwrap()).await.unwrap();
}
