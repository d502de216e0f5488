//! The contract of sources of subscribed events, against a real broker behind a proxy that can fail.
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
use std::time::Duration;

use cim_core::settings::SubscriptionSettings;
use cim_core::{EventSource, FeedContext, Identity, async_trait};
use cim_services::kafka::{Listener, Outgoing};
use cim_sink_kafka::FEED;
use cim_testkit::{
    Behaviour, CannotExpress, Ending, FeedHarness, FeedProperty, FeedRecord, check_feed_in_test,
};
use proxied::{Target, target, turn};

/// The body of a test.
fn check(property: FeedProperty) {
    let Some(target) = target() else { return };
    let _turn = turn();
    check_feed_in_test(property, || KafkaHarness::new(target));
}

struct KafkaHarness {
    target: &'static Target,
    topic: String,
}

impl KafkaHarness {
    fn new(target: &'static Target) -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        target.proxy.behave(Behaviour::faithful());
        let topic = format!("feed-{}", COUNT.fetch_add(1, Ordering::Relaxed));
        target.kafka.create_topic(&topic, 1);
        Self { target, topic }
    }

    fn table(&self) -> serde_json::Value {
        serde_json::json!({
            "brokers": [self.target.kafka.addresses(Listener::Proxied)],
            "properties": { "reconnect.backoff.max.ms": 200, "socket.timeout.ms": 2000 },
        })
    }
}

#[async_trait]
impl FeedHarness for KafkaHarness {
    fn build(&self) -> Arc<dyn EventSource> {
        let identity = Identity { pod: self.topic.clone(), ..Identity::default() };
        let settings = SubscriptionSettings { topic: self.topic.clone(), ..SubscriptionSettings::default() };
        let context = FeedContext { name: "broker".to_owned(), identity: Arc::new(identity), settings };
        (FEED.build)(context, &self.table()).unwrap()
    }

    async fn add(&self, records: &[FeedRecord]) {
        let outgoing = |record: &FeedRecord| Outgoing {
            headers: record.headers.iter().map(|(name, value)| (name.clone(), Some(value.clone()))).collect(),
            value: record.value.clone(),
            key: None,
            age_ms: 0,
        };
        let records: Vec<_> = records.iter().map(outgoing).collect();
        let (kafka, topic) = (&self.target.kafka, &self.topic);
        std::thread::scope(|scope| scope.spawn(|| kafka.produce(topic, &records)).join().unwrap());
    }

    async fn fail(&self) -> Result<(), CannotExpress> {
        self.target.proxy.behave(Behaviour::refusing());
        self.target.proxy.end_all(Ending::Reset);
        Ok(())
    }

    async fn heal(&self) {
        self.target.proxy.behave(Behaviour::faithful());
    }

    fn patience(&self) -> Duration {
        Duration::from_secs(30)
    }
}

macro_rules! properties {
    ($($test:ident $property:ident),* $(,)?) => {
        $(#[test]
        fn $test() {
            check(FeedProperty::$property);
        })*
    };
}

properties! {
    beginning Beginning, order Order, exact_bytes ExactBytes, left_out LeftOut, resume Resume, uncommitted Uncommitted,
    rest Rest, absent Absent, recovery Recovery, cancellation Cancellation, close_twice CloseTwice, secrets_hidden SecretsHidden,
}
