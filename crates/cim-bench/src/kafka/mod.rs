//! Kafka on the yardstick's side: brokers to write to, and a producer that is nothing but librdkafka.
//!
//! Left out: the benches themselves.

mod broker;
mod feed;
mod raw;

pub use broker::Broker;
pub use feed::{NAMES, Reading, TOPIC, fill, read};
pub use raw::{RawPlan, RawProducer, RawResult, RecordSample};
