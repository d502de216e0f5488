//! The listening sockets: TCP ports, and a socket in the file system.
//!
//! Left out: what to advise when a port is taken, which the program knows. A socket from here is non-blocking, an IPv6
//! one never takes the IPv4 port of the same number, and one in the file system is for its owner only.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use thiserror::Error;

use crate::idle::IdleStream;
use crate::security::AnyStream;

/// Connections the kernel holds before they are accepted, as many as the NATS listener has. When they are too few, the
/// kernel drops what comes behind a burst, and a probe then comes a second later.
const BACKLOG: i32 = 1024;

/// A listening socket could not be opened.
#[derive(Debug, Error)]
#[error("cannot listen on {address}")]
pub struct BindError {
    /// The address asked for.
    pub address: SocketAddr,
    /// What the system said.
    #[source]
    pub source: io::Error,
}

/// Opens a listening socket. Port 0 takes any free port.
///
/// # Errors
/// [`BindError`] with the address: taken, not an address of this host, or not allowed.
pub fn bind(address: SocketAddr) -> Result<TcpListener, BindError> {
    open(address).map_err(|source| BindError { address, source })
}

fn open(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Opens a socket in the file system, for the owner of the process only (mode 0600). One that nobody listens on any more
/// is replaced.
///
/// # Errors
/// Somebody listens on it, something else is in its place, or the directory does not take it.
pub fn bind_socket(path: &Path) -> io::Result<UnixListener> {
    let taken = |what: &str| io::Error::new(io::ErrorKind::AddrInUse, what);
    match std::fs::symlink_metadata(path) {
        Ok(found) if !found.file_type().is_socket() => {
            return Err(taken("something that is no socket is there"));
        }
        Ok(_) if std::os::unix::net::UnixStream::connect(path).is_ok() => {
            return Err(taken("another program listens there"));
        }
        Ok(_) => std::fs::remove_file(path)?,
        Err(_) => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// Something to accept connections from.
#[derive(Debug)]
pub enum Listener {
    /// A port.
    Tcp(TcpListener),
    /// A socket in the file system.
    Socket(UnixListener),
}

impl Listener {
    /// Another handle of the same one.
    ///
    /// # Errors
    /// No file descriptor is left.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(listener) => Self::Tcp(listener.try_clone()?),
            Self::Socket(listener) => Self::Socket(listener.try_clone()?),
        })
    }

    /// Hands it to the runtime.
    pub(crate) fn begin(self) -> io::Result<Accepting> {
        Ok(match self {
            Self::Tcp(listener) => Accepting::Tcp(tokio::net::TcpListener::from_std(listener)?),
            Self::Socket(listener) => Accepting::Socket(tokio::net::UnixListener::from_std(listener)?),
        })
    }
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Self {
        Self::Tcp(listener)
    }
}

impl From<UnixListener> for Listener {
    fn from(listener: UnixListener) -> Self {
        Self::Socket(listener)
    }
}

/// Where clients come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Doorway {
    /// Over the network, be it the loopback one.
    Network,
    /// Through the file system, which asked who they are.
    FileSystem,
}

/// A listener of the runtime.
pub(crate) enum Accepting {
    Tcp(tokio::net::TcpListener),
    Socket(tokio::net::UnixListener),
}

impl Accepting {
    pub(crate) fn way(&self) -> Doorway {
        match self {
            Self::Tcp(_) => Doorway::Network,
            Self::Socket(_) => Doorway::FileSystem,
        }
    }

    /// The next connection; one without progress for `idle_time` fails.
    ///
    /// # Cancel safety
    /// May be dropped and called again; no connection is lost.
    pub(crate) async fn accept(&self, idle_time: Duration) -> io::Result<AnyStream> {
        Ok(match self {
            Self::Tcp(listener) => {
                let (stream, _) = listener.accept().await?;
                let _ = stream.set_nodelay(true);
                Box::new(IdleStream::new(stream, idle_time))
            }
            Self::Socket(listener) => Box::new(IdleStream::new(listener.accept().await?.0, idle_time)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_for_its_owner_and_a_left_over_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("api.sock");
        let first = bind_socket(&path).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(bind_socket(&path).unwrap_err().to_string(), "another program listens there");
        drop(first);
        drop(bind_socket(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, "mine").unwrap();
        assert_eq!(bind_socket(&path).unwrap_err().to_string(), "something that is no socket is there");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_taken_port_names_the_address() {
        let first = bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = first.local_addr().unwrap();
        let error = bind(address).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot listen on {address}"));
        assert_eq!(error.source.kind(), io::ErrorKind::AddrInUse);
    }
}
