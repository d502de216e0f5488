//! `[nats.external]`: a NATS server that somebody else runs, as a further way in.
//!
//! Left out: connecting to it. The invariant: what stands here needs a build with `nats-external`, and says so without it.

use std::path::PathBuf;

use cim_core::Problem;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::listen::NatsAuth;
use super::{Credentials, path};

/// What the server allows in no name of a consumer.
const NOT_IN_NAMES: [char; 9] = ['.', '*', '>', '/', '\\', ' ', '\t', '\r', '\n'];
/// Where it stands.
const AT: &str = "nats.external";

/// `[nats.external]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ExternalNatsSettings {
    /// Its addresses, `nats://host:port` or `tls://host:port`; any of them will do. It may be away at the start and at any time.
    pub servers: Vec<String>,
    /// What CIM presents there: a token, or a user with a password.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<NatsAuth>,
    /// Credentials file with a JWT and the seed of its key, in the place of `auth`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials_file: Option<PathBuf>,
    /// PEM file of the authorities that may have signed the certificate of the server. Given: nothing but TLS.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// Subject of logs. Several pods on one server need subjects of their own.
    pub logs_subject: String,
    /// Subject of events.
    pub events_subject: String,
    /// Subject of the results of configuration changes.
    pub config_subject: String,
    /// Queue group of the subscriptions, when several share the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub queue_group: Option<String>,
    /// JetStream for logs and events: the server keeps a message until CIM has accepted it. Absent: plain subscriptions, which
    /// lose what is published while CIM is away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jetstream: Option<JetStreamSettings>,
    /// Messages of a plain subscription that may wait in memory; further ones are lost, and counted.
    #[schemars(range(min = 1, max = 1_000_000))]
    pub capacity: usize,
}

/// `[nats.external.jetstream]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct JetStreamSettings {
    /// Name of the stream that has the subjects of logs and events. CIM never makes one.
    pub stream: String,
    /// Beginning of the names of the durable consumers, `<consumer>-logs` and `<consumer>-events`; they are made when absent.
    /// Absent: `cim-<subject>`, with `_` for what is neither letter, digit nor `-`, so that pods with subjects of their own have
    /// consumers of their own. One that is there and hands out other subjects is not read, and `/readyz` says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub consumer: Option<String>,
}

impl Default for ExternalNatsSettings {
    fn default() -> Self {
        Self {
            servers: Vec::new(),
            auth: None,
            credentials_file: None,
            ca_file: None,
            logs_subject: "LOG".to_owned(),
            events_subject: "EVENT".to_owned(),
            config_subject: "CONFIG".to_owned(),
            queue_group: None,
            jetstream: None,
            capacity: 16_384,
        }
    }
}

impl ExternalNatsSettings {
    /// What of it does not fit together.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut complain = |key: &str, text: &str| problems.push(Problem::new(path::member(AT, key), text));
        if self.servers.is_empty() {
            complain("servers", "is required; write nats://host:port");
        }
        if self.jetstream.as_ref().is_some_and(|jetstream| jetstream.stream.is_empty()) {
            complain("jetstream.stream", "is required; name the stream that has the subjects");
        }
        let consumer = self.jetstream.as_ref().and_then(|jetstream| jetstream.consumer.as_deref());
        if consumer.is_some_and(|name| name.is_empty() || name.contains(NOT_IN_NAMES)) {
            complain(
                "jetstream.consumer",
                "is no name; write letters, digits, `-` and `_`, for example shop-demo-0",
            );
        }
        if self.auth.is_some() && self.credentials_file.is_some() {
            complain("credentials_file", "excludes `auth`; keep one of them");
        }
        let subjects = [
            ("logs_subject", &self.logs_subject),
            ("events_subject", &self.events_subject),
            ("config_subject", &self.config_subject),
        ];
        for (key, subject) in subjects {
            if subject.is_empty() || subject.split('.').any(str::is_empty) || subject.contains([' ', '\t']) {
                complain(key, "is no subject; write tokens with dots between them, for example shop.LOG");
            }
        }
        if let Some(Err(found)) = self.credentials() {
            problems.extend(found);
        }
        problems
    }

    /// What `auth` says, with its secrets read.
    #[must_use]
    pub fn credentials(&self) -> Option<Result<Credentials, Vec<Problem>>> {
        self.auth.as_ref().map(|auth| Credentials::load_at(&path::member(AT, "auth"), auth))
    }
}
