//! What an intake from an external server needs to know.
//!
//! Left out: reading it from files. Invariant: secrets show in no message.

use std::fmt;
use std::path::PathBuf;

/// How CIM tells the server who it is.
#[derive(Clone, Default)]
pub enum Credentials {
    /// Not at all.
    #[default]
    None,
    /// By a token.
    Token(String),
    /// By name and password.
    User {
        /// The name.
        name: String,
        /// The password.
        password: String,
    },
    /// By a credentials file with a JWT and the seed of its key; it is read whenever CIM connects.
    File(PathBuf),
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::None => "None",
            Self::Token(_) => "Token",
            Self::User { .. } => "User",
            Self::File(_) => "File",
        })
    }
}

/// The subjects that applications publish on; several pods on one server have subjects of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subjects {
    /// Logs.
    pub logs: String,
    /// Events.
    pub events: String,
    /// Results of configuration changes.
    pub config: String,
}

impl Default for Subjects {
    fn default() -> Self {
        Self { logs: "LOG".to_owned(), events: "EVENT".to_owned(), config: "CONFIG".to_owned() }
    }
}

/// Where logs and events are kept by the server until CIM has accepted them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Durable {
    /// Name of the stream that has the subjects of logs and events.
    pub stream: String,
    /// Beginning of the names of the durable consumers: `shop` makes `shop-logs` and `shop-events`. Absent: by the subjects,
    /// `cim-LOG` and `cim-EVENT`.
    pub consumer: Option<String>,
}

impl Durable {
    /// Name of the consumer of a subject. Pods that share a stream have subjects of their own, and so consumers of their own;
    /// what a name may not hold is an underscore in it.
    pub(crate) fn name(&self, part: &str, subject: &str) -> String {
        let own = || {
            let letter = |c: char| if c.is_ascii_alphanumeric() || c == '-' { c } else { '_' };
            format!("cim-{}", subject.chars().map(letter).collect::<String>())
        };
        self.consumer.as_ref().map_or_else(own, |beginning| format!("{beginning}-{part}"))
    }
}

/// An intake from an external server.
#[derive(Debug, Clone, Default)]
pub struct ExternalConfig {
    /// Its addresses, `nats://host:port`; any of them will do.
    pub servers: Vec<String>,
    /// How CIM tells who it is.
    pub credentials: Credentials,
    /// PEM file of the authorities that may have signed the certificate of the server. Given: nothing but TLS.
    pub ca_file: Option<PathBuf>,
    /// The subjects.
    pub subjects: Subjects,
    /// Queue group of the subscriptions, when several share the work.
    pub queue_group: Option<String>,
    /// JetStream in the place of plain subscriptions for logs and events.
    pub durable: Option<Durable>,
    /// Messages of a plain subscription that wait in memory; further ones are lost, and counted.
    pub capacity: usize,
}

#[cfg(test)]
mod tests {
    use super::Durable;

    #[test]
    fn a_consumer_is_named_by_its_subject_unless_a_name_is_given() {
        let name = |consumer: Option<&str>, subject| {
            Durable { stream: "PODS".to_owned(), consumer: consumer.map(str::to_owned) }.name("logs", subject)
        };
        assert_eq!(name(None, "LOG"), "cim-LOG");
        assert_eq!(name(None, "shop.demo-0.*.>"), "cim-shop_demo-0____");
        assert_eq!(name(Some("shop"), "LOG"), "shop-logs");
    }
}
