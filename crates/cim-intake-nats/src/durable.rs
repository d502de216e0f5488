//! A durable consumer of JetStream: the server keeps a message until it is accepted here.
//!
//! Owns finding or making the consumer. Left out: taking messages. Invariants: a consumer that is gone is found or made again;
//! one that hands out other messages than those of the subject is neither read nor changed, for it is somebody else's.

use async_nats::Client;
use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};
use async_nats::jetstream::context::{ConsumerInfoError, ConsumerInfoErrorKind};
use async_nats::jetstream::stream;

use crate::config::Durable;

/// The messages of a subject that nobody has accepted yet.
///
/// # Errors
/// Why there are none to be had: no server, no stream, no right, a consumer of another subject.
pub(crate) async fn messages(
    client: &Client,
    durable: &Durable,
    part: &str,
    subject: &str,
) -> Result<Stream, String> {
    let name = durable.name(part, subject);
    let stream = async_nats::jetstream::new(client.clone())
        .get_stream(&durable.stream)
        .await
        .map_err(|error| format!("stream {}: {error}", durable.stream))?;
    let consumer = consumer(&stream, &name, subject)
        .await
        .map_err(|error| format!("consumer {name} of stream {}: {error}", durable.stream))?;
    let config = &consumer.cached_info().config;
    if config.filter_subject != subject {
        let others = if config.filter_subject.is_empty() {
            "other subjects as well".to_owned()
        } else {
            format!("subject {}", config.filter_subject)
        };
        return Err(format!(
            "consumer {name} of stream {} hands out {others}, not {subject} alone, and is not read; set `consumer` in \
             [nats.external.jetstream] to a name that no other pod uses, or remove the consumer if nobody needs it",
            durable.stream
        ));
    }
    consumer.messages().await.map_err(|error| format!("consumer {name}: {error}"))
}

/// Finds it or makes it. Never both: making one that another pod has made meanwhile would turn that to this subject.
async fn consumer(stream: &stream::Stream, name: &str, subject: &str) -> Result<PullConsumer, String> {
    let found: Result<PullConsumer, _> = stream.get_consumer(name).await;
    match found {
        Ok(consumer) => return Ok(consumer),
        Err(error) if is_absence(&error) => {}
        Err(error) => return Err(error.to_string()),
    }
    let config = Config {
        durable_name: Some(name.to_owned()),
        filter_subject: subject.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ..Config::default()
    };
    stream.create_consumer_strict(config).await.map_err(|error| error.to_string())
}

fn is_absence(error: &async_nats::Error) -> bool {
    let why = error.downcast_ref::<ConsumerInfoError>().map(ConsumerInfoError::kind);
    why == Some(ConsumerInfoErrorKind::NotFound)
}
