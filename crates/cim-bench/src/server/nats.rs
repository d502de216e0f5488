//! `nats-server`, the yardstick: default settings, one port on 127.0.0.1.

use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};

use super::child::Child;
use super::ports::free_port;
use crate::error::Result;
use crate::http::poll_until;

/// A running `nats-server`.
#[derive(Debug)]
pub struct NatsServer {
    /// Its process.
    pub child: Child,
    /// Its listener.
    pub address: SocketAddr,
}

impl NatsServer {
    /// Starts it and waits until it accepts connections.
    ///
    /// # Errors
    /// It cannot be started or does not listen within 10 s.
    pub fn start(binary: &Path) -> Result<Self> {
        let mut server = Self::launch(binary)?;
        poll_until("nats-server listening", || {
            server.child.has_ended() || TcpStream::connect(server.address).is_ok()
        })?;
        Ok(server)
    }

    /// Starts it without waiting.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(binary: &Path) -> Result<Self> {
        let address = free_port()?;
        let mut command = Command::new(binary);
        command.args(["-a", "127.0.0.1", "-p", &address.port().to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { child: Child::start("nats-server", &mut command)?, address })
    }
}
