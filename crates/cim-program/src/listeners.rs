//! Opens the ports of the process, before anything slower happens.
//!
//! Left out: serving them. The invariant: a port that cannot be opened ends the start with a text that names the
//! address, the key that sets it, and what to do.

use std::io::ErrorKind;
use std::net::TcpListener;
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
    pub api: Vec<TcpListener>,
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
    let taken = |error: &cim_api::BindError, key| Failure::cannot_start(advice(chain(error), key));
    let spare = settings.api.listen.spare();
    let mut api = Vec::new();
    for address in settings.api.listen.list() {
        match cim_api::bind(*address) {
            Ok(listener) => api.push(listener),
            Err(error) if spare.contains(address) && is_missing(&error.source) => {}
            Err(error) => return Err(taken(&error, "api.listen")),
        }
    }
    let health = settings.health.listen.map(cim_api::bind).transpose();
    let health = health.map_err(|error| taken(&error, "health.listen"))?;
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

/// Whether a host has no such address at all.
fn is_missing(error: &std::io::Error) -> bool {
    error.kind() == ErrorKind::AddrNotAvailable
        || error.kind() == ErrorKind::Unsupported
        || error.raw_os_error() == Some(rustix::io::Errno::AFNOSUPPORT.raw_os_error())
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
    let secret = |secret: &crate::settings::Secret| Secret::new(secret.reveal());
    let auth = credentials.map(|credentials| match credentials {
        Credentials::Token(token) => Auth::Token(secret(token)),
        Credentials::User { name, password } => {
            Auth::User { user: Secret::new(name.as_str()), password: secret(password) }
        }
    });
    NatsConfig {
        allow_remote: auth.is_some(),
        listen: settings.listen.list().to_vec(),
        optional: settings.listen.spare(),
        auth,
        max_connections: limits::connections(settings.max_connections),
        headers: settings.headers,
        ..NatsConfig::default()
    }
}
