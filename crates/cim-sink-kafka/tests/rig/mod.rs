//! A sink towards some broker, driven as the engine drives it.
#![allow(
    dead_code,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure, and each test program uses a part of it"
)]

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use cim_core::{Class, DeliveryError, Identity, LogFormat, Sink, SinkContext, Undelivered};
use cim_sink_kafka::{KafkaSettings, KafkaSink};
use cim_testkit::{Sample, Subject};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};

pub const PATIENCE: Duration = Duration::from_secs(30);

/// For an outage: a delivery ends soon. Where answers are to come, a busy machine must not look like one.
pub fn impatient() -> serde_json::Value {
    serde_json::json!({ "give_up_after": "1s" })
}

pub struct Target {
    pub sink: Arc<KafkaSink>,
    subject: Subject,
}

impl Target {
    /// A sink towards these bootstrap servers; `more` joins its settings.
    pub fn new(servers: String, more: &serde_json::Value) -> Self {
        Self::named("broker", servers, more)
    }

    /// The same under a name of its own, under which it counts.
    pub fn named(name: &str, servers: String, more: &serde_json::Value) -> Self {
        let mut table = serde_json::json!({
            "brokers": servers.split(',').collect::<Vec<_>>(),
            "give_up_after": "5s",
            "properties": { "retry.backoff.ms": 10, "reconnect.backoff.max.ms": 200 },
        });
        table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let identity =
            Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() };
        let context = SinkContext {
            name: name.to_owned(),
            identity: Arc::new(identity),
            log_format: LogFormat::Text,
            neighbours: cim_core::Neighbours::default(),
        };
        let sink = Arc::new(KafkaSink::new(&context, &KafkaSettings::read(&table).unwrap()));
        let subject = Subject::of(Sink::both(Arc::clone(&sink)), Class::Log, PATIENCE).unwrap();
        Self { sink, subject }
    }

    pub async fn deliver(&self, samples: &[Sample]) -> Result<(), DeliveryError> {
        tokio::time::timeout(PATIENCE, self.subject.deliver(samples)).await.expect("the delivery did not end")
    }

    /// Delivers as the engine does: what is undelivered again, in order, until nothing is.
    pub async fn insist(&self, samples: &[Sample]) {
        let mut rest = samples.to_vec();
        let until = Instant::now() + PATIENCE;
        while let Err(error) = self.deliver(&rest).await {
            assert!(Instant::now() < until, "still failing: {error}");
            if let Undelivered::Only(positions) = error.undelivered() {
                rest = positions.iter().map(|at| rest[*at].clone()).collect();
            }
        }
    }
}

/// What a sink of that name has counted under that name so far. Asked once before the sink counts, or it is not heard.
pub fn counted(metric: &str, sink: &str) -> u64 {
    static PAGE: OnceLock<PrometheusHandle> = OnceLock::new();
    let page = PAGE.get_or_init(|| {
        let recorder = PrometheusBuilder::new().build_recorder();
        let page = recorder.handle();
        metrics::set_global_recorder(recorder).expect("another recorder");
        page
    });
    let series = format!("{metric}{{sink=\"{sink}\"}} ");
    let text = page.render();
    text.lines().find_map(|line| line.strip_prefix(&series)).map_or(0, |count| count.parse().unwrap())
}

/// Waits as long as a broker may take.
pub async fn until(what: &str, condition: impl AsyncFn() -> bool) {
    cim_testkit::until(what, PATIENCE, condition).await;
}

pub fn samples(range: std::ops::Range<u64>) -> Vec<Sample> {
    range.map(|seq| Sample::numbered(seq, "alpha")).collect()
}

pub fn texts(range: std::ops::Range<u64>) -> Vec<String> {
    samples(range).iter().map(|sample| String::from_utf8(sample.body.clone()).unwrap()).collect()
}
