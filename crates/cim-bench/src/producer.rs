//! A publisher that knows exactly which of its messages are accepted.
//!
//! Leaves out when to send (`pace.rs` and the benches decide). Invariant: every sequence number is written once, in
//! order, unless `resend` is on; then numbers that no PONG covers are written again after a break, and the ledger says so.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::clock;
use crate::connection::Connection;
use crate::deck::{Deck, Traffic};
use crate::error::{BenchError, Result};
use crate::ledger::Ledger;

/// Pause between two attempts to reconnect.
const RETRY: Duration = Duration::from_millis(5);

/// What a producer is to do.
#[derive(Debug, Clone)]
pub struct ProducerSpec {
    /// The NATS listener.
    pub address: SocketAddr,
    /// What to publish.
    pub traffic: Traffic,
    /// Number of this run; a checker tells runs apart by it.
    pub run: u32,
    /// Number of this producer; also its container, `bench-<producer>`.
    pub producer: u32,
    /// Payload bytes; at least [`crate::stamp::STAMP_LEN`].
    pub payload: usize,
    /// Number of the first message.
    pub first_seq: u64,
    /// Bytes on the wire between two barriers inside [`Producer::send`]; 0: only explicit barriers.
    pub barrier_bytes: u64,
    /// How long to try to reconnect; zero: a broken connection is an error.
    pub reconnect_for: Duration,
    /// Write again what no PONG covers after a break.
    pub resend: bool,
}

impl ProducerSpec {
    /// Logs with the given payload size; no barriers of its own, no reconnect.
    #[must_use]
    pub fn logs(address: SocketAddr, producer: u32, payload: usize) -> Self {
        Self {
            address,
            traffic: Traffic::Log,
            run: 1,
            producer,
            payload,
            first_seq: 1,
            barrier_bytes: 0,
            reconnect_for: Duration::ZERO,
            resend: false,
        }
    }

    /// Events with the given payload size; no barriers of its own, no reconnect.
    #[must_use]
    pub fn events(address: SocketAddr, producer: u32, payload: usize) -> Self {
        Self { traffic: Traffic::Event, ..Self::logs(address, producer, payload) }
    }
}

/// A connected publisher.
#[derive(Debug)]
pub struct Producer {
    spec: ProducerSpec,
    deck: Deck,
    connection: Connection,
    ledger: Ledger,
    next: u64,
    /// Highest number before each PING that has no PONG yet.
    open_pings: VecDeque<u64>,
    pongs_seen: u64,
    since_barrier: u64,
    reconnects: u64,
    accepted: Arc<AtomicU64>,
}

impl Producer {
    /// Connects to the server.
    ///
    /// # Errors
    /// As [`Connection::open`], after the reconnect time of the specification.
    pub fn connect(spec: ProducerSpec) -> Result<Self> {
        let connection = dial(&spec)?;
        Ok(Self {
            deck: Deck::new(&spec.traffic, spec.run, spec.producer, spec.payload),
            ledger: Ledger::new(spec.run, spec.producer, spec.first_seq),
            next: spec.first_seq,
            open_pings: VecDeque::new(),
            pongs_seen: connection.pongs(),
            connection,
            since_barrier: 0,
            reconnects: 0,
            accepted: Arc::default(),
            spec,
        })
    }

    /// Publishes `count` messages in writes of up to 64 KiB, stamped with the present time. What `resend` has to write again after
    /// a break comes before them, and is not counted.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn send(&mut self, count: u64) -> Result<()> {
        self.write_to(self.behind_sent().saturating_add(count), None)
    }

    /// The same of messages that were due at `intended_ns`; PONGs that have arrived are noted.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn send_due(&mut self, count: u64, intended_ns: u64) -> Result<()> {
        self.write_to(self.behind_sent().saturating_add(count), Some(intended_ns))
    }

    /// The first number that was never sent.
    fn behind_sent(&self) -> u64 {
        self.ledger.sent.saturating_add(1)
    }

    /// Writes up to that number, without it.
    fn write_to(&mut self, end: u64, intended_ns: Option<u64>) -> Result<()> {
        while self.next < end {
            self.write_block(end, intended_ns.unwrap_or_else(clock::now_ns))?;
        }
        Ok(())
    }

    fn write_block(&mut self, end: u64, intended_ns: u64) -> Result<()> {
        let count = end.saturating_sub(self.next).min(self.deck.capacity() as u64);
        let bytes = self.deck.deal(self.next, count as usize, intended_ns);
        self.since_barrier = self.since_barrier.saturating_add(bytes.len() as u64);
        let written = self.connection.write(bytes);
        // A broken write may have got any part of the block through, so all of it counts as sent.
        self.next = self.next.saturating_add(count);
        self.ledger.wrote(self.next.saturating_sub(1));
        if let Err(error) = written {
            return self.restore(error);
        }
        if self.spec.barrier_bytes > 0 && self.since_barrier >= self.spec.barrier_bytes {
            self.ping()?;
            self.poll()?;
        }
        Ok(())
    }

    /// Sends a PING whose PONG will accept everything sent so far; does not wait.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn ping(&mut self) -> Result<()> {
        self.since_barrier = 0;
        self.open_pings.push_back(self.next.saturating_sub(1));
        match self.connection.ping() {
            Ok(()) => Ok(()),
            Err(error) => self.restore(error),
        }
    }

    /// Notes the PONGs that have arrived; does not wait.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn poll(&mut self) -> Result<()> {
        let polled = self.connection.poll();
        self.note_pongs();
        match polled {
            Ok(()) => Ok(()),
            Err(error) => self.restore(error),
        }
    }

    /// PING, and waits for its PONG: everything sent on this connection is then accepted. Returns how many messages
    /// are accepted in all. After a break the barrier is repeated on the new connection.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn barrier(&mut self) -> Result<u64> {
        loop {
            self.write_to(self.behind_sent(), None)?;
            self.ping()?;
            let waited = self.connection.wait_for_pongs();
            self.note_pongs();
            match waited {
                Ok(()) if !self.has_unsent() => return Ok(self.ledger.accepted_count()),
                Ok(()) => {}
                Err(error) => self.restore(error)?,
            }
        }
    }

    /// One message and its PING in one write, then waits for the PONG.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn round_trip(&mut self) -> Result<()> {
        let bytes = self.deck.deal(self.next, 1, clock::now_ns());
        self.open_pings.push_back(self.next);
        self.ledger.wrote(self.next);
        self.next = self.next.saturating_add(1);
        let answered = self.connection.write_with_ping(bytes).and_then(|()| self.connection.wait_for_pongs());
        self.note_pongs();
        answered.or_else(|error| self.restore(error))
    }

    /// Whether `resend` still has to write messages of an earlier connection again.
    fn has_unsent(&self) -> bool {
        self.next < self.behind_sent()
    }

    fn note_pongs(&mut self) {
        let pongs = self.connection.pongs();
        while self.pongs_seen < pongs {
            self.pongs_seen = self.pongs_seen.saturating_add(1);
            if let Some(last) = self.open_pings.pop_front() {
                self.ledger.accept(last);
                self.accepted.store(self.ledger.accepted_count(), Ordering::Release);
            }
        }
    }

    /// A new connection in place of the broken one, or the error that broke it.
    fn restore(&mut self, error: BenchError) -> Result<()> {
        // What arrived before the break still counts.
        let _ = self.connection.poll();
        self.note_pongs();
        if self.spec.reconnect_for.is_zero() {
            return Err(error);
        }
        self.connection = dial(&self.spec)?;
        self.pongs_seen = self.connection.pongs();
        self.open_pings.clear();
        self.since_barrier = 0;
        self.reconnects = self.reconnects.saturating_add(1);
        self.next = self.ledger.broke(self.spec.resend);
        Ok(())
    }

    /// What is known about the messages so far.
    #[must_use]
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Messages covered by a PONG.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.ledger.accepted_count()
    }

    /// The number of accepted messages, for other threads. Never ahead of what is accepted.
    #[must_use]
    pub fn accepted_gauge(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.accepted)
    }

    /// Number of the next message.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next
    }

    /// How often the connection was restored.
    #[must_use]
    pub fn reconnects(&self) -> u64 {
        self.reconnects
    }

    /// Frames of one 64 KiB write.
    #[must_use]
    pub fn block(&self) -> u64 {
        self.deck.capacity() as u64
    }

    /// Payload bytes of one message.
    #[must_use]
    pub fn payload_bytes(&self) -> u64 {
        self.deck.payload_bytes() as u64
    }
}

/// Connects, trying again for as long as the specification says.
fn dial(spec: &ProducerSpec) -> Result<Connection> {
    let deadline = Instant::now().checked_add(spec.reconnect_for);
    let name = format!("bench-{}", spec.producer);
    loop {
        match Connection::open(spec.address, &name) {
            Ok(connection) => return Ok(connection),
            Err(error) if deadline.is_none_or(|deadline| Instant::now() >= deadline) => return Err(error),
            Err(_) => std::thread::sleep(RETRY),
        }
    }
}
