//! What brokers answer: every row of the error table, outages, producers that must be replaced. Against the mock cluster of
//! librdkafka, which answers on request what a real one does once a year. It does not look at sequence numbers, so what
//! they protect is tested against a real broker (`conformance`) and one that checks them (`producers`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use std::time::{Duration, Instant};

use cim_core::{Component as _, DeliveryError, DeliveryErrorKind, Health, LogSink, Undelivered};
use cim_sink_kafka::error_table;
use cim_testkit::Sample;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::RDKafkaErrorCode as Code;
use rdkafka::message::Message as _;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey as Api, RDKafkaRespErr};
use rdkafka::{Offset, TopicPartitionList};
use rig::{PATIENCE, Target, impatient, samples, texts, until};

type Mock = MockCluster<'static, DefaultProducerContext>;

struct Rig {
    mock: Mock,
    target: Target,
}

impl std::ops::Deref for Rig {
    type Target = Target;
    fn deref(&self) -> &Target {
        &self.target
    }
}

impl Rig {
    fn new(partitions: i32) -> Self {
        Self::with(partitions, serde_json::json!({}))
    }

    fn with(partitions: i32, more: serde_json::Value) -> Self {
        let mock = MockCluster::new(1).unwrap();
        if partitions > 0 {
            mock.create_topic("LOGS", partitions, 1).unwrap();
        }
        let target = Target::new(mock.bootstrap_servers(), &more);
        Self { mock, target }
    }

    /// The next answers to requests of that kind.
    fn answers(&self, api: Api, codes: &[Code]) {
        let codes: Vec<RDKafkaRespErr> = codes.iter().map(|code| raw(*code)).collect();
        self.mock.request_errors(api, &codes);
    }

    /// The values in the topic, each partition in its order.
    fn seen(&self) -> Vec<Vec<String>> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", self.mock.bootstrap_servers())
            .set("group.id", "reader")
            .set("enable.partition.eof", "true")
            .create()
            .unwrap();
        let metadata = consumer.fetch_metadata(Some("LOGS"), PATIENCE).unwrap();
        let count = metadata.topics()[0].partitions().len();
        let mut list = TopicPartitionList::new();
        for partition in 0..count {
            list.add_partition_offset("LOGS", i32::try_from(partition).unwrap(), Offset::Beginning).unwrap();
        }
        consumer.assign(&list).unwrap();
        let (mut seen, mut ended) = (vec![Vec::new(); count], 0);
        while ended < count {
            match consumer.poll(PATIENCE).expect("nothing to read") {
                Ok(message) => {
                    let text = String::from_utf8_lossy(message.payload().unwrap_or_default()).into_owned();
                    seen[usize::try_from(message.partition()).unwrap()].push(text);
                }
                Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ended += 1,
                Err(error) => panic!("{error}"),
            }
        }
        seen
    }
}

/// The code as the library's C interface has it.
fn raw(code: Code) -> RDKafkaRespErr {
    // The numbers are the protocol's; the two enumerations have them in common.
    let all = [
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_COORDINATOR,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_REQUIRED_ACKS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_CONFIG,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_SECURITY_DISABLED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_LOG_DIR_NOT_FOUND,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_REASSIGNMENT_IN_PROGRESS,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_DELEGATION_TOKEN_EXPIRED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_LISTENER_NOT_FOUND,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_STALE_BROKER_EPOCH,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_INVALID_RECORD,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_PRODUCER_FENCED,
        RDKafkaRespErr::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    ];
    all.into_iter()
        .find(|raw| Code::from(*raw) == code)
        .unwrap_or_else(|| panic!("{code:?} is not listed here"))
}

/// What the client repeats by itself: the sink never hears of it. Every other code ends a delivery, with the kind of its row.
const REPAIRED: &[Code] = &[
    Code::RequestTimedOut,
    Code::BrokerNotAvailable,
    Code::LeaderNotAvailable,
    Code::NotLeaderForPartition,
    Code::ReplicaNotAvailable,
    Code::NotEnoughReplicas,
    Code::NotEnoughReplicasAfterAppend,
    Code::CoordinatorLoadInProgress,
    Code::CoordinatorNotAvailable,
    Code::NotCoordinator,
    Code::KafkaStorageError,
    Code::DuplicateSequenceNumber,
    Code::UnknownProducerId,
    Code::UnknownTopicOrPartition,
];

/// Row by row: a broker answers a record with the code once. Either the client repeats it by itself, or the error has
/// the kind of the table; in the end the record is there once, or is refused for good.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_code_of_a_broker_is_treated_as_its_row_says() {
    let codes = error_table::TABLE.iter().flat_map(|row| row.codes.iter().map(|code| (row.kind, *code)));
    let codes: Vec<_> = codes.filter(|(_, code)| *code as i32 > 0).collect();
    // Side by side: most of the time passes while producers are replaced.
    let quarters: Vec<_> = codes.chunks(codes.len().div_ceil(4)).collect();
    let unlike = tokio::join!(
        answered(quarters[0]),
        answered(quarters[1]),
        answered(quarters[2]),
        answered(quarters[3])
    );
    let unlike: Vec<String> = [unlike.0, unlike.1, unlike.2, unlike.3].concat();
    assert!(unlike.is_empty(), "{}", unlike.join("\n"));
    let told = |code: &&Code| !codes.iter().any(|(_, tried)| tried == *code);
    assert_eq!(REPAIRED.iter().find(told), None, "it is in no row, and was not tried");
}

/// Those of the codes that came to something else than is written down.
async fn answered(codes: &[(DeliveryErrorKind, Code)]) -> Vec<String> {
    let mut unlike = Vec::new();
    let rig = Rig::new(1);
    rig.deliver(&samples(1..2)).await.unwrap();
    for (seq, (kind, code)) in (2..).zip(codes) {
        rig.answers(Api::Produce, &[*code]);
        let batch = samples(seq..seq + 1);
        let outcome = rig.deliver(&batch).await;
        let told = outcome.as_ref().err().map(DeliveryError::kind);
        let expected = (!REPAIRED.contains(code)).then_some(*kind);
        if told != expected {
            unlike.push(format!("{code:?}: {expected:?} is expected, {outcome:?} was seen"));
        }
        rig.insist(&batch).await;
    }
    let mut seen = rig.seen().remove(0);
    // Where the code is answered although the record was written, it may be there twice; never out of order.
    seen.dedup();
    assert_eq!(seen, texts(1..2 + codes.len() as u64));
    unlike
}

/// K6: retryable answers, many of them in a row.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cluster_in_trouble_is_waited_for_without_a_word() {
    let rig = Rig::new(1);
    rig.answers(
        Api::Produce,
        &[
            Code::NotEnoughReplicas,
            Code::NotEnoughReplicasAfterAppend,
            Code::LeaderNotAvailable,
            Code::NotLeaderForPartition,
            Code::RequestTimedOut,
            Code::KafkaStorageError,
        ],
    );
    rig.deliver(&samples(1..30)).await.unwrap();
    let mut seen = rig.seen().remove(0);
    seen.dedup();
    assert_eq!(seen, texts(1..30));
}

/// An outage longer than the patience of a delivery: what the client holds is waited for, not sent again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_outage_doubles_nothing() {
    let rig = Rig::with(2, impatient());
    rig.deliver(&samples(1..5)).await.unwrap();
    rig.mock.broker_down(1).unwrap();
    for _ in 0..3 {
        let error = rig.deliver(&samples(5..25)).await.unwrap_err();
        assert_eq!(error.kind(), DeliveryErrorKind::Unavailable, "{error}");
        assert!(error.pause().is_some());
    }
    let Health::Degraded(text) = rig.sink.probe().await else { panic!("an outage is not told") };
    assert!(text.starts_with("no broker connected for"), "{text}");
    rig.mock.broker_up(1).unwrap();
    rig.insist(&samples(5..25)).await;
    let seen = rig.seen();
    assert!(seen.iter().all(|partition| partition.is_sorted()));
    assert_eq!(seen.iter().map(Vec::len).sum::<usize>(), 24, "{seen:?}");
    until("the end of the outage", async || rig.sink.probe().await == Health::Ready).await;
}

/// A sink that gave up what its broker did not take: a fallback has it. The broker is back.
async fn after_a_fallback() -> Rig {
    let rig = Rig::with(1, impatient());
    rig.deliver(&samples(1..5)).await.unwrap();
    rig.mock.broker_down(1).unwrap();
    rig.deliver(&samples(5..25)).await.unwrap_err();
    cim_core::LogSink::abandon(&*rig.sink).await;
    rig.mock.broker_up(1).unwrap();
    rig
}

/// What a fallback took does not arrive at the broker as well.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_given_up_does_not_arrive() {
    let rig = after_a_fallback().await;
    rig.insist(&samples(25..30)).await;
    assert_eq!(rig.seen(), [[texts(1..5), texts(25..30)].concat()]);
}

/// Without a broker the time that an answer may take says nothing: `give_up_after` alone decides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_patience_beyond_the_time_of_an_answer_is_kept() {
    let answers = serde_json::json!({ "request.timeout.ms": 100, "reconnect.backoff.max.ms": 200 });
    let rig = Rig::with(1, serde_json::json!({ "give_up_after": "4s", "properties": answers }));
    rig.deliver(&samples(1..5)).await.unwrap();
    rig.mock.broker_down(1).unwrap();
    let start = Instant::now();
    let error = rig.deliver(&samples(5..9)).await.unwrap_err();
    assert!(error.to_string().starts_with("no connection to a broker: "), "{error}");
    assert!(start.elapsed() >= Duration::from_secs(3), "{:?}", start.elapsed());
    rig.mock.broker_up(1).unwrap();
    rig.insist(&samples(5..9)).await;
    assert_eq!(rig.seen(), [texts(1..9)]);
}

/// Brokers before 2.8 ask for a right of the producer's own. It is refused before any record is sent.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_the_producer_itself_lacks_is_told_and_heals() {
    let rig = Rig::new(1);
    rig.answers(Api::InitProducerId, &[Code::ClusterAuthorizationFailed]);
    let error = rig.deliver(&samples(1..4)).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Unauthorized, "{error}");
    assert!(error.to_string().contains("ClusterAuthorizationFailed"), "{error}");
    rig.insist(&samples(1..4)).await;
    assert_eq!(rig.seen(), [texts(1..4)]);
}

/// Once a fallback has everything there is no client any more, and nothing that would make one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_return_of_the_brokers_is_told_although_nothing_is_delivered() {
    let rig = after_a_fallback().await;
    until("the return", async || rig.sink.probe().await == Health::Ready).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn by_source_keeps_a_container_in_one_partition_and_spread_uses_all() {
    let mixed: Vec<_> = (1..61)
        .map(|seq| Sample::numbered(seq, ["alpha", "beta", "gamma"][usize::try_from(seq % 3).unwrap()]))
        .collect();
    let rig = Rig::with(4, serde_json::json!({ "partitioning": "by_source" }));
    rig.deliver(&mixed).await.unwrap();
    let seen = rig.seen();
    for source in ["alpha", "beta", "gamma"] {
        let places = seen.iter().filter(|texts| texts.iter().any(|text| text.starts_with(source)));
        assert_eq!(places.count(), 1, "{source} is in several partitions");
    }
    let rig = Rig::new(4);
    rig.deliver(&samples(1..1025)).await.unwrap();
    assert_eq!(rig.seen().iter().map(Vec::len).collect::<Vec<_>>(), [256; 4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_does_not_exist_is_told_and_heals() {
    let rig = Rig::new(0);
    rig.mock.topic_error("LOGS", raw(Code::UnknownTopicOrPartition)).unwrap();
    let error = rig.deliver(&samples(1..3)).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (DeliveryErrorKind::Misconfigured, "topic `LOGS` does not exist")
    );
    let missing = Health::Degraded("topic `LOGS` does not exist".to_owned());
    until("the probe to tell", async || rig.sink.probe().await == missing).await;
    rig.mock.topic_error("LOGS", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    rig.insist(&samples(1..3)).await;
    until("the sink to be ready", async || rig.sink.probe().await == Health::Ready).await;
}

/// Before there is a record: the cluster is asked, what it lacks is told, and the question is asked again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_is_missing_is_told_before_there_is_a_record() {
    let rig = Rig::new(0);
    rig.mock.topic_error("LOGS", raw(Code::UnknownTopicOrPartition)).unwrap();
    let missing = Health::Degraded("topic `LOGS` does not exist".to_owned());
    let preparing = tokio::time::timeout(PATIENCE, LogSink::prepare(rig.sink.as_ref()));
    let told = async {
        until("the probe to tell", async || rig.sink.probe().await == missing).await;
        rig.mock.topic_error("LOGS", RDKafkaRespErr::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
    };
    let (prepared, ()) = tokio::join!(preparing, told);
    prepared.expect("it still asks");
    until("the sink to be ready", async || rig.sink.probe().await == Health::Ready).await;
}

/// K14: the versions of the protocol that brokers of 2.1 speak.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_of_the_oldest_kind_is_served() {
    let rig = Rig::new(1);
    for (api, version) in
        [(Api::Produce, 7), (Api::Metadata, 7), (Api::InitProducerId, 1), (Api::ApiVersion, 2)]
    {
        rig.mock.apiversion(api, Some(0), Some(version)).unwrap();
    }
    rig.deliver(&samples(1..100)).await.unwrap();
    assert_eq!(rig.seen(), [texts(1..100)]);
}

/// A record that is too large for the client itself is named; its neighbours are delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_above_the_limit_is_named() {
    let rig = Rig::with(1, serde_json::json!({ "max_message": "2000B" }));
    let mut batch = samples(1..4);
    batch[1].body = vec![b'x'; 3_000];
    let error = rig.deliver(&batch).await.unwrap_err();
    assert_eq!(
        (error.kind(), error.undelivered()),
        (DeliveryErrorKind::TooLarge, &Undelivered::Only(vec![1]))
    );
    assert_eq!(rig.seen(), [[texts(1..2), texts(3..4)].concat()]);
}

/// Nothing is there at the start, and comes later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_may_be_absent_at_the_start() {
    let rig = Rig::with(1, impatient());
    rig.mock.broker_down(1).unwrap();
    let error = rig.deliver(&samples(1..3)).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
    assert!(error.to_string().starts_with("no connection to a broker: "), "{error}");
    rig.mock.broker_up(1).unwrap();
    rig.insist(&samples(1..3)).await;
    assert_eq!(rig.seen(), [texts(1..3)]);
}
