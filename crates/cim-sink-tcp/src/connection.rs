//! One connection to a receiver, from the dial to the last confirmed byte.
//!
//! Owns connecting, noticing that the peer has gone, writing under a deadline, and the wait for the peer's kernel.
//! Left out: what the bytes mean, and when to connect again. Invariant: a connection that is dropped while something
//! of a batch may still be on its way is reset, so that the kernel does not deliver in secret what is sent again.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::channel::Channel;
use crate::send_queue::unconfirmed;
use crate::short_timer::ShortTimer;

/// Silence after which the kernel asks a connection whether it still exists, and how it goes on asking.
const KEEP_ALIVE: (Duration, Duration, u32) = (Duration::from_secs(30), Duration::from_secs(10), 3);
/// The first look at the send queue after the one at once comes that soon, each later one after half as much again.
const FIRST_LOOK: Duration = Duration::from_micros(20);
/// And never later than this.
const LONGEST_LOOK: Duration = Duration::from_millis(5);
/// Bytes that are written in one call, and encoded while the receiver reads the ones before.
const PIECE: usize = 256 << 10;
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
    timer: ShortTimer,
    /// Longest time without progress.
    stall: Duration,
    /// Whether something of the current batch may still be on its way.
    busy: bool,
    /// Bytes of the current batch handed to the channel.
    written: usize,
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
        Ok(Self { channel, peer, timer: ShortTimer::new()?, stall, busy: false, written: 0 })
    }

    pub(crate) fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// Whether the peer has ended or reset the connection, as far as this kernel knows. Reads away what it says.
    pub(crate) async fn has_ended(&mut self) -> bool {
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

    /// Begins a batch.
    pub(crate) fn begin(&mut self) {
        self.busy = true;
        self.written = 0;
    }

    /// Writes all of it.
    ///
    /// # Errors
    /// The connection broke, or the peer has taken nothing for the stall time.
    pub(crate) async fn write(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let count = within(self.stall, self.channel.write(bytes)).await?;
            if count == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            self.written = self.written.saturating_add(count);
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Writes a page that has grown to the size of a write, and empties it.
    ///
    /// # Errors
    /// As [`Connection::write`].
    pub(crate) async fn write_full(&mut self, page: &mut Vec<u8>) -> io::Result<()> {
        if page.len() >= PIECE {
            self.write(page).await?;
            page.clear();
            page.shrink_to(PIECE.saturating_mul(2));
        }
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

    /// Bytes of the batch written so far.
    pub(crate) fn written(&self) -> usize {
        self.written
    }

    /// Hands the last bytes to the kernel; for what lies above the socket.
    ///
    /// # Errors
    /// As [`Connection::write`].
    pub(crate) async fn flush(&mut self) -> io::Result<()> {
        within(self.stall, self.channel.flush()).await
    }

    /// Waits until the peer's kernel has taken everything, which ends the batch.
    ///
    /// # Errors
    /// The connection broke, or the peer has taken nothing for the stall time.
    pub(crate) async fn confirmed(&mut self) -> io::Result<()> {
        self.flush().await?;
        let (mut least, mut progress, mut pause) = (usize::MAX, Instant::now(), FIRST_LOOK);
        loop {
            let waiting = unconfirmed(self.channel.socket())?;
            if waiting == 0 {
                self.finish();
                return Ok(());
            }
            if let Some(error) = self.channel.socket().take_error()? {
                return Err(error);
            }
            if waiting < least {
                (least, progress) = (waiting, Instant::now());
            } else if progress.elapsed() > self.stall {
                return Err(stalled());
            }
            self.timer.pause(pause).await?;
            pause = pause.mul_f64(1.5).min(LONGEST_LOOK);
        }
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

    /// Everything of the batch is where it should be.
    pub(crate) fn finish(&mut self) {
        self.busy = false;
    }

    /// Says goodbye.
    pub(crate) async fn end(mut self) {
        // A peer that does not want to hear it is gone anyway.
        let _ = timeout(GOODBYE, self.channel.shutdown()).await;
    }

    /// Bytes of the batch that the peer's kernel has surely taken.
    pub(crate) fn taken(&self) -> usize {
        if !self.channel.is_transparent() {
            return 0;
        }
        let waiting = unconfirmed(self.channel.socket()).unwrap_or(usize::MAX);
        self.written.saturating_sub(waiting)
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if self.busy {
            let _ = SockRef::from(self.channel.socket()).set_linger(Some(Duration::ZERO));
        }
    }
}

async fn within<T>(stall: Duration, work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(stall, work).await.unwrap_or_else(|_| Err(stalled()))
}

fn stalled() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "the receiver has stopped taking data")
}

fn timed_out() -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, "no answer in time")
}
