//! Each kind of failure by its name, as the table of the guide has it: what a broker does, what the engine is told, and how it
//! heals. Against a broker that does one thing wrong per request. Every single code is in `brokers`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use cim_core::{Component as _, DeliveryError, DeliveryErrorKind as Kind, Health, Undelivered};
use cim_sink_kafka::error_table;
use cim_testkit::null_broker::{Api, Fault, NullBroker, code};
use cim_testkit::{HeldPort, Sample};
use rig::{Target, impatient, samples, texts, until};

/// `THROTTLING_QUOTA_EXCEEDED`, which brokers of 2.1 did not know.
const THROTTLING_QUOTA_EXCEEDED: i16 = 89;

const TOPICS: [(&str, usize); 2] = [("LOGS", 1), ("EVENT", 1)];

/// A broker that keeps what it gets in one partition, and a sink that has delivered three records to it.
struct Stage {
    broker: NullBroker,
    target: Target,
}

impl Stage {
    async fn new() -> Self {
        Self::at((Ipv4Addr::LOCALHOST, 0).into(), &serde_json::json!({})).await
    }

    /// The same at that address; `more` joins the settings of the sink.
    async fn at(listen: SocketAddr, more: &serde_json::Value) -> Self {
        let broker = NullBroker::prepare(&TOPICS).keep_records().start_at(listen).unwrap();
        let target = Target::new(broker.address().to_string(), more);
        target.deliver(&samples(1..4)).await.unwrap();
        Self { broker, target }
    }

    /// A delivery of record 4 that fails; of one, because several might be of several requests.
    async fn failure(&self) -> DeliveryError {
        self.target.deliver(&samples(4..5)).await.expect_err("it was delivered")
    }

    /// Delivers what is open, until all of it is delivered, or some is refused: that error, and what is open then.
    async fn refusal(&self, mut open: Vec<Sample>) -> Option<(DeliveryError, Vec<Sample>)> {
        loop {
            let error = self.target.deliver(&open).await.err()?;
            if let Undelivered::Only(positions) = error.undelivered() {
                open = positions.iter().map(|at| open[*at].clone()).collect();
            }
            if error.kind() != Kind::Unavailable {
                return Some((error, open));
            }
        }
    }

    /// It goes on by itself: the records are there, in order, and others behind them.
    async fn heals(&self) {
        self.target.insist(&samples(4..7)).await;
        self.target.insist(&samples(7..9)).await;
        assert_eq!(self.seen(), texts(1..9));
    }

    fn seen(&self) -> Vec<String> {
        let value = |value: Option<Vec<u8>>| String::from_utf8(value.unwrap_or_default()).unwrap();
        self.broker.records("LOGS").into_iter().map(|record| value(record.value)).collect()
    }
}

/// Nobody listens any more, then somebody does, at the same address.
async fn unavailable() -> DeliveryError {
    let (port, more) = (HeldPort::new().unwrap(), impatient());
    let Stage { broker, target } = Stage::at(port.address(), &more).await;
    drop(broker);
    let error = target.deliver(&samples(4..7)).await.expect_err("it was delivered to nobody");
    let broker = NullBroker::prepare(&TOPICS).keep_records().start_at(port.address()).unwrap();
    let stage = Stage { broker, target };
    stage.target.insist(&samples(4..7)).await;
    assert_eq!(stage.seen(), texts(4..7));
    error
}

/// The broker has had too much of this client.
async fn throttled() -> DeliveryError {
    let stage = Stage::new().await;
    stage.broker.next(Api::Produce, Fault::Error(THROTTLING_QUOTA_EXCEEDED));
    let error = stage.failure().await;
    stage.heals().await;
    error
}

/// One record is larger than the topic allows: it is found by halving, as the engine does it.
async fn too_large() -> DeliveryError {
    refused_with(code::MESSAGE_TOO_LARGE).await
}

/// One record is nothing that the topic takes.
async fn rejected() -> DeliveryError {
    refused_with(code::INVALID_RECORD).await
}

/// The broker refuses every batch with record 5. Alone it is refused by its name, and its neighbours pass.
async fn refused_with(code: i16) -> DeliveryError {
    let stage = Stage::new().await;
    stage.broker.refuse_values_with(texts(5..6)[0].as_bytes(), code);
    // Which of its neighbours share a request with it, and whether the client that was refused is replaced by then, is a
    // matter of time.
    let (error, open) = stage.refusal(samples(4..7)).await.expect("a refusal");
    let mut alone = None;
    for sample in open {
        alone = stage.refusal(vec![sample]).await.or(alone);
    }
    let (alone, _) = alone.expect("a refusal of one record");
    assert_eq!((alone.kind(), alone.undelivered()), (error.kind(), &Undelivered::Only(vec![0])));
    // Nothing has to follow: the broker is well.
    until("the sink to be ready", async || stage.target.sink.probe().await == Health::Ready).await;
    stage.target.insist(&samples(7..9)).await;
    assert_eq!(stage.seen(), [texts(1..5), texts(6..9)].concat());
    error
}

/// The right to write is gone, and comes back.
async fn unauthorized() -> DeliveryError {
    let stage = Stage::new().await;
    stage.broker.next(Api::Produce, Fault::Error(code::TOPIC_AUTHORIZATION_FAILED));
    let error = stage.failure().await;
    stage.heals().await;
    error
}

/// The topic is not there, and is made.
async fn misconfigured() -> DeliveryError {
    let broker = NullBroker::start(&[("EVENT", 1)]).unwrap();
    broker.keep_records();
    let target = Target::new(broker.address().to_string(), &serde_json::json!({}));
    let error = target.deliver(&samples(1..4)).await.expect_err("it was delivered to no topic");
    broker.create_topic("LOGS", 1);
    let stage = Stage { broker, target };
    stage.target.insist(&samples(1..4)).await;
    stage.heals().await;
    error
}

/// The sink itself is at its end: nothing is lost with it, the engine keeps the records.
async fn closed() -> DeliveryError {
    let stage = Stage::new().await;
    stage.target.sink.close().await.unwrap();
    let error = stage.failure().await;
    assert_eq!(stage.seen(), texts(1..4));
    error
}

macro_rules! kinds {
    ($($name:ident $kind:ident $text:literal),* $(,)?) => {
        $(mod $name {
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn is_told_with_its_reason_and_heals() {
                let error = super::$name().await;
                assert_eq!(error.kind(), super::Kind::$kind, "{error}");
                assert!(error.to_string().contains($text), "{error}");
            }
        })*
        #[test]
        fn no_kind_of_the_table_is_left_out() {
            let tested: BTreeSet<&str> = [$(Kind::$kind.as_str()),*].into();
            let table: BTreeSet<&str> = error_table::TABLE.iter().map(|row| row.kind.as_str()).collect();
            assert_eq!(tested, table);
        }
    };
}

kinds! {
    unavailable Unavailable "no connection to a broker",
    throttled Throttled "quota",
    too_large TooLarge "too large",
    rejected Rejected "record",
    unauthorized Unauthorized "authorization",
    misconfigured Misconfigured "topic `LOGS` does not exist",
    closed Closed "the kafka sink is closed",
}
