//! Settings of the listener.
//!
//! Owns defaults and the rule that only loopback is listened on without credentials. Leaves out where settings come
//! from. Invariant: the defaults are safe in any pod.

use crate::auth::Auth;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

/// What the listener does; every field has a default.
#[derive(Debug, Clone)]
pub struct NatsConfig {
    /// Addresses to listen on. Default `127.0.0.1:4222` and `[::1]:4222`.
    pub listen: Vec<SocketAddr>,
    /// Addresses of [`listen`](Self::listen) that may be missing on this machine (no IPv6) without being an error.
    /// Default `[::1]:4222`.
    pub optional: Vec<SocketAddr>,
    /// Addresses other than loopback are refused unless this is set and [`auth`](Self::auth) is too. Default false.
    pub allow_remote: bool,
    /// Credentials every client must show. Default none.
    pub auth: Option<Auth>,
    /// Connections at the same time; further ones are closed at once and counted. Default 1,024.
    pub max_connections: usize,
    /// Subscriptions per connection. Default 65,536.
    pub max_subscriptions: usize,
    /// Announce and accept message headers. Default true; off where old clients cannot bear the member in INFO.
    pub headers: bool,
    /// Largest payload, headers included, in bytes. Default 1,048,576.
    pub max_payload: usize,
    /// `server_name` in INFO; the random server id when empty.
    pub server_name: String,
    /// `version` in INFO: the nats-server whose behaviour clients may expect. Default `2.1.4`.
    pub version: String,
    /// Output waiting for one client, in bytes, before it is cut; the memory budget may cut earlier. Default 64 MiB.
    pub max_pending: usize,
    /// A client with output waiting that takes none of it for this long is cut. Default 2 s.
    pub write_deadline: Duration,
    /// Time for CONNECT when credentials are demanded. Default 2 s.
    pub auth_timeout: Duration,
    /// First PING of the server after accept. Default 2 s.
    pub first_ping: Duration,
    /// Distance of later PINGs. Default 2 min.
    pub ping_interval: Duration,
    /// Unanswered PINGs after which a connection is closed. Default 2.
    pub max_pings_out: u32,
    /// While a class is full under policy `block`: time between small reads of a publisher. Default 10 s.
    pub sip_interval: Duration,
    /// While a class is full under policy `block`: a publisher is closed after this long. Also the time after which
    /// a started payload without memory for its rest is given up. Default 20 s.
    pub hold_limit: Duration,
    /// How long [`close`](crate::ListenerControl::close) waits for acceptance and for clients to read. Default 2 s.
    pub close_deadline: Duration,
}

/// The port of NATS.
pub const DEFAULT_PORT: u16 = 4222;

impl Default for NatsConfig {
    fn default() -> Self {
        let v4 = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), DEFAULT_PORT);
        let v6 = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), DEFAULT_PORT);
        Self {
            listen: vec![v4, v6],
            optional: vec![v6],
            allow_remote: false,
            auth: None,
            max_connections: 1_024,
            max_subscriptions: 65_536,
            headers: true,
            max_payload: 1_048_576,
            server_name: String::new(),
            version: "2.1.4".to_owned(),
            max_pending: 64 << 20,
            write_deadline: Duration::from_secs(2),
            auth_timeout: Duration::from_secs(2),
            first_ping: Duration::from_secs(2),
            ping_interval: Duration::from_secs(120),
            max_pings_out: 2,
            sip_interval: Duration::from_secs(10),
            hold_limit: Duration::from_secs(20),
            close_deadline: Duration::from_secs(2),
        }
    }
}
