//! The table `[configuration.etcd]`.
//!
//! Owns keys, defaults and what values mean. Left out: connecting. Invariant: a key that is not listed here is an error,
//! and settings without a problem name at least one endpoint.

use std::path::PathBuf;

use cim_core::Problem;
use cim_core::settings::{Period, Secret};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::endpoint::Endpoint;

/// Shortest time between two pings: servers end connections on which they come more often.
const SHORTEST_KEEP_ALIVE: Period = Period::seconds(5);

/// Settings of the source.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct EtcdSettings {
    /// The members of the cluster, as URLs (`http://`, `https://`) or `host:port`. One is used until it fails, then the
    /// next; where to begin is chosen by chance.
    pub endpoints: Vec<String>,
    /// User name. Absent: no authentication. The user has to be allowed to read the prefixes `change-set/` and `config/` of
    /// its microservice, and to read and write `commit-config/` and the keys of the status.
    pub user: Option<String>,
    /// The password of the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File with the password; read again for every connection.
    pub password_file: Option<PathBuf>,
    /// PEM file of the authorities that may have signed the certificates of the members. Needed with `https://`, read
    /// again for every connection, as are the other two.
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate that is shown to the members, with its chain. Needs `client_key_file`.
    pub client_cert_file: Option<PathBuf>,
    /// PEM file of the key of that certificate.
    pub client_key_file: Option<PathBuf>,
    /// Name that the certificates of the members must carry. Absent: the host of the endpoint.
    pub server_name: Option<String>,
    /// Longest wait for an answer.
    pub request_timeout: Period,
    /// How often a silent connection is tested by an HTTP/2 ping; one that is not answered within half that time ends the
    /// connection. At least 5s: servers take shorter times for an attack.
    pub keep_alive: Period,
}

impl Default for EtcdSettings {
    fn default() -> Self {
        Self {
            endpoints: Vec::new(),
            user: None,
            password: None,
            password_file: None,
            ca_file: None,
            client_cert_file: None,
            client_key_file: None,
            server_name: None,
            request_timeout: Period::seconds(5),
            keep_alive: Period::seconds(10),
        }
    }
}

impl EtcdSettings {
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
        let mut problems = self.members().err().unwrap_or_default();
        problems.extend(self.user_problems());
        match (&self.client_cert_file, &self.client_key_file) {
            (Some(_), None) => {
                problems.push(Problem::new("client_key_file", "is required with a certificate"))
            }
            (None, Some(_)) => problems.push(Problem::new("client_cert_file", "is required with a key")),
            _ => {}
        }
        if self.request_timeout.get().is_zero() {
            problems.push(Problem::new("request_timeout", "must be longer than 0s"));
        }
        if self.keep_alive < SHORTEST_KEEP_ALIVE {
            let message =
                format!("must be at least {SHORTEST_KEEP_ALIVE}: servers refuse more pings than that");
            problems.push(Problem::new("keep_alive", message));
        }
        problems
    }

    /// The endpoints.
    ///
    /// # Errors
    /// Every one that cannot be used.
    pub(crate) fn members(&self) -> Result<Vec<Endpoint>, Vec<Problem>> {
        let (mut members, mut problems) = (Vec::new(), Vec::new());
        for (at, text) in self.endpoints.iter().enumerate() {
            match Endpoint::read(text, self.ca_file.is_some()) {
                Ok(member) => members.push(member),
                Err(message) => problems.push(Problem::new(format!("endpoints[{at}]"), message)),
            }
        }
        if self.endpoints.is_empty() {
            problems
                .push(Problem::new("endpoints", "is required; write a list such as [\"http://etcd:2379\"]"));
        }
        if members.iter().any(Endpoint::is_secure) {
            if !cfg!(feature = "tls") {
                problems.push(Problem::new("endpoints", "`https://` needs a build with the feature `tls`"));
            } else if self.ca_file.is_none() {
                problems
                    .push(Problem::new("ca_file", "is required with `https://`: the authorities to trust"));
            }
        } else if self.ca_file.is_some() && problems.is_empty() {
            problems.push(Problem::new("ca_file", "has no effect on `http://`; write `https://` endpoints"));
        }
        if problems.is_empty() { Ok(members) } else { Err(problems) }
    }

    fn user_problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        match (&self.user, &self.password, &self.password_file) {
            (_, Some(_), Some(_)) => {
                problems.push(Problem::new("password_file", "excludes `password`; leave one out"))
            }
            (Some(_), None, None) => {
                problems.push(Problem::new("user", "needs `password_file` or `password`"))
            }
            (None, Some(_), _) | (None, _, Some(_)) => {
                problems.push(Problem::new("user", "is required with a password"));
            }
            _ => {}
        }
        problems
    }
}
