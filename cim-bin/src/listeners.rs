//! Opens the ports of the process, before anything slower happens.
//!
//! Left out: serving them. The invariant: a port that cannot be opened ends the start with a text that names the
//! address, the key that sets it, and what to do.

use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::net::UnixListener;
use std::path::Path;

use cim_nats::{Auth, Listener, NatsConfig, Secret};

use crate::exit::{Failure, chain};
use crate::limits;
use crate::settings::{Credentials, Loaded, NatsSettings};

/// The open ports.
#[derive(Debug)]
pub struct Listeners {
    /// Applications connect here.
    pub nats: Listener,
    /// Status, health, metrics.
    pub api: TcpListener,
    /// The same as a socket in the file system.
    pub socket: Option<UnixListener>,
    /// Health and metrics for other hosts.
    pub health: Option<TcpListener>,
}

/// Opens every port.
///
/// # Errors
/// [`Failure`] with code 2.
pub fn open(loaded: &Loaded) -> Result<Listeners, Failure> {
    let settings = &loaded.settings;
    let nats = Listener::bind(nats(&settings.nats, loaded.credentials.as_ref()));
    let nats = nats.map_err(|error| Failure::cannot_start(advice(chain(&error), "nats.listen")))?;
    let http = |address: SocketAddr, key| {
        cim_api::bind(address).map_err(|error| Failure::cannot_start(advice(chain(&error), key)))
    };
    let api = http(settings.api.listen, "api.listen")?;
    let health = settings.health.listen.map(|address| http(address, "health.listen")).transpose()?;
    let socket = settings.api.socket.as_deref().map(socket).transpose()?;
    Ok(Listeners { nats, api, socket, health })
}

fn socket(path: &Path) -> Result<UnixListener, Failure> {
    cim_api::bind_socket(path).map_err(|error| {
        Failure::cannot_start(format!(
            "cannot listen on {}: {error}\n  the directory must be there and belong to the user of cim; \
             set `socket` in [api], or CIM__API__SOCKET, to another path",
            path.display()
        ))
    })
}

fn advice(what: String, key: &str) -> String {
    let (section, name) = key.split_once('.').unwrap_or((key, ""));
    let variable = format!("CIM__{}__{}", section.to_ascii_uppercase(), name.to_ascii_uppercase());
    format!(
        "{what}\n  if another program has this port (perhaps another cim), stop it; \
         or set `{name}` in [{section}], or {variable}, to another address"
    )
}

fn nats(settings: &NatsSettings, credentials: Option<&Credentials>) -> NatsConfig {
    let listen = settings.listen.list().to_vec();
    // A host without IPv6 is no reason to fail as long as IPv4 listens on the same port.
    let spare = |address: &&SocketAddr| {
        address.ip() == IpAddr::V6(Ipv6Addr::LOCALHOST)
            && listen.iter().any(|other| other.is_ipv4() && other.port() == address.port())
    };
    let optional = listen.iter().filter(spare).copied().collect();
    let secret = |secret: &crate::settings::Secret| Secret::new(secret.reveal());
    let auth = credentials.map(|credentials| match credentials {
        Credentials::Token(token) => Auth::Token(secret(token)),
        Credentials::User { name, password } => {
            Auth::User { user: Secret::new(name.as_str()), password: secret(password) }
        }
    });
    NatsConfig {
        allow_remote: auth.is_some(),
        listen,
        optional,
        auth,
        max_connections: limits::connections(settings.max_connections),
        headers: settings.headers,
        ..NatsConfig::default()
    }
}
