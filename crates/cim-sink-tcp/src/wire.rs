//! How far a connection has come: what was written, what the peer's kernel has taken, and whether it is over.
//!
//! Owns the wait for the peer's kernel, which goes on while the next batch is written, what counts as a stall, and the
//! abrupt end. Left out: writing (`connection`). Invariant: once a connection was broken off nothing of it reaches the
//! peer any more, and everybody who asks is told the same number of bytes that the peer had taken by then.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Memory};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::time::timeout;

use crate::channel::Channel;
use crate::send_queue::{self, unconfirmed};
use crate::short_timer::ShortTimer;

/// The first look at the send queue after the one at once comes that soon, each later one after half as much again. A sooner one
/// costs a wake-up per line, where lines come one by one, and settles nothing that anybody waits for.
const FIRST_LOOK: Duration = Duration::from_micros(250);
/// And never later than this.
const LONGEST_LOOK: Duration = Duration::from_millis(5);
/// Who waits to write looks that many times in the stall time.
const WRITER_LOOKS: f64 = 32.0;

/// The state of a connection, shared by the one who writes and those who wait.
#[derive(Debug)]
pub(crate) struct Wire {
    /// The same socket, for questions while somebody writes.
    socket: OwnedFd,
    /// Whether a byte written is a byte in the send queue.
    transparent: bool,
    /// Longest time without progress.
    stall: Duration,
    /// Bytes handed to the channel since the beginning.
    written: AtomicU64,
    /// How many of them lie in the socket's send queue or beyond it.
    flushed: AtomicU64,
    /// How many of them are surely where they should be.
    settled: AtomicU64,
    /// What the peer had taken when the connection was broken off. Held while the send queue is asked, because that is empty
    /// afterwards.
    end: Mutex<Option<u64>>,
    /// Somebody has told that it broke with records of theirs.
    told: AtomicBool,
    /// Batches wait in the order in which they were written.
    timer: tokio::sync::Mutex<ShortTimer>,
}

impl Wire {
    pub(crate) fn of(channel: &dyn Channel, stall: Duration) -> io::Result<Self> {
        Ok(Self {
            socket: channel.socket().as_fd().try_clone_to_owned()?,
            transparent: channel.is_transparent(),
            stall,
            written: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            end: Mutex::new(None),
            told: AtomicBool::new(false),
            timer: tokio::sync::Mutex::new(ShortTimer::new()?),
        })
    }

    /// Bytes written since the beginning of the connection.
    pub(crate) fn written(&self) -> u64 {
        self.written.load(Memory::Acquire)
    }

    pub(crate) fn wrote(&self, count: usize) {
        self.written.fetch_add(count as u64, Memory::AcqRel);
    }

    /// What lies above the socket holds nothing back.
    pub(crate) fn flushed(&self) {
        self.flushed.store(self.written(), Memory::Release);
    }

    /// Everything up to there is where it should be.
    pub(crate) fn settle(&self, through: u64) {
        self.settled.fetch_max(through, Memory::AcqRel);
    }

    /// Whether nothing that was written is still on its way.
    pub(crate) fn is_settled(&self) -> bool {
        self.settled.load(Memory::Acquire) >= self.written()
    }

    /// Whether nothing can be on its way any more.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.is_settled() || self.is_broken()
    }

    pub(crate) fn is_broken(&self) -> bool {
        self.end().is_some()
    }

    /// Whether nobody has told yet that it broke; the caller does. Who broke it off need not have lost anything, nor know of a loss.
    pub(crate) fn first_to_tell(&self) -> bool {
        !self.told.swap(true, Memory::AcqRel)
    }

    /// Waits until the peer's kernel has taken everything up to there.
    ///
    /// # Errors
    /// The connection broke, or the peer has taken nothing for the stall time.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(crate) async fn confirmed(&self, through: u64) -> io::Result<()> {
        let timer = self.timer.lock().await;
        let (mut progress, mut pause) = (Progress::begin(), FIRST_LOOK);
        loop {
            let (taken, waiting) = match *self.end() {
                Some(taken) if taken < through => return Err(io::ErrorKind::ConnectionReset.into()),
                Some(taken) => (taken, 0),
                None => self.taken()?,
            };
            if taken >= through {
                self.settle(through);
                return Ok(());
            }
            if let Some(error) = SockRef::from(&self.socket).take_error()? {
                return Err(error);
            }
            progress.look(self, taken, waiting)?;
            timer.pause(pause).await?;
            pause = pause.mul_f64(1.5).min(LONGEST_LOOK);
        }
    }

    /// Waits for a write as long as the peer takes something: the kernel takes nothing from the writer before a good part
    /// of the send queue is gone, and a slow peer may need longer for that than the stall time.
    ///
    /// # Errors
    /// Its own, or the peer has taken nothing for the stall time.
    ///
    /// # Cancel safety
    /// As safe as the write.
    pub(crate) async fn patiently<T>(&self, write: impl Future<Output = io::Result<T>>) -> io::Result<T> {
        let mut write = pin!(write);
        let mut progress = Progress::begin();
        let look = self.stall.div_f64(WRITER_LOOKS);
        loop {
            let rest = self.stall.saturating_sub(progress.last.elapsed());
            if let Ok(outcome) = timeout(look.min(rest), &mut write).await {
                return outcome;
            }
            let (taken, waiting) = self.taken()?;
            progress.look(self, taken, waiting)?;
        }
    }

    /// Waits until nobody waits for the peer any more.
    pub(crate) async fn quiet(&self) {
        let _ = self.timer.lock().await;
    }

    /// Ends the connection at once, so that the kernel does not deliver in secret what is sent again. Returns how many
    /// bytes the peer has surely taken.
    pub(crate) fn break_off(&self) -> u64 {
        let mut end = self.end();
        *end.get_or_insert_with(|| {
            let taken = self.taken().map_or_else(|_| self.settled.load(Memory::Acquire), |(taken, _)| taken);
            // The first is for a kernel that does not know the second.
            let _ = SockRef::from(&self.socket).set_linger(Some(Duration::ZERO));
            let _ = rustix::net::connect_unspec(&self.socket);
            taken
        })
    }

    fn end(&self) -> MutexGuard<'_, Option<u64>> {
        self.end.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that the peer's kernel has surely taken, and those in the send queue. The number of those sent is read first: what
    /// is sent meanwhile only makes the answer smaller.
    fn taken(&self) -> io::Result<(u64, u64)> {
        let sent = if self.transparent { self.written() } else { self.flushed.load(Memory::Acquire) };
        let waiting = unconfirmed(&self.socket)? as u64;
        let settled = self.settled.load(Memory::Acquire);
        // Behind TLS the bytes in the queue are not the bytes written: all of them are taken, or nothing is known.
        let taken = if self.transparent || waiting == 0 { sent.saturating_sub(waiting) } else { 0 };
        Ok((taken.max(settled), waiting))
    }
}

/// Whether the peer goes on taking what it gets, seen from look to look.
struct Progress {
    /// When it was last seen to.
    last: Instant,
    /// Bytes that it had confirmed, and bytes in the send queue, at the look before.
    before: Option<(u64, u64)>,
}

impl Progress {
    fn begin() -> Self {
        Self { last: Instant::now(), before: None }
    }

    /// Looks again: that many bytes are taken as far as it is known, and that many are in the send queue.
    ///
    /// # Errors
    /// The peer has taken nothing for the stall time.
    fn look(&mut self, wire: &Wire, taken: u64, waiting: u64) -> io::Result<()> {
        // Behind TLS nothing is known to be taken before everything is.
        let confirmed = if wire.transparent { taken } else { send_queue::confirmed(&wire.socket)? };
        let now = (confirmed, waiting);
        // The queue tells less, since it is filled up again, but a kernel may know nothing else.
        if self.before.is_some_and(|before| now.0 > before.0 || now.1 < before.1) {
            self.last = Instant::now();
        } else if self.last.elapsed() >= wire.stall {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the receiver has stopped taking data"));
        }
        self.before = Some(now);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use tokio::io::AsyncReadExt as _;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    #[tokio::test]
    async fn a_queue_that_is_filled_up_again_hides_no_progress() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (mut peer, _) = listener.accept().await.unwrap();
        // Opaque, as behind TLS; a look that sees no progress is an error.
        let wire = Wire { transparent: false, ..Wire::of(&stream, Duration::ZERO).unwrap() };
        stream.writable().await.unwrap();
        let mut page = vec![0; 64 << 10];
        while stream.try_write(&page).is_ok() {}
        let full = unconfirmed(&stream).unwrap() as u64;
        let mut progress = Progress { last: Instant::now(), before: Some((0, full)) };
        // What the peer's kernel has may be confirmed a little later.
        let error = loop {
            if let Err(error) = progress.look(&wire, 0, full) {
                break error;
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let before = progress.before.unwrap().0;
        while send_queue::confirmed(&stream).unwrap() == before {
            assert!(peer.read(&mut page).await.unwrap() > 0);
        }
        progress.look(&wire, 0, full).unwrap();
    }
}
