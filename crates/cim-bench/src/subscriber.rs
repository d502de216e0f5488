//! A subscriber that counts: the receiving side of the broker benches.
//!
//! Leaves out headers (it does not ask for them). Invariant: the count is of whole messages whose length line was read
//! and whose bytes were all received; contents are checked only for the stamp's order when asked.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::connection::PATIENCE;
use crate::error::{BenchError, Result};

/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// A counting subscriber with a thread of its own.
#[derive(Debug)]
pub struct Subscriber {
    count: Arc<AtomicU64>,
    failed: Arc<AtomicBool>,
    stream: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Connects and subscribes; returns once the server has answered the PING behind the SUB.
    ///
    /// # Errors
    /// The server is not there or refuses.
    pub fn start(address: SocketAddr, subject: &str) -> Result<Self> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE).map_err(BenchError::io("connect"))?;
        stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
        stream.set_read_timeout(Some(PATIENCE)).map_err(BenchError::io("set the read timeout"))?;
        let hello = format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":false,\"name\":\"bench-subscriber\",\"lang\":\"rust\",\
             \"version\":\"1\",\"protocol\":1}}\r\nSUB {subject} 1\r\nPING\r\n"
        );
        stream.write_all(hello.as_bytes()).map_err(BenchError::io("subscribe"))?;
        let rest = read_until_pong(&mut stream)?;
        stream.set_read_timeout(None).map_err(BenchError::io("clear the read timeout"))?;
        let count = Arc::new(AtomicU64::new(0));
        let failed = Arc::new(AtomicBool::new(false));
        let mut reader = Reader { count: Arc::clone(&count), inbox: rest, skip: 0 };
        let mut source = stream.try_clone().map_err(BenchError::io("share the socket"))?;
        let broken = Arc::clone(&failed);
        let thread = std::thread::spawn(move || {
            if reader.run(&mut source).is_err() {
                broken.store(true, Ordering::Release);
            }
        });
        Ok(Self { count, failed, stream, thread: Some(thread) })
    }

    /// Messages received so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Acquire)
    }

    /// Waits until `count` messages have come, looking every 0.2 ms.
    ///
    /// # Errors
    /// They did not come within [`PATIENCE`] after the last progress, or the server closed the connection.
    pub fn wait_for(&self, count: u64) -> Result<()> {
        let mut last = (self.count(), Instant::now());
        loop {
            let now = self.count();
            if now >= count {
                return Ok(());
            }
            if self.failed.load(Ordering::Acquire) {
                return Err(BenchError::Unclean(format!(
                    "subscriber lost its connection at {now} of {count}"
                )));
            }
            if now > last.0 {
                last = (now, Instant::now());
            } else if last.1.elapsed() > PATIENCE {
                return Err(BenchError::Unclean(format!("subscriber received {now} of {count}")));
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Reads up to the PONG and returns what came behind it.
fn read_until_pong(stream: &mut TcpStream) -> Result<Vec<u8>> {
    let mut inbox = Vec::new();
    let mut chunk = [0u8; 4096];
    loop {
        if let Some(at) = memchr::memmem::find(&inbox, b"PONG\r\n") {
            return Ok(inbox.split_off(at.saturating_add(6)));
        }
        let count = stream.read(&mut chunk).map_err(BenchError::io("wait for PONG"))?;
        if count == 0 {
            return Err(BenchError::Protocol("end of stream before PONG".into()));
        }
        inbox.extend_from_slice(chunk.get(..count).unwrap_or_default());
    }
}

struct Reader {
    count: Arc<AtomicU64>,
    inbox: Vec<u8>,
    /// Payload bytes of the present message that are still to come.
    skip: usize,
}

impl Reader {
    fn run(&mut self, stream: &mut TcpStream) -> Result<()> {
        let mut chunk = vec![0u8; READ_BYTES];
        loop {
            let count = stream.read(&mut chunk).map_err(BenchError::io("read messages"))?;
            if count == 0 {
                return Err(BenchError::Protocol("end of stream".into()));
            }
            let bytes = chunk.get(..count).unwrap_or_default();
            let pings = if self.inbox.is_empty() {
                let (used, pings) = self.scan(bytes)?;
                self.inbox.extend_from_slice(bytes.get(used..).unwrap_or_default());
                pings
            } else {
                let mut inbox = std::mem::take(&mut self.inbox);
                inbox.extend_from_slice(bytes);
                let (used, pings) = self.scan(&inbox)?;
                inbox.drain(..used);
                self.inbox = inbox;
                pings
            };
            for _ in 0..pings {
                stream.write_all(b"PONG\r\n").map_err(BenchError::io("answer PING"))?;
            }
        }
    }

    /// Counts whole messages; returns the bytes used and the PINGs seen.
    fn scan(&mut self, bytes: &[u8]) -> Result<(usize, usize)> {
        let mut at = 0usize;
        let mut messages = 0u64;
        let mut pings = 0usize;
        loop {
            let here = self.skip.min(bytes.len().saturating_sub(at));
            self.skip = self.skip.saturating_sub(here);
            at = at.saturating_add(here);
            if self.skip > 0 {
                break;
            }
            if here > 0 {
                messages = messages.saturating_add(1);
            }
            let Some(rest) = bytes.get(at..) else { break };
            let Some(end) = memchr::memchr(b'\n', rest) else { break };
            let line = rest.get(..end).unwrap_or_default().trim_ascii_end();
            at = at.saturating_add(end).saturating_add(1);
            if line.starts_with(b"MSG ") {
                self.skip = length_of(line)?.saturating_add(2);
            } else if line == b"PING" {
                pings = pings.saturating_add(1);
            } else if line.starts_with(b"-ERR") {
                return Err(BenchError::Protocol(String::from_utf8_lossy(line).into_owned()));
            }
        }
        self.count.fetch_add(messages, Ordering::Release);
        Ok((at, pings))
    }
}

/// The number at the end of a MSG line.
fn length_of(line: &[u8]) -> Result<usize> {
    let digits = line.rsplit(|byte| *byte == b' ').next().unwrap_or_default();
    std::str::from_utf8(digits)
        .ok()
        .and_then(|digits| digits.parse().ok())
        .ok_or_else(|| BenchError::Protocol(String::from_utf8_lossy(line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_same_however_the_bytes_are_cut() {
        let mut stream = Vec::new();
        for length in [0usize, 1, 5, 300, 2] {
            stream.extend_from_slice(format!("MSG a.b 1 {length}\r\n").as_bytes());
            stream.extend(std::iter::repeat_n(b'\n', length));
            stream.extend_from_slice(b"\r\n");
        }
        stream.extend_from_slice(b"PING\r\n");
        for step in 1..40 {
            let mut reader = Reader { count: Arc::default(), inbox: Vec::new(), skip: 0 };
            let mut pings = 0;
            for chunk in stream.chunks(step) {
                let mut inbox = std::mem::take(&mut reader.inbox);
                inbox.extend_from_slice(chunk);
                let (used, seen) = reader.scan(&inbox).unwrap();
                inbox.drain(..used);
                reader.inbox = inbox;
                pings += seen;
            }
            assert_eq!((reader.count.load(Ordering::Acquire), pings), (5, 1), "step {step}");
        }
    }
}
