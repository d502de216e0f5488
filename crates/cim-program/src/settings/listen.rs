//! The sections about sockets: `[nats]`, `[api]`, `[health]`.
//!
//! Left out: opening them. The invariant: an address here is one that can be listened on, never a name to resolve.

use std::borrow::Cow;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

use super::external_nats::ExternalNatsSettings;
use cim_core::settings::Secret;

/// One address, or several.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Addresses {
    /// One address with its port, for example `127.0.0.1:4222`.
    One(SocketAddr),
    /// Several addresses.
    Many(Vec<SocketAddr>),
}

impl JsonSchema for Addresses {
    fn schema_name() -> Cow<'static, str> {
        "Addresses".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let address = json_schema!({ "type": "string", "format": "listen-address" });
        json_schema!({
            "description": "An address with its port, or a list of them.",
            "anyOf": [address, { "type": "array", "items": address, "minItems": 1 }],
        })
    }
}

impl Addresses {
    /// The addresses in order.
    #[must_use]
    pub fn list(&self) -> &[SocketAddr] {
        match self {
            Self::One(address) => std::slice::from_ref(address),
            Self::Many(addresses) => addresses,
        }
    }

    /// The addresses that may be missing on this host: without IPv6, that of IPv4 with the same port is enough.
    #[must_use]
    pub fn spare(&self) -> Vec<SocketAddr> {
        let for_the_same = |ip: Ipv6Addr| match ip {
            Ipv6Addr::LOCALHOST => Some(Ipv4Addr::LOCALHOST),
            Ipv6Addr::UNSPECIFIED => Some(Ipv4Addr::UNSPECIFIED),
            _ => None,
        };
        let is_spare = |address: &&SocketAddr| {
            let IpAddr::V6(ip) = address.ip() else { return false };
            for_the_same(ip).is_some_and(|ip| self.list().contains(&(ip, address.port()).into()))
        };
        self.list().iter().filter(is_spare).copied().collect()
    }

    /// That port on both loopback addresses.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self::Many(vec![(Ipv4Addr::LOCALHOST, port).into(), (Ipv6Addr::LOCALHOST, port).into()])
    }
}

/// Where something that listens on all addresses is reached from here.
#[must_use]
pub fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// `[nats]`: the listener in the pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NatsSettings {
    /// Where applications connect. Other than loopback needs `auth`. Needs a restart to change.
    pub listen: Addresses,
    /// What clients must present. Absent: nothing, which is safe on loopback only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auth: Option<NatsAuth>,
    /// Most connections at the same time; further ones are refused.
    #[schemars(range(min = 1, max = 65_536))]
    pub max_connections: usize,
    /// Whether clients that ask for message headers get them.
    pub headers: bool,
    /// Take nothing but FlatBuffers on LOG and EVENT: text and JSON are refused and counted. Needs a restart to change.
    pub flatbuffers_only: bool,
    /// A NATS server that somebody else runs, as a further way in. Needs a restart to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalNatsSettings>,
}

impl Default for NatsSettings {
    fn default() -> Self {
        Self {
            listen: Addresses::loopback(4222),
            auth: None,
            max_connections: 1024,
            headers: true,
            flatbuffers_only: false,
            external: None,
        }
    }
}

/// `[nats.auth]`: either a token, or a user with a password. Each secret also as a file that is read at load and
/// again when it changes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct NatsAuth {
    /// The token itself. Prefer `token_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<Secret>,
    /// File that holds the token; white space around it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// The user name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The password of `user`. Prefer `password_file`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password: Option<Secret>,
    /// File that holds the password of `user`; white space around it is ignored.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub password_file: Option<PathBuf>,
}

/// `[api]`: status, health and metrics for this node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ApiSettings {
    /// Where the HTTP server listens. Other than loopback needs `paths = "contract"`, because `/statusz` is open to whoever
    /// reaches it. Needs a restart to change.
    pub listen: Addresses,
    /// Which paths it serves. Needs a restart to change.
    pub paths: ApiPaths,
    /// A socket in the file system that serves everything, for the user of the process only (mode 0600) and without a token.
    /// Absent: none. Needs a restart to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<PathBuf>,
    /// File that holds the bearer token; white space around it is ignored. With it every path but `/livez`, `/readyz` and
    /// those of metrics is 401 without the token. A changed file counts at once. Absent: no token is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_file: Option<PathBuf>,
    /// Requests in a second, over all connections of a listener; twice as many at once. More are 429. `/livez` and `/readyz` do
    /// not count.
    #[schemars(range(min = 1, max = 100_000))]
    pub max_requests_per_second: u32,
    /// TLS on the same port, beside HTTP in the clear. Absent: none. Needs a restart to change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tls: Option<ApiTls>,
}

/// Which paths the API serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ApiPaths {
    /// Everything.
    #[default]
    Full,
    /// Those that applications and scrapers of the original use (wire contract §6): safe on the address of the pod.
    Contract,
}

impl Default for ApiSettings {
    fn default() -> Self {
        Self {
            listen: Addresses::loopback(6060),
            paths: ApiPaths::default(),
            socket: None,
            token_file: None,
            max_requests_per_second: 500,
            tls: None,
        }
    }
}

/// `[api.tls]`: the certificate of the HTTP server. Changed files count for the next connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiTls {
    /// PEM file with the certificate, then its chain.
    pub certificate_file: PathBuf,
    /// PEM file with the private key of that certificate.
    pub key_file: PathBuf,
}

/// `[health]`: a second HTTP server with `/livez`, `/readyz`, `/metrics` and `/metrics/aligned` only; it may listen on any address.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct HealthSettings {
    /// Address, for example `0.0.0.0:6061`. Absent: no second server. Needs a restart to change.
    #[schemars(extend("format" = "listen-address"))]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen: Option<SocketAddr>,
}
