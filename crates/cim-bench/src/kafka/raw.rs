//! librdkafka alone: the yardstick of Kafka delivery.
//!
//! Owns a producer with the settings of a careful producer (all replicas, idempotent, five requests in flight) and a closed loop
//! over one record. Left out: the broker. Invariant: a record counts only when the broker has acknowledged it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rdkafka::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use serde::{Deserialize, Serialize};

use crate::clock;
use crate::error::{BenchError, Result};

/// Longest wait for the last acknowledgements.
const FLUSH: Duration = Duration::from_secs(120);
/// Records between two looks at the acknowledgements.
const POLL_EVERY: u64 = 512;
/// What is never varied: acks, idempotence and batches as a careful producer has them.
const SETTINGS: &[(&str, &str)] = &[
    ("acks", "all"),
    ("enable.idempotence", "true"),
    ("max.in.flight", "5"),
    ("message.timeout.ms", "0"),
    ("batch.num.messages", "50000"),
    ("batch.size", "1000000"),
    ("queue.buffering.max.messages", "0"),
    ("socket.nagle.disable", "true"),
    ("request.timeout.ms", "10000"),
];

/// Key, value and headers that every record of a run has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct RecordSample {
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Vec<u8>,
    /// Its headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
}

/// A closed loop in a process of its own: `cim-bench raw-kafka`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawPlan {
    /// Bootstrap servers.
    pub brokers: String,
    /// The topic.
    pub topic: String,
    /// The record.
    pub record: RecordSample,
    /// How long to send, seconds.
    pub seconds: f64,
    /// `linger.ms`.
    pub linger_ms: u32,
    /// `queue.buffering.max.kbytes`.
    pub queue_kib: u32,
}

/// What came of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct RawResult {
    /// Records the broker acknowledged.
    pub acked: u64,
    /// From the first record to the last acknowledgement, seconds.
    pub seconds: f64,
    /// CPU time of the process meanwhile, seconds.
    pub cpu_seconds: f64,
}

/// Counts acknowledgements.
#[derive(Debug, Default)]
struct Tally {
    acked: AtomicU64,
    failed: AtomicU64,
}

#[derive(Debug, Clone, Default)]
struct Context(Arc<Tally>);

impl ClientContext for Context {}

impl ProducerContext for Context {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let count = if result.is_ok() { &self.0.acked } else { &self.0.failed };
        count.fetch_add(1, Ordering::Relaxed);
    }
}

/// A producer and its one record.
pub struct RawProducer {
    producer: BaseProducer<Context>,
    tally: Arc<Tally>,
    topic: String,
    record: RecordSample,
}

impl RawProducer {
    /// Makes the producer; brokers are contacted when the first record is sent.
    ///
    /// # Errors
    /// librdkafka refuses the settings.
    pub fn new(plan: &RawPlan) -> Result<Self> {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &plan.brokers);
        for (name, value) in SETTINGS {
            config.set(*name, *value);
        }
        config.set("linger.ms", plan.linger_ms.to_string());
        config.set("queue.buffering.max.kbytes", plan.queue_kib.to_string());
        let context = Context::default();
        let tally = Arc::clone(&context.0);
        let producer = config.create_with_context(context).map_err(failed("make a producer"))?;
        Ok(Self { producer, tally, topic: plan.topic.clone(), record: plan.record.clone() })
    }

    /// Sends for that long, then waits for every acknowledgement. Returns how many there were.
    ///
    /// # Errors
    /// A record was refused, or acknowledgements are missing.
    pub fn send_for(&self, time: Duration) -> Result<u64> {
        let start = Instant::now();
        let mut sent = 0u64;
        while start.elapsed() < time {
            for _ in 0..POLL_EVERY {
                self.send()?;
            }
            sent = sent.saturating_add(POLL_EVERY);
            self.producer.poll(Duration::ZERO);
        }
        self.flush(sent)
    }

    /// Sends one record and waits for its acknowledgement.
    ///
    /// # Errors
    /// It was refused.
    pub fn round_trip(&self) -> Result<()> {
        let before = self.acked();
        self.send()?;
        while self.acked() == before {
            self.producer.poll(Duration::from_millis(1));
            self.refused()?;
        }
        Ok(())
    }

    /// Sends one record and does not wait; notes the acknowledgements that have come.
    ///
    /// # Errors
    /// librdkafka does not take it, or the broker refused an earlier one.
    pub fn send_one(&self) -> Result<()> {
        self.producer.poll(Duration::ZERO);
        self.refused()?;
        self.send()
    }

    fn send(&self) -> Result<()> {
        let mut record = BaseRecord::<[u8], [u8]>::to(&self.topic).payload(&self.record.value);
        if let Some(key) = &self.record.key {
            record = record.key(key.as_slice());
        }
        if !self.record.headers.is_empty() {
            record = record.headers(headers(&self.record.headers));
        }
        while let Err((error, same)) = self.producer.send(record) {
            if !matches!(error, KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull)) {
                return Err(failed("send")(error));
            }
            self.producer.poll(Duration::from_millis(1));
            record = same;
        }
        Ok(())
    }

    fn flush(&self, sent: u64) -> Result<u64> {
        self.producer.flush(FLUSH).map_err(failed("flush"))?;
        self.refused()?;
        let acked = self.acked();
        if acked < sent {
            return Err(BenchError::Unclean(format!("{acked} of {sent} records acknowledged")));
        }
        Ok(acked)
    }

    fn acked(&self) -> u64 {
        self.tally.acked.load(Ordering::Relaxed)
    }

    fn refused(&self) -> Result<()> {
        match self.tally.failed.load(Ordering::Relaxed) {
            0 => Ok(()),
            failed => Err(BenchError::Unclean(format!("{failed} records refused"))),
        }
    }
}

impl RawPlan {
    /// Runs the plan in this process.
    ///
    /// # Errors
    /// As [`RawProducer::send_for`].
    pub fn run(&self) -> Result<RawResult> {
        let time = Duration::try_from_secs_f64(self.seconds)
            .map_err(|error| BenchError::Invalid(error.to_string()))?;
        let producer = RawProducer::new(self)?;
        // Connections and partitions are known before the clock starts.
        producer.round_trip()?;
        let (cpu, start) = (clock::process_cpu_seconds(), Instant::now());
        let acked = producer.send_for(time)?.saturating_sub(1);
        let seconds = start.elapsed().as_secs_f64();
        Ok(RawResult { acked, seconds, cpu_seconds: clock::process_cpu_seconds() - cpu })
    }
}

fn headers(pairs: &[(String, Option<Vec<u8>>)]) -> OwnedHeaders {
    pairs.iter().fold(OwnedHeaders::new_with_capacity(pairs.len()), |headers, (key, value)| {
        headers.insert(Header { key, value: value.as_deref() })
    })
}

fn failed(what: &str) -> impl FnOnce(KafkaError) -> BenchError {
    let what = format!("librdkafka: {what}");
    move |source| BenchError::Kafka { what, source }
}
