//! Opening the port: binding, and what the owner of a listener holds.
//!
//! Owns the listening sockets until the loop runs. Leaves out the loop (`event_loop`). Invariant: every address of the
//! configuration is bound, or was named optional and does not exist on this machine.

use crate::config::NatsConfig;
use crate::control::{ListenerControl, Shared};
use crate::event_loop::EventLoop;
use crate::intake::Intake;
use crate::stats::ListenerStats;
use mio::{Interest, Poll, Token, Waker};
use socket2::{Domain, Protocol, Socket, Type};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

/// Connections the kernel may queue for us.
const BACKLOG: i32 = 1024;
/// Token of the waker; listening sockets follow, then connections.
pub(crate) const WAKER: Token = Token(0);

/// Why the port could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// Mostly: the port is taken.
    #[error("cannot listen on {address}")]
    Address {
        /// The address of the configuration.
        address: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// Other pods could connect, without credentials or without the operator wanting it.
    #[error("will not listen on {address}: beyond loopback only when allowed and with credentials")]
    Exposed {
        /// The address of the configuration.
        address: SocketAddr,
    },
    /// No address at all.
    #[error("no address to listen on")]
    NoAddress,
    /// The system refused an event queue.
    #[error("cannot create an event queue")]
    Poll(#[source] io::Error),
}

/// An open port, not yet served.
#[derive(Debug)]
pub struct Listener {
    pub(crate) config: NatsConfig,
    pub(crate) poll: Poll,
    pub(crate) sockets: Vec<(mio::net::TcpListener, SocketAddr)>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) stats: Arc<ListenerStats>,
}

impl Listener {
    /// Opens every address of `config`.
    ///
    /// # Errors
    /// [`BindError`], naming the address.
    pub fn bind(config: NatsConfig) -> Result<Self, BindError> {
        let poll = Poll::new().map_err(BindError::Poll)?;
        let waker = Waker::new(poll.registry(), WAKER).map_err(BindError::Poll)?;
        let mut sockets = Vec::new();
        for address in config.listen.iter().copied() {
            let exposed = !address.ip().is_loopback();
            if exposed && (!config.allow_remote || config.auth.is_none()) {
                return Err(BindError::Exposed { address });
            }
            match open(address) {
                Ok(mut socket) => {
                    let bound = socket.local_addr().unwrap_or(address);
                    poll.registry()
                        .register(&mut socket, Token(1 + sockets.len()), Interest::READABLE)
                        .map_err(BindError::Poll)?;
                    sockets.push((socket, bound));
                }
                Err(error) if config.optional.contains(&address) && is_missing(&error) => {
                    tracing::info!(%address, %error, "not listening: no such address on this machine");
                }
                Err(source) => return Err(BindError::Address { address, source }),
            }
        }
        if sockets.is_empty() {
            return Err(BindError::NoAddress);
        }
        let shared = Arc::new(Shared::new(waker, config.max_payload));
        Ok(Self { config, poll, sockets, shared, stats: Arc::default() })
    }

    /// The addresses that are really bound, with the ports the system chose for port 0.
    #[must_use]
    pub fn local_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|(_, address)| *address).collect()
    }

    /// The counts, refreshed at the end of each turn of the loop.
    #[must_use]
    pub fn stats(&self) -> Arc<ListenerStats> {
        Arc::clone(&self.stats)
    }

    /// A control for other threads.
    #[must_use]
    pub fn control(&self) -> ListenerControl {
        ListenerControl { shared: Arc::clone(&self.shared) }
    }

    /// Serves on the calling thread until [`ListenerControl::close`].
    ///
    /// # Errors
    /// What the event queue of the system reports; the listener has ended then.
    pub fn run<I: Intake>(self, intake: I) -> io::Result<()> {
        EventLoop::new(self, intake).run()
    }
}

fn open(address: SocketAddr) -> io::Result<mio::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(mio::net::TcpListener::from_std(socket.into()))
}

fn is_missing(error: &io::Error) -> bool {
    const EAFNOSUPPORT: i32 = 97;
    error.kind() == io::ErrorKind::AddrNotAvailable || error.raw_os_error() == Some(EAFNOSUPPORT)
}
