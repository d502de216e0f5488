//! The table `[sinks.x]` of a TCP sink.
//!
//! Owns keys, defaults and what values mean. Left out: connecting. Invariant: a key that is not listed here is an
//! error, and settings without a problem name at least one address.

use std::path::PathBuf;

use cim_core::settings::Period;
use cim_core::{LogFormat, PeerQuery, Problem};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::address::Address;

/// How records are told apart on the connection.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub enum Framing {
    /// One JSON object per line (wire contract §8.2).
    Json,
    /// The payload and a newline. Newlines inside a payload stay: the receiver sees more than one line.
    Text,
    /// Fluentd Forward protocol with acknowledged chunks.
    Forward,
}

impl Framing {
    fn name(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Text => "text",
            Self::Forward => "forward",
        }
    }
}

/// TLS towards the receiver. Its certificate is always verified. The files are read for every connection.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TlsSettings {
    /// PEM file of the authorities that may have signed the receiver's certificate.
    pub ca_file: PathBuf,
    /// Name that the receiver's certificate must carry. Absent: the host of the address.
    pub server_name: Option<String>,
    /// PEM file of the certificate that is shown to the receiver, with its chain. Needs `client_key_file`.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    pub client_key_file: Option<PathBuf>,
}

/// The log agent of the own node, found by what runs the pod (wire contract §8.4).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct NodeAgentSettings {
    /// Label selector of its pods, in any namespace.
    pub selector: String,
    /// The port it listens on.
    pub port: u16,
}

impl Default for NodeAgentSettings {
    fn default() -> Self {
        Self { selector: "k8s-app=fluent-bit".to_owned(), port: 5170 }
    }
}

impl NodeAgentSettings {
    /// The question for it.
    pub(crate) fn query(&self) -> PeerQuery {
        PeerQuery::NodeAgent { selector: self.selector.clone(), port: self.port }
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.selector.trim().is_empty() {
            let text =
                "must not be empty: every pod of the node would be one; for example k8s-app=fluent-bit";
            problems.push(Problem::new("node_agent.selector", text));
        }
        if self.port == 0 {
            problems.push(Problem::new("node_agent.port", "must be from 1 to 65535"));
        }
        problems
    }
}

/// Settings of a TCP sink.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct TcpSettings {
    /// The receiver, `host:port`. Every IP address of a name is tried.
    pub address: Option<String>,
    /// Several receivers instead of one; the first that accepts gets everything until its connection breaks.
    pub addresses: Vec<String>,
    /// The log agent of the own node, `{ selector, port }`, asked for whenever a connection is made; needs an orchestrator that
    /// knows nodes. The addresses, if there are any, are tried after it.
    pub node_agent: Option<NodeAgentSettings>,
    /// Form of the records. Absent: JSON or text lines, as the route's `format` says. Events are JSON in any case.
    pub framing: Option<Framing>,
    /// Longest wait for one IP address to accept a connection.
    pub connect_timeout: Period,
    /// A receiver that takes nothing for that long is given up; what it has not taken is sent again.
    pub stall_timeout: Period,
    /// Longest wait for the acknowledgement of a chunk (framing `forward`).
    pub ack_timeout: Period,
    /// Start of the tag (framing `forward`): `cim` makes `cim.logs` and `cim.events`.
    pub tag: String,
    /// TLS towards the receiver. Absent: plain TCP.
    pub tls: Option<TlsSettings>,
}

impl Default for TcpSettings {
    fn default() -> Self {
        Self {
            address: None,
            addresses: Vec::new(),
            node_agent: None,
            framing: None,
            connect_timeout: Period::seconds(1),
            stall_timeout: Period::seconds(6),
            ack_timeout: Period::seconds(30),
            tag: "cim".to_owned(),
            tls: None,
        }
    }
}

impl TcpSettings {
    /// Reads the table.
    ///
    /// # Errors
    /// [`Problem`] with an empty path when the table has another form.
    pub fn read(table: &serde_json::Value) -> Result<Self, Problem> {
        Self::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
    }

    /// The receivers that are named, in the order in which they are tried.
    ///
    /// # Errors
    /// Every address that is none, and too few or too many of them.
    pub fn receivers(&self) -> Result<Vec<Address>, Vec<Problem>> {
        let one = self.address.iter().map(|text| ("address".to_owned(), text));
        let list = self.addresses.iter().enumerate().map(|(at, text)| (format!("addresses[{at}]"), text));
        let (mut receivers, mut problems) = (Vec::new(), Vec::new());
        for (path, text) in one.chain(list) {
            match text.parse() {
                Ok(receiver) => receivers.push(receiver),
                Err(message) => problems.push(Problem::new(path, message)),
            }
        }
        if self.address.is_some() && !self.addresses.is_empty() {
            problems.push(Problem::new("addresses", "excludes `address`; put every receiver into the list"));
        }
        if receivers.is_empty() && problems.is_empty() && self.node_agent.is_none() {
            problems.push(Problem::new("address", "is required; write host:port"));
        }
        if problems.is_empty() { Ok(receivers) } else { Err(problems) }
    }

    /// What the schema cannot say.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.receivers().err().unwrap_or_default();
        for (key, time) in [
            ("connect_timeout", self.connect_timeout),
            ("stall_timeout", self.stall_timeout),
            ("ack_timeout", self.ack_timeout),
        ] {
            if time.get().is_zero() {
                problems.push(Problem::new(key, "must be longer than 0s"));
            }
        }
        if self.tag.is_empty() {
            problems.push(Problem::new("tag", "must not be empty"));
        }
        problems.extend(self.node_agent.iter().flat_map(NodeAgentSettings::problems));
        problems.extend(self.tls.iter().flat_map(TlsSettings::problems));
        problems
    }

    /// The framing on a route with that format. `framing` wins over the default format; a route that asks for text
    /// and a framing that carries JSON exclude each other.
    ///
    /// # Errors
    /// [`Problem`] when the two contradict each other.
    pub fn framing_for(&self, format: LogFormat) -> Result<Framing, Problem> {
        match (self.framing, format) {
            (None, LogFormat::Json) => Ok(Framing::Json),
            (None | Some(Framing::Text), LogFormat::Text) => Ok(Framing::Text),
            (Some(framing), LogFormat::Json) => Ok(framing),
            (Some(framing), LogFormat::Text) => {
                let framing = framing.name();
                let message = format!(
                    "`{framing}` contradicts `format = \"text\"` of the log route; leave one of the two out"
                );
                Err(Problem::new("framing", message))
            }
        }
    }
}

impl TlsSettings {
    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.ca_file.as_os_str().is_empty() {
            problems.push(Problem::new("tls.ca_file", "is required: the authorities to trust"));
        }
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(_), None) => {
                problems.push(Problem::new("tls.client_key_file", "is required with a certificate"))
            }
            (None, Some(_)) => problems.push(Problem::new("tls.client_cert_file", "is required with a key")),
            _ => {}
        }
        problems
    }
}
