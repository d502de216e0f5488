//! The contract of sinks, against a real broker behind a proxy that can fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod proxied;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use cim_core::{Class, DeliveryErrorKind, Identity, LogFormat, Sink, SinkContext, Undelivered, async_trait};
use cim_services::kafka::Listener;
use cim_sink_kafka::properties::Value;
use cim_sink_kafka::{KafkaSettings, KafkaSink};
use cim_testkit::{
    Behaviour, CannotExpress, Direction, Ending, Fault, Flow, Harness, Property, Sample, Subject,
    check_in_test,
};
use proxied::{Target, target, turn};

/// The body of a test.
fn check(property: Property, class: Class) {
    let Some(target) = target() else { return };
    let _turn = turn();
    check_in_test(property, class, || KafkaHarness::new(target));
}

struct KafkaHarness {
    target: &'static Target,
    topic: String,
}

impl KafkaHarness {
    fn new(target: &'static Target) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        target.proxy.behave(Behaviour::faithful());
        let topic = format!("topic-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        // The suite's largest record, a megabyte with JSON around it, passes.
        target.kafka.create_topic_with(&topic, 2, &[("max.message.bytes", "2000000")]);
        Self { target, topic }
    }

    fn settings(&self) -> KafkaSettings {
        KafkaSettings::read(&serde_json::json!({
            "brokers": [self.target.kafka.addresses(Listener::Proxied)],
            "logs_topic": self.topic,
            "events_topic": self.topic,
            "give_up_after": "2s",
            "properties": { "request.timeout.ms": 3000, "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 3000 },
        }))
        .unwrap()
    }
}

fn context() -> SinkContext {
    let identity = Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() };
    SinkContext {
        name: "broker".to_owned(),
        identity: Arc::new(identity),
        log_format: LogFormat::Text,
        neighbours: cim_core::Neighbours::default(),
    }
}

#[async_trait]
impl Harness for KafkaHarness {
    fn build(&self) -> Sink {
        Sink::both(Arc::new(KafkaSink::new(&context(), &self.settings())))
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        match class {
            Class::Log => framed(&sample.body),
            Class::Event => {
                let mut body = Vec::new();
                cim_wire::json::push_string(&sample.body, &mut body);
                let head = format!(
                    "{{\"eventName\":\"SampleRaised\",\"eventTime\":{},\"managedObject\":null,\"additionalInfo\":\
                     [{{\"name\":\"body\",\"value\":",
                    sample.seq
                );
                let tail = format!(
                    "}}],\"sourceHeaders\":{{\"podId\":\"pod-1\",\"microservice\":\"\",\"nf\":\"\",\"nfPrefix\":\"ns1\",\
                     \"nfType\":\"\",\"svcVersion\":\"\"}},\"containerId\":\"{}\"}}",
                    sample.container
                );
                framed(&[head.as_bytes(), &body, tail.as_bytes()].concat())
            }
        }
    }

    async fn read(&self, _: Class) -> Vec<Vec<u8>> {
        let mut partitions = vec![Vec::new(), Vec::new()];
        for record in self.target.kafka.records(&self.topic) {
            partitions[record.partition].extend(framed(record.value.as_deref().unwrap_or(b"null")));
        }
        partitions
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        let proxy = &self.target.proxy;
        match fault {
            Fault::Absent => {
                proxy.behave(Behaviour::refusing());
                proxy.end_all(Ending::Reset);
            }
            Fault::CutMidBatch => {
                // Everything small passes; the batch of ten records does not.
                let cut = Flow::faithful().cut_after(9_000, Ending::Reset);
                proxy.end_all(Ending::Reset);
                proxy.behave(Behaviour::faithful().flow(Direction::ToTarget, cut));
            }
            Fault::Stalled => proxy.behave(Behaviour::both(Flow::faithful().stall())),
        }
        Ok(())
    }

    async fn heal(&self) {
        self.target.proxy.behave(Behaviour::faithful());
        self.target.proxy.end_all(Ending::Reset);
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(15)
    }
}

/// A record with its length before it, so that streams can be cut.
fn framed(bytes: &[u8]) -> Vec<u8> {
    [format!("{}:", bytes.len()).as_bytes(), bytes].concat()
}

/// What the engine does with a batch: repeats, splits, sets aside. Returns the numbers set aside.
async fn deliver_as_the_engine(subject: &Subject, samples: Vec<Sample>) -> Vec<u64> {
    let (mut open, mut aside) = (vec![samples], Vec::new());
    let until = Instant::now() + Duration::from_secs(60);
    while let Some(group) = open.pop() {
        let Err(error) = subject.deliver(&group).await else { continue };
        assert!(Instant::now() < until, "not delivered in time: {error}");
        let rest: Vec<Sample> = match error.undelivered() {
            Undelivered::All => group,
            Undelivered::Only(positions) => positions.iter().map(|at| group[*at].clone()).collect(),
        };
        match error.kind() {
            DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected if rest.len() == 1 => {
                aside.push(rest[0].seq)
            }
            DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected => {
                let (first, second) = rest.split_at(rest.len() / 2);
                open.extend([second.to_vec(), first.to_vec()]);
            }
            _ => open.push(rest),
        }
    }
    aside
}

/// K7: a broker refuses one record while requests before and behind it are on their way. It is set aside, its neighbours
/// arrive once, and nothing overtakes anything.
#[test]
fn a_refused_record_is_isolated_and_nothing_overtakes_its_neighbours() {
    let Some(target) = target() else { return };
    let _turn = turn();
    let harness = KafkaHarness::new(target);
    target.kafka.alter_topic(&harness.topic, &[("max.message.bytes", "5000")]);
    let mut settings = harness.settings();
    // Many small requests, five of them on their way at once.
    settings.properties.insert("batch.num.messages".to_owned(), Value::Number(3));
    let sink = Arc::new(KafkaSink::new(&context(), &settings));
    let subject = Subject::of(Sink::both(sink), Class::Log, Duration::from_secs(30)).unwrap();
    let mut samples: Vec<_> = (1..121).map(|seq| Sample::numbered(seq, "alpha")).collect();
    samples[60].body = vec![b'x'; 20_000];
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let aside = runtime.block_on(deliver_as_the_engine(&subject, samples.clone()));
    assert_eq!(aside, [61]);
    let records = target.kafka.records(&harness.topic);
    for partition in 0..2 {
        let texts: Vec<_> = records.iter().filter(|record| record.partition == partition).collect();
        let texts: Vec<_> = texts.iter().map(|record| record.text()).collect();
        assert!(texts.is_sorted(), "partition {partition} is out of order: {texts:?}");
    }
    assert_eq!(records.len(), 119);
}

macro_rules! properties {
    ($($name:ident $property:ident),*) => {
        mod logs {
            $(#[test]
            fn $name() {
                super::check(cim_testkit::Property::$property, cim_core::Class::Log);
            })*
        }
        mod events {
            $(#[test]
            fn $name() {
                super::check(cim_testkit::Property::$property, cim_core::Class::Event);
            })*
        }
        #[test]
        fn no_property_is_left_out() {
            assert_eq!(Property::ALL, [$(Property::$property),*]);
        }
    };
}

properties!(
    profile_sane ProfileSane, empty_batch EmptyBatch, each_once EachOnce, exact_bytes ExactBytes, order Order,
    acknowledged Acknowledged, too_large TooLarge, absent_target AbsentTarget, recovery Recovery,
    cut_mid_batch CutMidBatch, cancellation Cancellation, close_twice CloseTwice, secrets_hidden SecretsHidden
);
