//! A raw NATS connection, for tests that decide every byte.
//!
//! Left out: what is published. Invariant: what may fail with the program under test has a form that says so; the others fail
//! the test.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::PATIENCE;

const PING: &[u8] = b"PING\r\n";

/// A raw NATS connection.
pub struct Wire {
    stream: TcpStream,
}

impl Wire {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        Self::try_connect(address).unwrap()
    }

    /// Connects and says CONNECT.
    ///
    /// # Errors
    /// Nobody listens, or the connection ends.
    pub fn try_connect(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut wire = Self { stream };
        wire.try_line()?;
        wire.stream.write_all(b"CONNECT {\"verbose\":false,\"name\":\"wire\"}\r\n")?;
        wire.try_flush()?;
        Ok(wire)
    }

    /// Writes bytes as they are.
    pub fn send(&mut self, bytes: &[u8]) {
        self.try_send(bytes).unwrap();
    }

    /// As [`Wire::send`].
    ///
    /// # Errors
    /// The connection has ended.
    pub fn try_send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Publishes one message.
    pub fn publish(&mut self, subject: &str, payload: &[u8]) {
        self.send(&publication(subject, payload));
    }

    /// Whether nothing arrives for that long. Answers a PING of the other side meanwhile.
    pub fn silent_for(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            // Only that PING is taken: what else has arrived stays unread.
            let mut next = [0; PING.len()];
            let arrived = self.stream.peek(&mut next);
            self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
            if let Ok(count) = arrived {
                if next[..count] != *PING {
                    return false;
                }
                self.stream.read_exact(&mut next).unwrap();
                self.send(b"PONG\r\n");
            }
        }
    }

    /// Sends PING and waits for PONG: everything before it is accepted. Answers a PING of the other side meanwhile.
    pub fn flush(&mut self) {
        self.try_flush().unwrap();
    }

    /// As [`Wire::flush`].
    ///
    /// # Errors
    /// The connection has ended, or no PONG came in time: nothing is known of the messages before.
    pub fn try_flush(&mut self) -> io::Result<()> {
        self.try_send(b"PING\r\n")?;
        self.try_pong()
    }

    /// Waits for a PONG, as [`Wire::flush`] does.
    pub fn pong(&mut self) {
        self.try_pong().unwrap();
    }

    fn try_pong(&mut self) -> io::Result<()> {
        let mut line = self.try_line()?;
        while line == "PING" {
            self.stream.write_all(b"PONG\r\n")?;
            line = self.try_line()?;
        }
        if line == "PONG" { Ok(()) } else { Err(io::Error::other(line)) }
    }

    /// The next line.
    pub fn line(&mut self) -> String {
        self.try_line().unwrap()
    }

    /// Subscribes to a subject. In one write with its PING, so that what waits for a subscriber comes behind the PONG.
    pub fn subscribe(&mut self, subject: &str) {
        self.send(format!("SUB {subject} 1\r\nPING\r\n").as_bytes());
        self.pong();
    }

    /// The payload of the next message. Answers a PING of the other side meanwhile.
    ///
    /// # Errors
    /// The connection has ended, or no message came in time.
    pub fn try_message(&mut self) -> io::Result<Vec<u8>> {
        let mut line = self.try_line()?;
        while line == "PING" {
            self.stream.write_all(b"PONG\r\n")?;
            line = self.try_line()?;
        }
        let size = line.strip_prefix("MSG ").and_then(|line| line.rsplit(' ').next()?.parse::<usize>().ok());
        let mut payload = vec![0; size.ok_or_else(|| io::Error::other(line))? + 2];
        self.stream.read_exact(&mut payload)?;
        payload.truncate(payload.len() - 2);
        Ok(payload)
    }

    /// As [`Wire::try_message`].
    pub fn message(&mut self) -> Vec<u8> {
        self.try_message().unwrap()
    }

    fn try_line(&mut self) -> io::Result<String> {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            self.stream.read_exact(&mut byte)?;
            line.push(byte[0]);
        }
        Ok(String::from_utf8_lossy(&line).trim_end().to_owned())
    }
}

/// The bytes that publish a message.
#[must_use]
pub fn publication(subject: &str, payload: &[u8]) -> Vec<u8> {
    [format!("PUB {subject} {}\r\n", payload.len()).as_bytes(), payload, b"\r\n"].concat()
}
