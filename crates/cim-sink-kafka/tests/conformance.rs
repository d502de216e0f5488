//! The contract of sinks, against a real broker behind a proxy that can fail.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use cim_core::{Class, Identity, LogFormat, Sink, SinkContext, async_trait};
use cim_services::kafka::Listener;
use cim_services::{Kafka, KafkaPlan, free_port};
use cim_sink_kafka::{KafkaSettings, KafkaSink};
use cim_testkit::{
    Behaviour, CannotExpress, ChaosProxy, Direction, Ending, Fault, Flow, Harness, Property, Sample,
    check_in_test,
};

/// One broker for the whole program, behind one proxy: its tests take turns.
struct Target {
    kafka: Kafka,
    proxy: ChaosProxy,
}

fn target() -> Option<&'static Target> {
    static TARGET: OnceLock<Option<Target>> = OnceLock::new();
    let target = TARGET.get_or_init(|| {
        let mut proxy = None;
        let plan = KafkaPlan::new().proxied(|broker| {
            let started = ChaosProxy::start_at(free_port(), broker, 1).unwrap();
            let address = started.address();
            proxy = Some(started);
            address
        });
        let kafka = plan.start()?;
        Some(Target { kafka, proxy: proxy? })
    });
    target.as_ref()
}

/// The body of a test: waits for its turn at the proxy.
fn check(property: Property, class: Class) {
    static TURN: Mutex<()> = Mutex::new(());
    let Some(target) = target() else { return };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
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
        target.kafka.create_topic(&topic, 2);
        Self { target, topic }
    }

    fn settings(&self) -> KafkaSettings {
        KafkaSettings::read(&serde_json::json!({
            "brokers": [self.target.kafka.addresses(Listener::Proxied)],
            "logs_topic": self.topic,
            "events_topic": self.topic,
            "give_up_after": "300ms",
            "properties": { "request.timeout.ms": 1000, "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 1000 },
        }))
        .unwrap()
    }
}

fn context() -> SinkContext {
    let identity = Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() };
    SinkContext { name: "broker".to_owned(), identity: Arc::new(identity), log_format: LogFormat::Text }
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
