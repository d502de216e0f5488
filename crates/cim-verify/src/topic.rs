//! Which records of a Kafka topic are to be checked. Left out: reading them, which takes a Kafka client.

/// A range of a topic.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicRange {
    /// Brokers to ask first, `host:port`.
    pub brokers: Vec<String>,
    /// The topic.
    pub topic: String,
    /// First offset, of one partition or (None) of all others. Default: the oldest record.
    pub from: Vec<(Option<i32>, i64)>,
    /// Offset behind the last, of one partition or (None) of all others. Default: the end at the time of reading.
    pub to: Vec<(Option<i32>, i64)>,
    /// Properties of the client library, secrets included. The last of a name wins.
    pub properties: Vec<(String, String)>,
}
