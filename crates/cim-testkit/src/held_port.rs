//! A port where nobody listens.
//!
//! Owns the port, so that nobody else gets it. Left out: who listens there in between: whoever does so by an address of his
//! choice is let in. The invariant: connections are refused while nobody listens.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// A port that is kept until this is dropped.
#[derive(Debug)]
pub struct HeldPort {
    /// Bound, and never listening.
    _socket: Socket,
    address: SocketAddr,
}

impl HeldPort {
    /// Takes a free one of 127.0.0.1.
    ///
    /// # Errors
    /// The system gives none.
    pub fn new() -> io::Result<Self> {
        Self::at((Ipv4Addr::LOCALHOST, 0).into())
    }

    /// Takes that one.
    ///
    /// # Errors
    /// It is not free.
    pub fn at(address: SocketAddr) -> io::Result<Self> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        // Without this mark on both, nobody could listen there; listeners of the standard library have it.
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        let no_address = || io::Error::other("the system gave the socket no internet address");
        let address = socket.local_addr()?.as_socket().ok_or_else(no_address)?;
        Ok(Self { _socket: socket, address })
    }

    /// Where nobody listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn connections_are_refused_and_a_listener_may_come_and_go() {
        let port = HeldPort::new().unwrap();
        for _ in 0..3 {
            let refused = TcpStream::connect(port.address()).unwrap_err();
            assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
            let listener = TcpListener::bind(port.address()).unwrap();
            let client = TcpStream::connect(port.address()).unwrap();
            let (server, _) = listener.accept().unwrap();
            drop((listener, client, server));
        }
    }
}
