//! A durable consumer of JetStream: the server keeps a message until it is accepted here.
//!
//! Owns finding or making the consumer. Left out: taking messages. Invariant: a consumer that is gone is found or made again.

use async_nats::Client;
use async_nats::jetstream::consumer::pull::{Config, Stream};
use async_nats::jetstream::consumer::{AckPolicy, PullConsumer};

use crate::config::Durable;

/// The messages of a subject that nobody has accepted yet.
///
/// # Errors
/// Why there are none to be had: no server, no stream, no right.
pub(crate) async fn messages(
    client: &Client,
    durable: &Durable,
    part: &str,
    subject: &str,
) -> Result<Stream, String> {
    let name = format!("{}-{part}", durable.consumer);
    let stream = async_nats::jetstream::new(client.clone())
        .get_stream(&durable.stream)
        .await
        .map_err(|error| format!("stream {}: {error}", durable.stream))?;
    let config = Config {
        durable_name: Some(name.clone()),
        filter_subject: subject.to_owned(),
        ack_policy: AckPolicy::Explicit,
        ..Config::default()
    };
    let consumer: PullConsumer = stream
        .get_or_create_consumer(&name, config)
        .await
        .map_err(|error| format!("consumer {name} of stream {}: {error}", durable.stream))?;
    consumer.messages().await.map_err(|error| format!("consumer {name}: {error}"))
}
