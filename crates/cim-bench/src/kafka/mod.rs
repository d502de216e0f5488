//! Kafka on the yardstick's side: brokers to write to, and a producer that is nothing but librdkafka.
//!
//! Left out: the benches themselves.

mod broker;
mod raw;

pub use broker::Broker;
pub use raw::{RawPlan, RawProducer, RawResult, RecordSample};
