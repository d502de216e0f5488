//! The table `[sinks.x]` of a Kafka sink.
//!
//! Owns keys, defaults and what values mean. Left out: the names the client library has for them (`client_config`) and
//! the properties that are passed to it (`properties`). Invariant: a key that is not listed here is an error.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cim_core::Problem;
use cim_core::settings::{ByteSize, Period, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::client_config;
use crate::partition::Partitioning;
use crate::properties::{self, Value};

/// How record batches are compressed.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the names of the codecs say it")]
pub enum Compression {
    #[default]
    None,
    Gzip,
    Snappy,
    Lz4,
    Zstd,
}

impl Compression {
    /// The name of the codec.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Gzip => "gzip",
            Self::Snappy => "snappy",
            Self::Lz4 => "lz4",
            Self::Zstd => "zstd",
        }
    }
}

/// `[sinks.x.tls]`: connections are encrypted.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// Certificates that are trusted (PEM). Without it those of the system.
    pub ca_file: Option<PathBuf>,
    /// Certificate of this client (PEM), when brokers ask for one.
    pub certificate_file: Option<PathBuf>,
    /// Its private key (PEM).
    pub key_file: Option<PathBuf>,
    /// Password of the private key.
    pub key_password: Option<Secret>,
    /// File with the password of the private key.
    pub key_password_file: Option<PathBuf>,
    /// Accepts a certificate that names another host. For tests.
    pub skip_host_name_check: bool,
}

/// How the client says who it is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names of the mechanisms say it")]
pub enum Mechanism {
    #[serde(rename = "PLAIN")]
    Plain,
    #[serde(rename = "SCRAM-SHA-256")]
    ScramSha256,
    #[serde(rename = "SCRAM-SHA-512")]
    ScramSha512,
}

impl Mechanism {
    /// The name of the mechanism.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Plain => "PLAIN",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha512 => "SCRAM-SHA-512",
        }
    }
}

/// `[sinks.x.sasl]`: brokers ask for a user and a password.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct SaslSettings {
    /// How the password is proven.
    pub mechanism: Mechanism,
    /// Name of the user.
    pub username: String,
    /// The password.
    #[serde(default)]
    pub password: Option<Secret>,
    /// File with the password; read again when it changes.
    #[serde(default)]
    pub password_file: Option<PathBuf>,
}

/// Settings of a Kafka sink.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct KafkaSettings {
    /// Brokers to begin with, `host:port`; the others are found through them.
    #[schemars(length(min = 1))]
    pub brokers: Vec<String>,
    /// Topic of log records. It must exist.
    #[serde(default = "logs_topic")]
    pub logs_topic: String,
    /// Topic of events. It must exist.
    #[serde(default = "events_topic")]
    pub events_topic: String,
    /// How log records are spread over the partitions. Events have a key (wire contract §7.3).
    #[serde(default)]
    pub partitioning: Partitioning,
    /// Whether records carry `cim-epoch`, `cim-seq`, `cim-id` and the trace headers of their message.
    #[serde(default = "yes")]
    pub headers: bool,
    /// How record batches are compressed.
    #[serde(default)]
    pub compression: Compression,
    /// Largest record, key and headers included, at most 8,000,000 bytes. A larger one goes to the dead letters.
    #[serde(default = "max_message")]
    pub max_message: ByteSize,
    /// Without a connection to any broker for so long, deliveries fail instead of waiting: the status page says so, and
    /// `fallback_after` of the route begins to count. Nothing is given up by it.
    #[serde(default = "give_up_after")]
    pub give_up_after: Period,
    /// Encrypts the connections.
    #[serde(default)]
    pub tls: Option<TlsSettings>,
    /// Logs in at the brokers.
    #[serde(default)]
    pub sasl: Option<SaslSettings>,
    /// More properties of librdkafka, by its names.
    #[serde(default)]
    pub properties: BTreeMap<String, Value>,
}

fn logs_topic() -> String {
    "LOGS".to_owned()
}

fn events_topic() -> String {
    "EVENT".to_owned()
}

fn yes() -> bool {
    true
}

fn give_up_after() -> Period {
    Period::seconds(5)
}

fn max_message() -> ByteSize {
    ByteSize::bytes(1_200_000)
}

/// Largest `max_message`: the queue of the client takes no record beyond its own size, not even when it is empty.
const MOST_MAX_MESSAGE: u64 = 8_000_000;
/// How often the client library asks for the partitions of a topic, unless told otherwise.
const REFRESH_MS: u64 = 300_000;
/// How long a request may take, unless told otherwise.
const REQUEST_MS: u64 = 8_000;

impl KafkaSettings {
    /// How long the number of partitions of a topic is believed.
    pub(crate) fn refresh(&self) -> Duration {
        self.property_ms("topic.metadata.refresh.interval.ms", REFRESH_MS)
    }

    /// How long a delivery waits for a sign of life: longer than a request may take.
    pub(crate) fn answer_time(&self) -> Duration {
        self.property_ms("request.timeout.ms", REQUEST_MS) + Duration::from_secs(2)
    }

    fn property_ms(&self, name: &str, usual: u64) -> Duration {
        let asked = self.properties.get(name).and_then(|value| value.text().parse().ok());
        Duration::from_millis(asked.filter(|ms| *ms > 0).unwrap_or(usual))
    }

    /// Reads the table.
    ///
    /// # Errors
    /// [`Problem`] with an empty path when the table has another form.
    pub fn read(table: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
    }

    /// What the schema cannot say.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.brokers.is_empty() {
            problems
                .push(Problem::new("brokers", "is empty; name at least one broker, for example kafka:9092"));
        }
        for (index, broker) in self.brokers.iter().enumerate() {
            if let Err(message) = check_broker(broker) {
                problems.push(Problem::new(format!("brokers[{index}]"), message));
            }
        }
        for (key, topic) in [("logs_topic", &self.logs_topic), ("events_topic", &self.events_topic)] {
            if let Err(message) = check_topic(topic) {
                problems.push(Problem::new(key, message));
            }
        }
        if !(1_000..=MOST_MAX_MESSAGE).contains(&self.max_message.get()) {
            let range = format!(
                "must be from 1000B to {MOST_MAX_MESSAGE}B: the client holds 8 MiB, and a record has to fit in"
            );
            problems.push(Problem::new("max_message", range));
        }
        problems.extend(self.secret_problems());
        problems.extend(properties::problems(&self.properties));
        if problems.is_empty() {
            problems.extend(client_config::problems(self));
        }
        problems
    }

    fn secret_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if let Some(sasl) = &self.sasl {
            match (&sasl.password, &sasl.password_file) {
                (None, None) => problems.push(Problem::new("sasl", "needs `password_file` or `password`")),
                (Some(_), Some(_)) => problems.push(twice("sasl.password_file")),
                _ => {}
            }
            if sasl.username.is_empty() {
                problems.push(Problem::new("sasl.username", "must not be empty"));
            }
        }
        if let Some(tls) = &self.tls {
            if tls.certificate_file.is_some() != tls.key_file.is_some() {
                problems.push(Problem::new("tls", "`certificate_file` and `key_file` go together"));
            }
            if tls.key_password.is_some() && tls.key_password_file.is_some() {
                problems.push(twice("tls.key_password_file"));
            }
        }
        problems
    }
}

fn twice(path: &str) -> Problem {
    Problem::new(path, "is given a second time beside the value itself; keep the file")
}

/// `host:port`, `[address]:port`; a port is required because a missing one is nearly always a mistake.
fn check_broker(broker: &str) -> Result<(), String> {
    let form = || format!("`{broker}` is not a broker; write host:port, for example kafka:9092");
    let (host, port) = broker.rsplit_once(':').ok_or_else(form)?;
    let bracketed = host.starts_with('[') && host.ends_with(']');
    let plain = !host.is_empty() && !host.contains([':', '/', ',', ' ', '[', ']']);
    match port.parse::<u16>() {
        Ok(port) if port > 0 && (bracketed || plain) => Ok(()),
        _ => Err(form()),
    }
}

pub(crate) fn check_topic(topic: &str) -> Result<(), String> {
    let legal = topic.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    if topic.is_empty() || topic.len() > 249 || !legal || topic == "." || topic == ".." {
        return Err("a topic has letters, digits, `.`, `_` and `-`, at most 249".to_owned());
    }
    Ok(())
}
