//! A blocking NATS connection of the generator: connect, write, PING, count PONGs.
//!
//! Leaves out messages for subscribers (`subscriber.rs`) and what to do when the connection breaks (`producer.rs`).
//! Invariant: PONGs are counted in the order in which PINGs were written, and a server's PING is always answered.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use rustix::net::RecvFlags;

use crate::error::{BenchError, Result};

/// Longest time a peer may leave a write or an awaited PONG unanswered.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// An open connection whose CONNECT has been answered.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    inbox: Vec<u8>,
    outbox: Vec<u8>,
    pings: u64,
    pongs: u64,
}

impl Connection {
    /// Connects, reads INFO, sends CONNECT and waits for the first PONG.
    ///
    /// # Errors
    /// The peer is not there, is no NATS server, or refuses the connection.
    pub fn open(address: SocketAddr, name: &str) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(BenchError::io("connect"))?;
        stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(BenchError::io("set the read timeout"))?;
        stream.set_write_timeout(Some(PATIENCE)).map_err(BenchError::io("set the write timeout"))?;
        let mut connection = Self { stream, inbox: Vec::new(), outbox: Vec::new(), pings: 0, pongs: 0 };
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"tls_required\":false,\"name\":\"{name}\",\
             \"lang\":\"rust\",\"version\":\"{}\",\"protocol\":1,\"echo\":true}}\r\n",
            env!("CARGO_PKG_VERSION")
        );
        connection.write(hello.as_bytes())?;
        connection.ping()?;
        connection.wait_for_pongs()?;
        Ok(connection)
    }

    /// Writes all of `bytes`, waiting for space.
    ///
    /// # Errors
    /// The connection broke, or the peer read nothing for [`PATIENCE`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.stream.write_all(bytes).map_err(BenchError::io("write to the server"))
    }

    /// Sends a PING; its PONG is counted when it is read.
    ///
    /// # Errors
    /// The connection broke.
    pub fn ping(&mut self) -> Result<()> {
        self.pings = self.pings.saturating_add(1);
        self.write(b"PING\r\n")
    }

    /// Writes `bytes` and a PING in one call.
    ///
    /// # Errors
    /// The connection broke.
    pub fn write_with_ping(&mut self, bytes: &[u8]) -> Result<()> {
        self.outbox.clear();
        self.outbox.extend_from_slice(bytes);
        self.outbox.extend_from_slice(b"PING\r\n");
        self.pings = self.pings.saturating_add(1);
        self.stream.write_all(&self.outbox).map_err(BenchError::io("write to the server"))
    }

    /// PONGs read so far.
    #[must_use]
    pub fn pongs(&self) -> u64 {
        self.pongs
    }

    /// Reads until every PING has its PONG.
    ///
    /// # Errors
    /// The connection broke, a PONG did not come within [`PATIENCE`], or the server sent `-ERR`.
    pub fn wait_for_pongs(&mut self) -> Result<()> {
        let mut chunk = [0u8; 4096];
        while self.pongs < self.pings {
            let count = self.stream.read(&mut chunk).map_err(BenchError::io("wait for PONG"))?;
            self.take(chunk.get(..count).unwrap_or_default())?;
        }
        Ok(())
    }

    /// Reads what is there without waiting.
    ///
    /// # Errors
    /// The connection broke, or the server sent `-ERR`.
    pub fn poll(&mut self) -> Result<()> {
        let mut chunk = [0u8; 4096];
        loop {
            match rustix::net::recv(&self.stream, &mut chunk[..], RecvFlags::DONTWAIT) {
                Ok((_, count)) => self.take(chunk.get(..count).unwrap_or_default())?,
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(()),
                Err(error) => return Err(BenchError::io("read from the server")(error.into())),
            }
        }
    }

    /// Digests received bytes; none means end of stream.
    fn take(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            let end = io::Error::from(io::ErrorKind::UnexpectedEof);
            return Err(BenchError::io("read from the server")(end));
        }
        self.inbox.extend_from_slice(bytes);
        let mut used = 0usize;
        let mut answers = 0usize;
        while let Some(rest) = self.inbox.get(used..)
            && let Some(end) = memchr::memchr(b'\n', rest)
        {
            let line = rest.get(..end).unwrap_or_default().trim_ascii_end();
            match line {
                b"PONG" => self.pongs = self.pongs.saturating_add(1),
                b"PING" => answers = answers.saturating_add(1),
                _ if line.starts_with(b"INFO ") || line == b"+OK" => {}
                _ => return Err(BenchError::Protocol(String::from_utf8_lossy(line).into_owned())),
            }
            used = used.saturating_add(end).saturating_add(1);
        }
        self.inbox.drain(..used);
        for _ in 0..answers {
            self.write(b"PONG\r\n")?;
        }
        Ok(())
    }
}
