//! Error codes of the Kafka protocol that a broker may answer a producer with.
//!
//! Left out: what a client makes of them.

/// The batch has a wrong checksum or length.
pub const CORRUPT_MESSAGE: i16 = 2;
/// No such topic or partition.
pub const UNKNOWN_TOPIC_OR_PARTITION: i16 = 3;
/// An election is going on.
pub const LEADER_NOT_AVAILABLE: i16 = 5;
/// Another broker leads the partition.
pub const NOT_LEADER: i16 = 6;
/// The replicas did not answer in time.
pub const REQUEST_TIMED_OUT: i16 = 7;
/// The batch is larger than the topic allows.
pub const MESSAGE_TOO_LARGE: i16 = 10;
/// No coordinator for consumer groups.
pub const COORDINATOR_NOT_AVAILABLE: i16 = 15;
/// Fewer replicas than `min.insync.replicas`; nothing was appended.
pub const NOT_ENOUGH_REPLICAS: i16 = 19;
/// The same, after the leader appended.
pub const NOT_ENOUGH_REPLICAS_AFTER_APPEND: i16 = 20;
/// No right to write to the topic.
pub const TOPIC_AUTHORIZATION_FAILED: i16 = 29;
/// No right to be an idempotent producer.
pub const CLUSTER_AUTHORIZATION_FAILED: i16 = 31;
/// The broker does not speak this version.
pub const UNSUPPORTED_VERSION: i16 = 35;
/// A batch is missing before this one.
pub const OUT_OF_ORDER_SEQUENCE: i16 = 45;
/// A newer producer has this number.
pub const INVALID_PRODUCER_EPOCH: i16 = 47;
/// The disk of the broker failed.
pub const KAFKA_STORAGE_ERROR: i16 = 56;
/// The broker has forgotten this producer.
pub const UNKNOWN_PRODUCER_ID: i16 = 59;
/// The broker does not take a record of this kind.
pub const INVALID_RECORD: i16 = 87;
/// A newer producer took over.
pub const PRODUCER_FENCED: i16 = 90;
