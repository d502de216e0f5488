//! `[sinks.x.properties]`: what of the client library may be set by its own names.
//!
//! Owns two lists: what passes, and what this program decides itself, with the place where it is decided. Left out:
//! whether a value is valid, which the library says. Invariant: no property can break the delivery guarantees, and none
//! holds a secret.

use std::collections::BTreeMap;

use cim_core::Problem;
use cim_core::registry::suggest;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A value, as people write it.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(untagged)]
#[allow(missing_docs, reason = "the variants are the types of a configuration file")]
pub enum Value {
    Switch(bool),
    Number(i64),
    Text(String),
}

impl Value {
    /// The form the library reads.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Switch(value) => value.to_string(),
            Self::Number(value) => value.to_string(),
            Self::Text(value) => value.clone(),
        }
    }
}

/// What passes.
pub const ALLOWED: &[&str] = &[
    "api.version.fallback.ms",
    "api.version.request",
    "api.version.request.timeout.ms",
    "batch.num.messages",
    "batch.size",
    "broker.address.family",
    "broker.address.ttl",
    "broker.version.fallback",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.level",
    "connections.max.idle.ms",
    "debug",
    "max.in.flight",
    "metadata.max.age.ms",
    "receive.message.max.bytes",
    "reconnect.backoff.max.ms",
    "reconnect.backoff.ms",
    "request.timeout.ms",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "socket.connection.setup.timeout.ms",
    "socket.keepalive.enable",
    "socket.max.fails",
    "socket.nagle.disable",
    "socket.receive.buffer.bytes",
    "socket.send.buffer.bytes",
    "socket.timeout.ms",
    "ssl.cipher.suites",
    "ssl.crl.location",
    "ssl.curves.list",
    "ssl.sigalgs.list",
    "topic.metadata.propagation.max.ms",
    "topic.metadata.refresh.fast.interval.ms",
    "topic.metadata.refresh.interval.ms",
    "topic.metadata.refresh.sparse",
];

/// What is decided elsewhere: property, and where or why.
pub const OWNED: &[(&str, &str)] = &[
    ("acks", "it is always `all`"),
    ("allow.auto.create.topics", "it is always off: topics are never created"),
    ("bootstrap.servers", "set `brokers`"),
    ("compression.codec", "set `compression`"),
    ("compression.type", "set `compression`"),
    ("delivery.timeout.ms", "records never expire in the client: the spool decides"),
    ("enable.gapless.guarantee", "it is always on: it keeps the order when a record is refused"),
    ("enable.idempotence", "it is always on"),
    ("linger.ms", "nothing waits for it: the client is told when a batch is complete"),
    ("message.max.bytes", "set `max_message`"),
    ("message.send.max.retries", "retries never end: the spool decides"),
    ("message.timeout.ms", "records never expire in the client: the spool decides"),
    ("metadata.broker.list", "set `brokers`"),
    ("partitioner", "set `partitioning`"),
    ("queue.buffering.max.kbytes", "it is 8 MiB: the spool is the queue"),
    ("queue.buffering.max.messages", "it is bounded in bytes: the spool is the queue"),
    ("queue.buffering.max.ms", "nothing waits for it: the client is told when a batch is complete"),
    ("request.required.acks", "it is always `all`"),
    ("retries", "retries never end: the spool decides"),
    ("sasl.mechanism", "set `mechanism` in `sasl`"),
    ("sasl.mechanisms", "set `mechanism` in `sasl`"),
    ("sasl.password", "set `password_file` in `sasl`"),
    ("sasl.username", "set `username` in `sasl`"),
    ("security.protocol", "follows from the tables `tls` and `sasl`"),
    ("ssl.ca.location", "set `ca_file` in `tls`"),
    ("ssl.ca.pem", "set `ca_file` in `tls`"),
    ("ssl.certificate.location", "set `certificate_file` in `tls`"),
    ("ssl.certificate.pem", "set `certificate_file` in `tls`"),
    ("ssl.endpoint.identification.algorithm", "set `skip_host_name_check` in `tls`"),
    ("ssl.key.location", "set `key_file` in `tls`"),
    ("ssl.key.password", "set `key_password_file` in `tls`"),
    ("ssl.key.pem", "set `key_file` in `tls`"),
    ("statistics.interval.ms", "it is fixed: the health page and the metrics read the statistics"),
    ("transactional.id", "there are no transactions"),
];

/// Requests to one broker at the same time that idempotence allows.
const MOST_IN_FLIGHT: u32 = 5;

/// What is wrong with the names, and with the values that the library would take and should not.
pub(crate) fn problems(properties: &BTreeMap<String, Value>) -> Vec<Problem> {
    let wrong = properties.keys().filter(|name| !ALLOWED.contains(&name.as_str()));
    let mut problems: Vec<_> =
        wrong.map(|name| Problem::new(format!("properties.\"{name}\""), explain(name))).collect();
    let in_flight = properties.get("max.in.flight").map(|value| value.text().parse::<u32>());
    if in_flight.is_some_and(|number| !number.is_ok_and(|number| (1..=MOST_IN_FLIGHT).contains(&number))) {
        let range = format!("must be from 1 to {MOST_IN_FLIGHT}: brokers recognise no more repeats");
        problems.push(Problem::new("properties.\"max.in.flight\"", range));
    }
    if properties.get("socket.max.fails").is_some_and(|value| value.text().trim() == "0") {
        let why = "must be at least 1: a request without an answer has to end its connection, or what the broker may have \
                   of it is never counted as a possible duplicate";
        problems.push(Problem::new("properties.\"socket.max.fails\"", why));
    }
    problems
}

fn explain(name: &str) -> String {
    if let Some((_, place)) = OWNED.iter().find(|(owned, _)| *owned == name) {
        return format!("`{name}` is not set here: {place}");
    }
    let known = ALLOWED.iter().chain(OWNED.iter().map(|(owned, _)| owned)).copied();
    let hint = suggest(name, known).map(|near| format!("; did you mean `{near}`?")).unwrap_or_default();
    format!("unknown property `{name}`{hint} (the guide lists what may be set)")
}
