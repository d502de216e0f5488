//! The topic as a source of events: opening, health, and how errors are named.
//!
//! Owns the name of the group and that of its member. Left out: reading. Invariant: a consumer is made and ended on a thread of
//! its own, for both may take long.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::DeliveryErrorKind as Kind;
use cim_core::{
    Component, EventReader, EventSource, FeedContext, Health, SourceError, SourceErrorKind, async_trait,
};
use rdkafka::config::FromClientConfigAndContext as _;
use rdkafka::consumer::Consumer as _;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use tokio::sync::oneshot;

use super::context::{Consumer, Context};
use super::place::{self, Beginning};
use super::reader::KafkaReader;
use crate::client_config::Recipe;
use crate::error_table;
use crate::link::Link;
use crate::settings::KafkaSettings;

/// An interruption below this is not worth a word.
const PATIENCE: Duration = Duration::from_secs(2);

/// A topic with events.
pub struct KafkaFeed {
    name: String,
    topic: String,
    group: String,
    instance: String,
    beginning: Beginning,
    recipe: Arc<Mutex<Recipe>>,
    link: Arc<Link>,
    /// The topic did not exist when it was asked for: when it does, all of it is new.
    was_absent: Arc<AtomicBool>,
    is_open: Arc<AtomicBool>,
}

impl KafkaFeed {
    /// The topic of those settings. Nothing is opened yet.
    #[must_use]
    pub fn new(context: FeedContext, settings: KafkaSettings) -> Self {
        let FeedContext { name, identity, settings: plan } = context;
        let group = plan.group.unwrap_or_else(|| identity.pod.clone());
        // A container that is started again is the same member; another pod of the same name is another one.
        let instance = match identity.uid.as_str() {
            "" => identity.pod.clone(),
            uid => format!("{}-{uid}", identity.pod),
        };
        Self {
            name,
            topic: plan.topic,
            group,
            instance,
            beginning: plan.start_ago.map_or(Beginning::Next, |span| Beginning::Ago(span.get())),
            recipe: Arc::new(Mutex::new(Recipe::new(settings, &identity))),
            link: Arc::new(Link::new(PATIENCE)),
            was_absent: Arc::default(),
            is_open: Arc::default(),
        }
    }
}

impl std::fmt::Debug for KafkaFeed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaFeed")
            .field("name", &self.name)
            .field("topic", &self.topic)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}

#[async_trait]
impl Component for KafkaFeed {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        let complaint = self.is_open.load(Relaxed).then(|| self.link.complaint()).flatten();
        complaint.map_or(Health::Ready, Health::Degraded)
    }
}

#[async_trait]
impl EventSource for KafkaFeed {
    async fn open(&self) -> Result<Box<dyn EventReader>, SourceError> {
        let beginning = if self.was_absent.load(Relaxed) { Beginning::Oldest } else { self.beginning };
        let (recipe, link) = (Arc::clone(&self.recipe), Arc::clone(&self.link));
        let (topic, group, instance) = (self.topic.clone(), self.group.clone(), self.instance.clone());
        let was_absent = Arc::clone(&self.was_absent);
        let opened = beside(move || {
            let config =
                recipe.lock().unwrap_or_else(PoisonError::into_inner).consumer_config(&group, &instance);
            let config = config.map_err(|why| SourceError::new(SourceErrorKind::Misconfigured, why))?;
            link.begin();
            let consumer = Consumer::from_config_and_context(&config, Context { link });
            let consumer = consumer.map_err(|error| failure("make a consumer", error))?;
            if !place::fix(&consumer, &topic, beginning)? {
                was_absent.store(true, Relaxed);
                let what = format!("there is no topic {topic}");
                return Err(SourceError::new(SourceErrorKind::Misconfigured, what));
            }
            consumer.subscribe(&[topic.as_str()]).map_err(|error| failure("join the group", error))?;
            Ok(KafkaReader::new(consumer, topic))
        });
        let opened = opened.await;
        self.is_open.store(opened.is_ok(), Relaxed);
        Ok(Box::new(opened?))
    }
}

/// Runs something that may block on a thread of its own. When nobody waits any more, what it made is dropped there.
pub(super) async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let (done, doing) = oneshot::channel();
    let thread = std::thread::Builder::new().name("cim-kafka-feed".to_owned());
    let started = thread.spawn(move || drop(done.send(work())));
    let gone = |error: std::io::Error| {
        SourceError::new(SourceErrorKind::Unavailable, "no thread for the Kafka client").with_source(error)
    };
    started.map_err(gone)?;
    let ended = |_| SourceError::new(SourceErrorKind::Closed, "the thread of the Kafka client ended");
    doing.await.map_err(ended)?
}

/// An error of the library, by what could not be done.
pub(super) fn failure(what: &str, error: KafkaError) -> SourceError {
    let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
    let kind = match error_table::kind(code) {
        Kind::Unauthorized => SourceErrorKind::Unauthorized,
        Kind::Misconfigured => SourceErrorKind::Misconfigured,
        Kind::Closed => SourceErrorKind::Closed,
        _ => SourceErrorKind::Unavailable,
    };
    SourceError::new(kind, format!("cannot {what}")).with_source(error)
}

#[cfg(test)]
mod tests {
    use cim_core::Identity;
    use cim_core::settings::SubscriptionSettings;

    use super::*;

    #[tokio::test]
    async fn a_secret_that_cannot_be_read_says_nothing_of_the_topic() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let settings = serde_json::json!({
            "brokers": ["127.0.0.1:9"],
            "sasl": { "mechanism": "PLAIN", "username": "cim", "password_file": file.path() },
        });
        let context = FeedContext {
            name: "broker".to_owned(),
            identity: Arc::new(Identity::default()),
            settings: SubscriptionSettings::default(),
        };
        let feed = KafkaFeed::new(context, serde_json::from_value(settings).unwrap());
        let error = feed.open().await.err().unwrap();
        assert_eq!(error.kind(), SourceErrorKind::Misconfigured, "{error}");
        assert!(!feed.was_absent.load(Relaxed), "reading would begin with the oldest record");
    }
}
