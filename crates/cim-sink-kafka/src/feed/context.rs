//! What the client library tells a consumer: the state of its connections, its own log lines, commits that failed.

use std::sync::Arc;

use cim_core::catalog;
use metrics::counter;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{ConsumerContext, StreamConsumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::topic_partition_list::TopicPartitionList;
use rdkafka::util::AsyncRuntime;

use crate::link::Link;

/// A consumer of the library.
pub(super) type Consumer = StreamConsumer<Context, NoTasks>;

/// Takes the events of one consumer.
pub(super) struct Context {
    pub(super) link: Arc<Link>,
}

impl ClientContext for Context {
    fn log(&self, _: RDKafkaLogLevel, facility: &str, text: &str) {
        tracing::debug!(facility, "librdkafka: {text}");
    }

    fn stats_raw(&self, statistics: &[u8]) {
        self.link.statistics(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
        self.link.trouble(code, reason);
    }
}

impl ConsumerContext for Context {
    fn commit_callback(&self, result: KafkaResult<()>, _: &TopicPartitionList) {
        // "No offset" is the answer to a commit of what is committed already.
        if let Err(error) = result
            && error.rdkafka_error_code() != Some(RDKafkaErrorCode::NoOffset)
        {
            counter!(catalog::SUBSCRIPTION_COMMIT_FAILURES).increment(1);
            tracing::debug!(%error, "a commit was refused");
        }
    }
}

/// Runs none of the library's tasks. It has one, which wakes the reader so that it polls often enough; the statistics of each
/// second do that already.
pub(super) struct NoTasks;

impl AsyncRuntime for NoTasks {
    type Delay = std::future::Ready<()>;

    fn spawn<T: Future<Output = ()> + Send + 'static>(_: T) {}

    fn delay_for(_: std::time::Duration) -> Self::Delay {
        std::future::ready(())
    }
}
