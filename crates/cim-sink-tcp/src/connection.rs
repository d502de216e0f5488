//! One connection to a receiver, from the dial to the last written byte.
//!
//! Owns connecting, noticing that the peer has gone, and writing under a deadline. Left out: what the bytes mean, the wait
//! for the peer's kernel (`wire`), and when to connect again. Invariant: a connection that is dropped while something may
//! still be on its way is broken off.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use rustix::net::RecvFlags;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::channel::Channel;
use crate::wire::Wire;

/// Silence after which the kernel asks a connection whether it still exists, and how it goes on asking.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);
/// The memory of a page, unless a record is very long.
const PAGE: usize = 1 << 20;
/// Bytes that are written in one call: most batches whole. A receiver that has read everything sleeps while more is encoded, and
/// to wake it costs as much as to copy a hundred kilobytes. The rest of the page has room for the record that completes it.
const PIECE: usize = PAGE - (64 << 10);
/// A segment of up to so many bytes is confirmed as soon as it is read.
const PROMPT: usize = 480;
/// Bytes of the segment that ends a longer write.
const TAIL: usize = 64;
/// Longest time for the end of a connection.
const GOODBYE: Duration = Duration::from_secs(1);
/// Reads of a talkative receiver before a batch; what it says means nothing here.
const PATIENT_READS: usize = 64;

/// An open connection.
pub(crate) struct Connection {
    channel: Box<dyn Channel>,
    peer: SocketAddr,
    wire: Arc<Wire>,
}

/// Whether a page has grown to the size of a write.
pub(crate) fn is_full(page: &[u8]) -> bool {
    page.len() >= PIECE
}

/// Connects to one address.
///
/// # Errors
/// The peer does not accept within `limit`.
pub(crate) async fn dial(peer: SocketAddr, limit: Duration) -> io::Result<TcpStream> {
    let stream = timeout(limit, TcpStream::connect(peer)).await.unwrap_or_else(|_| Err(timed_out()))?;
    if stream.local_addr()? == peer {
        // Two dials that meet on a local port nobody listens on: the socket is connected to itself.
        return Err(io::ErrorKind::ConnectionRefused.into());
    }
    stream.set_nodelay(true)?;
    let (idle, interval, retries) = KEEP_ALIVE;
    let keep_alive = TcpKeepalive::new().with_time(idle).with_interval(interval).with_retries(retries);
    SockRef::from(&stream).set_tcp_keepalive(&keep_alive)?;
    Ok(stream)
}

impl Connection {
    pub(crate) fn new(channel: Box<dyn Channel>, peer: SocketAddr, stall: Duration) -> io::Result<Self> {
        let wire = Arc::new(Wire::of(channel.as_ref(), stall)?);
        Ok(Self { channel, peer, wire })
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How far it has come.
    pub(crate) fn wire(&self) -> &Arc<Wire> {
        &self.wire
    }

    /// Whether the peer has ended or reset the connection, as far as this kernel knows. Reads away what it says.
    pub(crate) async fn has_ended(&mut self) -> bool {
        if self.wire.is_broken() {
            return true;
        }
        let mut scratch = [0; 1024];
        for _ in 0..PATIENT_READS {
            let peeked = rustix::net::recv(
                self.channel.socket(),
                &mut scratch[..1],
                RecvFlags::PEEK | RecvFlags::DONTWAIT,
            );
            match peeked {
                Err(rustix::io::Errno::AGAIN) => return false,
                Err(_) | Ok((_, 0)) => return true,
                Ok(_) => {}
            }
            // The runtime may not have heard of those bytes yet; without this the read would not even try.
            if self.channel.socket().readable().await.is_err() {
                return true;
            }
            // One poll: behind TLS the bytes may be no data at all.
            let mut buffer = ReadBuf::new(&mut scratch);
            let channel = &mut self.channel;
            let read = std::future::poll_fn(|context| {
                Poll::Ready(match Pin::new(&mut *channel).poll_read(context, &mut buffer) {
                    Poll::Ready(outcome) => Some(outcome),
                    Poll::Pending => None,
                })
            });
            match read.await {
                Some(Err(_)) => return true,
                Some(Ok(())) if buffer.filled().is_empty() => return true,
                _ => {}
            }
        }
        false
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The connection broke, or the peer has taken nothing for the stall time.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = self.wire.patiently(self.channel.write(bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.wire.wrote(count);
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes a page that [`is_full`], and empties it.
    ///
    /// # Errors
    /// As [`Connection::write`].
    pub(crate) async fn write_page(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        self.write(page).await?;
        page.clear();
        page.shrink_to(PAGE);
        Ok(())
    }

    /// Writes the end of a batch, the very last bytes by themselves.
    ///
    /// Linux confirms small segments as soon as they are read, but not a second one of the same length above its default
    /// segment size of 536: that one waits 40 ms for company. A short one at the end is never kept waiting.
    ///
    /// # Errors
    /// As [`Connection::write`].
    pub(crate) async fn write_last(&mut self, page: &[u8]) -> io::Result<()> {
        let cut = if page.len() > PROMPT { page.len().saturating_sub(TAIL) } else { page.len() };
        let (body, tail) = page.split_at_checked(cut).unwrap_or((page, &[]));
        self.write(body).await?;
        self.write(tail).await
    }

    /// Hands the last bytes to the kernel; for what lies above the socket.
    ///
    /// # Errors
    /// As [`Connection::write`].
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        self.wire.patiently(self.channel.flush()).await?;
        self.wire.flushed();
        Ok(())
    }

    /// The next bytes from the peer. Without a deadline.
    ///
    /// # Errors
    /// The connection broke or ended.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.channel.read(buffer).await? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count),
        }
    }

    /// Says goodbye, once everything written has been taken or given up.
    pub(crate) async fn end(mut self) {
        self.wire.quiet().await;
        // A peer that does not want to hear it is gone anyway.
        let _ = timeout(GOODBYE, self.channel.shutdown()).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if !self.wire.is_settled() {
            self.wire.break_off();
        }
    }
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_peer_that_is_gone_without_a_word_is_asked_for_in_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = dial(listener.local_addr().unwrap(), Duration::from_secs(5)).await.unwrap();
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && stream.nodelay().unwrap());
        let times = (
            socket.tcp_keepalive_time().unwrap(),
            socket.tcp_keepalive_interval().unwrap(),
            socket.tcp_keepalive_retries().unwrap(),
        );
        assert_eq!(times, KEEP_ALIVE);
    }
}
