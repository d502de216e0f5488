//! Reading the topic as a member of the group.
//!
//! Owns batches, resting and commits. Invariants: what is read is handed out in the order of its partition; a record that was
//! taken from the library is in a batch before anything is waited for.

use std::time::Duration;

use cim_core::{
    EventReader, FeedBatch, FeedPosition, RecordPlace, Sift, SourceError, SourceErrorKind, async_trait,
};
use futures_util::{FutureExt, StreamExt};
use rdkafka::Message;
use rdkafka::consumer::{CommitMode, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::BorrowedMessage;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until, timeout};

use super::context::Consumer;
use super::source::{beside, failure};
use crate::read_headers;

/// Most records of one batch.
const RECORDS: usize = 512;
/// Bytes of kept values that end a batch.
const BYTES: usize = 1 << 20;
/// A shorter rest is not told to the library, which throws away what it fetched ahead.
const SHORT_REST: Duration = Duration::from_secs(1);
/// How long the end may take.
const CLOSE_TIME: Duration = Duration::from_secs(1);

/// A member of the group.
pub(super) struct KafkaReader {
    consumer: Option<Consumer>,
    topic: String,
    /// Fetching is stopped.
    is_paused: bool,
    /// When fetching is to be stopped, while reading rests.
    pauses_at: Option<Instant>,
    /// What was committed last; perhaps it is not stored yet.
    committed: Option<TopicPartitionList>,
}

impl KafkaReader {
    pub(super) fn new(consumer: Consumer, topic: String) -> Self {
        Self { consumer: Some(consumer), topic, is_paused: false, pauses_at: None, committed: None }
    }

    fn consumer(&self) -> Result<&Consumer, SourceError> {
        let closed = || SourceError::new(SourceErrorKind::Closed, "the reader was closed");
        self.consumer.as_ref().ok_or_else(closed)
    }

    /// Stops or begins fetching.
    fn pause(&mut self, pause: bool) -> Result<(), SourceError> {
        let consumer = self.consumer()?;
        let done = consumer
            .assignment()
            .and_then(|mine| if pause { consumer.pause(&mine) } else { consumer.resume(&mine) });
        done.map_err(|error| failure("stop or begin fetching", error))?;
        self.is_paused = pause;
        Ok(())
    }
}

#[async_trait]
impl EventReader for KafkaReader {
    async fn read(&mut self, sift: &mut dyn Sift) -> Result<FeedBatch, SourceError> {
        self.pauses_at = None;
        if self.is_paused {
            self.pause(false)?;
        }
        let mut messages = self.consumer()?.stream();
        let mut batch = Gathered::default();
        loop {
            match messages.next().await {
                Some(Ok(message)) => break batch.add(&message, sift),
                Some(Err(error)) if is_end(&error) => return Err(failure("read the topic", error)),
                // The library repairs it; `probe` tells.
                Some(Err(error)) => tracing::debug!(%error, "the topic cannot be read at the moment"),
                None => return Err(SourceError::new(SourceErrorKind::Closed, "the topic ended")),
            }
        }
        // Nothing is waited for from here on, so nothing that was taken can be lost.
        while batch.has_room() {
            match messages.next().now_or_never().flatten() {
                Some(Ok(message)) => batch.add(&message, sift),
                // One that matters comes again.
                Some(Err(_)) => {}
                None => break,
            }
        }
        Ok(batch.batch)
    }

    async fn rest(&mut self) -> SourceError {
        if !self.is_paused {
            // This is dropped and called again whenever something else happens: the time counts from the first call.
            let pauses_at = *self.pauses_at.get_or_insert_with(|| Instant::now() + SHORT_REST);
            sleep_until(pauses_at).await;
            if let Err(error) = self.pause(true) {
                return error;
            }
        }
        loop {
            // The library wants to be polled, or the group takes this member for dead.
            let seen = match self.consumer() {
                Ok(consumer) => consumer.recv().await.map(drop),
                Err(error) => return error,
            };
            match seen {
                // Of a partition that came meanwhile. The next reader finds it again.
                Ok(()) => {
                    let what = "the group was divided anew while reading rested";
                    return SourceError::new(SourceErrorKind::Unavailable, what);
                }
                Err(error) if is_end(&error) => return failure("read the topic", error),
                Err(error) => tracing::debug!(%error, "the topic cannot be read at the moment"),
            }
        }
    }

    fn commit(&mut self, positions: &[FeedPosition]) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        for FeedPosition { lane, next } in positions {
            let added = list.add_partition_offset(&self.topic, *lane, Offset::Offset(*next));
            added.map_err(|error| failure("name a position", error))?;
        }
        let done = self.consumer()?.commit(&list, CommitMode::Async);
        self.committed = Some(list);
        done.map_err(|error| failure("commit", error))
    }

    async fn close(mut self: Box<Self>) {
        if let Some(consumer) = self.consumer.take() {
            let _ = timeout(
                CLOSE_TIME,
                beside(move || {
                    drop(consumer);
                    Ok(())
                }),
            )
            .await;
        }
    }

    async fn finish(mut self: Box<Self>) {
        // Where nothing was committed, the end of the consumer is a matter of the thread that `drop` starts.
        let Some(committed) = self.committed.take() else { return };
        let Some(consumer) = self.consumer.take() else { return };
        let (stored, storing) = oneshot::channel();
        let ending = beside(move || {
            let done = consumer.commit(&committed, CommitMode::Sync);
            let _ = stored.send(done);
            // The library looks but every tenth of a second whether this is done.
            drop(consumer);
            Ok(())
        });
        tokio::select! {
            _ = timeout(CLOSE_TIME, storing) => {}
            _ = ending => {}
        }
    }
}

impl Drop for KafkaReader {
    fn drop(&mut self) {
        // Leaving the group takes a moment, which the runtime does not have.
        if let Some(consumer) = self.consumer.take() {
            let thread = std::thread::Builder::new().name("cim-kafka-feed".to_owned());
            let _ = thread.spawn(move || drop(consumer));
        }
    }
}

/// A batch that is being filled.
#[derive(Default)]
struct Gathered {
    batch: FeedBatch,
    records: usize,
}

impl Gathered {
    fn has_room(&self) -> bool {
        self.records < RECORDS && self.batch.kept.bytes() < BYTES
    }

    fn add(&mut self, message: &BorrowedMessage<'_>, sift: &mut dyn Sift) {
        self.records += 1;
        let value = message.payload().unwrap_or_default();
        let at = RecordPlace { lane: message.partition(), record: message.offset() };
        if sift.keeps(at, &mut read_headers::of(message), value.len()) {
            self.batch.kept.push(value);
        }
        let (lane, next) = (at.lane, at.record.saturating_add(1));
        match self.batch.reached.iter_mut().find(|position| position.lane == lane) {
            Some(position) => position.next = next,
            None => self.batch.reached.push(FeedPosition { lane, next }),
        }
    }
}

/// Whether waiting cannot help: the reader is made again, with the secrets of that moment.
fn is_end(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{
        Authentication, Fatal, GroupAuthorizationFailed, SaslAuthenticationFailed, TopicAuthorizationFailed,
    };
    let is_final = |code| {
        matches!(
            code,
            Authentication
                | Fatal
                | GroupAuthorizationFailed
                | SaslAuthenticationFailed
                | TopicAuthorizationFailed
        )
    };
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || error.rdkafka_error_code().is_some_and(is_final)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rdkafka::config::{ClientConfig, FromClientConfigAndContext as _};

    use super::*;
    use crate::feed::context::Context;
    use crate::link::Link;

    /// Whoever rests is asked again and again, because something else happens all the while.
    #[tokio::test(start_paused = true)]
    async fn a_rest_that_is_interrupted_goes_on_where_it_was() {
        let mut config = ClientConfig::new();
        config.set("group.id", "pod").set("bootstrap.servers", "127.0.0.1:9");
        let context = Context { link: Arc::new(Link::new(Duration::from_secs(1))) };
        let consumer = Consumer::from_config_and_context(&config, context).unwrap();
        let mut reader = KafkaReader::new(consumer, "topic".to_owned());
        for turn in 0..3 {
            assert!(!reader.is_paused, "turn {turn}");
            assert!(timeout(Duration::from_millis(400), reader.rest()).await.is_err());
        }
        assert!(reader.is_paused, "1.2 s of rest, never more than 0.4 s of it at a time");
    }
}
