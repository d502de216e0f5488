//! One topic: its name and its number of partitions.
//!
//! Owns the cached number and the question to the cluster. Left out: choosing a partition.

use std::sync::atomic::{AtomicU64, Ordering as Memory};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cim_core::{DeliveryError, DeliveryErrorKind};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;

use crate::error_table;
use crate::link::Link;
use crate::reports::Client;

/// One question to the cluster may take so long. Short, because a thread waits for the answer.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(1);

/// A topic that records go to.
#[derive(Debug)]
pub(crate) struct Topic {
    name: String,
    /// How long the number is believed: added partitions get records after so long at the latest.
    fresh: Duration,
    known: Arc<Mutex<Option<(i32, Instant)>>>,
    /// How often it was doubted: after that it may be another topic of the same name.
    doubts: AtomicU64,
    /// Why it cannot be used at the moment.
    complaint: Mutex<Option<String>>,
}

impl Topic {
    pub(crate) fn new(name: &str, fresh: Duration) -> Self {
        Self {
            name: name.to_owned(),
            fresh,
            known: Arc::default(),
            doubts: AtomicU64::new(0),
            complaint: Mutex::default(),
        }
    }

    /// Why the topic cannot be used, in one line.
    pub(crate) fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// The number is not to be relied on any longer.
    pub(crate) fn doubt(&self) {
        self.doubts.fetch_add(1, Memory::Relaxed);
        *self.known.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// How often it was doubted.
    pub(crate) fn doubts(&self) -> u64 {
        self.doubts.load(Memory::Relaxed)
    }

    /// How many partitions the topic has. A question waits `patience`, and the first answer is waited for as long as there is
    /// `hope` of one.
    ///
    /// # Errors
    /// What `hope` says, or the topic cannot be used.
    ///
    /// # Cancel safety
    /// May be dropped; an answer that comes later is kept.
    pub(crate) async fn partitions(
        &self,
        client: Arc<Client>,
        link: &Link,
        patience: Duration,
        mut hope: impl FnMut() -> Result<(), DeliveryError> + Send,
    ) -> Result<i32, DeliveryError> {
        let known = *self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((count, since)) = known
            && since.elapsed() < self.fresh
        {
            return Ok(count);
        }
        loop {
            match self.ask(Arc::clone(&client), patience).await {
                Ok(count) => {
                    link.answered();
                    self.complain(None);
                    return Ok(count);
                }
                Err(code) if error_table::kind(code) == DeliveryErrorKind::Unavailable => {
                    // An old answer is better than none while the cluster is silent.
                    if let Some((count, _)) = known {
                        return Ok(count);
                    }
                    hope()?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
                Err(code) => return Err(self.unusable(code)),
            }
        }
    }

    fn complain(&self, complaint: Option<String>) {
        *self.complaint.lock().unwrap_or_else(PoisonError::into_inner) = complaint;
    }

    /// Asks the cluster, off the runtime.
    async fn ask(&self, client: Arc<Client>, patience: Duration) -> Result<i32, RDKafkaErrorCode> {
        let (name, known) = (self.name.clone(), Arc::clone(&self.known));
        let asked = tokio::task::spawn_blocking(move || {
            let count = count_partitions(&client, &name, patience)?;
            *known.lock().unwrap_or_else(PoisonError::into_inner) = Some((count, Instant::now()));
            Ok(count)
        });
        asked.await.unwrap_or(Err(RDKafkaErrorCode::Fail))
    }

    fn unusable(&self, code: RDKafkaErrorCode) -> DeliveryError {
        let what = match code {
            RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition => {
                format!("topic `{}` does not exist", self.name)
            }
            _ => format!("topic `{}` cannot be used: {code}", self.name),
        };
        self.complain(Some(what.clone()));
        DeliveryError::new(error_table::kind(code), what)
    }
}

fn count_partitions(client: &Client, name: &str, patience: Duration) -> Result<i32, RDKafkaErrorCode> {
    let code =
        |error: rdkafka::error::KafkaError| error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    let metadata = client.client().fetch_metadata(Some(name), patience).map_err(code)?;
    let topic = metadata.topics().iter().find(|topic| topic.name() == name);
    let topic = topic.ok_or(RDKafkaErrorCode::UnknownTopic)?;
    if let Some(error) = topic.error() {
        return Err(error.into());
    }
    match i32::try_from(topic.partitions().len()) {
        Ok(count) if count > 0 => Ok(count),
        _ => Err(RDKafkaErrorCode::LeaderNotAvailable),
    }
}
