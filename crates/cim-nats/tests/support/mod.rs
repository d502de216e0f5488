//! An engine that does what the test says, a listener thread in front of it, and a client made of bytes.
#![allow(dead_code, reason = "every test file uses its part")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_nats::{Class, Intake, Listener, ListenerControl, ListenerStats, NatsConfig, Offer, Offered};
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Longest wait for anything that must happen.
pub const PATIENCE: Duration = Duration::from_secs(10);

type WakeUp = Arc<dyn Fn() + Send + Sync>;

/// What the test sees and sets.
#[derive(Default)]
pub struct State {
    pub logs: Vec<Vec<u8>>,
    pub events: Vec<Vec<u8>>,
    pub sources: Vec<Vec<u8>>,
    pub configs: Vec<Vec<u8>>,
    pub tests: Vec<Vec<u8>>,
    /// Messages are accepted at flush unless this is set.
    pub hold_acceptance: bool,
    pub accepted: u64,
    pub refused: u64,
    pub offered: u64,
    pub flushed: u64,
    pub logs_full: bool,
    pub events_full: bool,
    /// Messages that the reserve takes while full.
    pub reserve: usize,
    pub sips: usize,
    pub budget: usize,
    pub reserved: usize,
    pub most_reserved: usize,
    /// Messages that a flush left to the thread, until it says that it delivers them.
    pub held: u64,
    /// Messages that it has delivered so.
    pub delivered_here: u64,
    wake: Option<WakeUp>,
}

/// The engine of the tests.
#[derive(Clone, Default)]
pub struct Engine(pub Arc<Mutex<State>>);

impl Engine {
    pub fn with_budget(bytes: usize) -> Self {
        let engine = Self::default();
        engine.lock().budget = bytes;
        engine
    }

    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// Changes the state, then tells the listener.
    pub fn change(&self, change: impl FnOnce(&mut State)) {
        let wake = {
            let mut state = self.lock();
            change(&mut state);
            state.wake.clone()
        };
        wake.expect("the listener registered")();
    }
}

impl Intake for Engine {
    type Mark = u64;

    fn offer(&mut self, offer: &Offer<'_>, sip: bool) -> Offered {
        let mut state = self.lock();
        if offer.payload == b"bad" {
            return Offered::Refused("malformed");
        }
        let full = match offer.class {
            Class::Log => state.logs_full,
            Class::Event => state.events_full,
        };
        if full {
            if !sip || state.reserve == 0 {
                return Offered::Full;
            }
            state.reserve -= 1;
            state.sips += 1;
        }
        state.offered += 1;
        state.sources.push(offer.source.to_vec());
        match offer.class {
            Class::Log => state.logs.push(offer.payload.to_vec()),
            Class::Event => state.events.push(offer.payload.to_vec()),
        }
        Offered::Taken
    }

    fn flush_held(&mut self) -> u64 {
        let before = self.lock().flushed;
        let mark = self.flush();
        self.lock().held += mark - before;
        mark
    }

    fn deliver_here(&mut self) {
        let mut state = self.lock();
        state.delivered_here += std::mem::take(&mut state.held);
    }

    fn flush(&mut self) -> u64 {
        let mut state = self.lock();
        state.flushed = state.offered;
        if !state.hold_acceptance {
            state.accepted = state.offered;
        }
        state.offered
    }

    fn is_accepted(&self, mark: &u64, _: Class) -> bool {
        *mark <= self.lock().accepted
    }

    fn last_seq(&self, class: Class) -> u64 {
        match class {
            Class::Log => self.lock().logs.len() as u64,
            Class::Event => self.lock().events.len() as u64,
        }
    }

    fn refused(&self, _class: Class) -> u64 {
        self.lock().refused
    }

    fn level(&self, _class: Class) -> &'static str {
        "written"
    }

    fn is_full(&self, class: Class) -> bool {
        match class {
            Class::Log => self.lock().logs_full,
            Class::Event => self.lock().events_full,
        }
    }

    fn config_result(&mut self, payload: &[u8]) -> Offered {
        self.lock().configs.push(payload.to_vec());
        Offered::Taken
    }

    fn test_message(&mut self, payload: &[u8]) {
        self.lock().tests.push(payload.to_vec());
    }

    fn on_progress(&mut self, wake: WakeUp) {
        self.lock().wake = Some(wake);
    }

    fn reserve(&self, bytes: usize) -> bool {
        assert!(bytes <= 64 << 10, "steps of at most 64 KiB");
        let mut state = self.lock();
        let fits = state.reserved + bytes <= state.budget;
        if fits {
            state.reserved += bytes;
            state.most_reserved = state.most_reserved.max(state.reserved);
        }
        fits
    }

    fn release(&self, bytes: usize) {
        let mut state = self.lock();
        state.reserved = state.reserved.checked_sub(bytes).expect("released more than was reserved");
    }
}

/// A listener on its own thread; ends, and is checked for leaks, when dropped.
pub struct Server {
    pub engine: Engine,
    pub address: SocketAddr,
    pub control: ListenerControl,
    pub stats: Arc<ListenerStats>,
    thread: Option<JoinHandle<std::io::Result<()>>>,
}

/// Defaults of the product on a free port, but for the first PING, which would come while a test counts bytes.
pub fn config() -> NatsConfig {
    let listen = vec!["127.0.0.1:0".parse().unwrap()];
    NatsConfig { listen, first_ping: Duration::from_secs(120), ..NatsConfig::default() }
}

impl Server {
    pub fn start() -> Self {
        Self::with(config())
    }

    pub fn with(config: NatsConfig) -> Self {
        Self::on(config, Engine::with_budget(48 << 20))
    }

    pub fn on(config: NatsConfig, engine: Engine) -> Self {
        let listener = Listener::bind(config).unwrap();
        let address = listener.local_addrs()[0];
        let (control, stats) = (listener.control(), listener.stats());
        let intake = engine.clone();
        let thread = std::thread::spawn(move || listener.run(intake));
        Self { engine, address, control, stats, thread: Some(thread) }
    }

    pub fn connect(&self) -> Peer {
        let mut peer = Peer { stream: TcpStream::connect(self.address).unwrap() };
        let info = peer.line();
        assert!(info.starts_with("INFO {") && info.ends_with("} \r\n"), "{info}");
        peer
    }

    /// Connected, and CONNECT sent.
    pub fn client(&self) -> Peer {
        let mut peer = self.connect();
        peer.send("CONNECT {\"verbose\":false,\"pedantic\":false,\"protocol\":1}\r\n");
        peer
    }

    /// Waits until the published counts say so.
    pub fn wait_for(&self, what: &str, condition: impl Fn(&cim_nats::ListenerCounts) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let counts = self.stats.snapshot();
            if condition(&counts) {
                return;
            }
            assert!(Instant::now() < deadline, "never: {what}: {counts:?}");
            std::thread::yield_now();
        }
    }

    pub fn finish(mut self) {
        self.end();
    }

    fn end(&mut self) {
        if let Some(thread) = self.thread.take() {
            self.control.close();
            thread.join().expect("no panic").expect("no error");
            assert_eq!(self.engine.lock().reserved, 0, "all memory was given back");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.end();
        }
    }
}

/// A client that speaks bytes.
pub struct Peer {
    pub stream: TcpStream,
}

/// How a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Open,
    Closed,
}

impl Peer {
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).unwrap();
    }

    /// Sends although the other side may have closed.
    pub fn try_send(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// One line, read byte by byte so that nothing after it is taken.
    pub fn line(&mut self) -> String {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") {
            match self.stream.read(&mut byte) {
                Ok(0) => panic!("closed after {:?}", String::from_utf8_lossy(&line)),
                Ok(_) => line.push(byte[0]),
                Err(error) => panic!("{error} after {:?}", String::from_utf8_lossy(&line)),
            }
        }
        String::from_utf8(line).unwrap()
    }

    pub fn exact(&mut self, count: usize) -> Vec<u8> {
        self.stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    pub fn expect(&mut self, expected: impl AsRef<[u8]>) {
        let expected = expected.as_ref();
        let found = self.exact(expected.len());
        assert_eq!(String::from_utf8_lossy(&found), String::from_utf8_lossy(expected));
    }

    /// PING, and everything up to its PONG.
    pub fn flush(&mut self) -> String {
        self.send("PING\r\n");
        let mut all = String::new();
        loop {
            let line = self.line();
            if line == "PONG\r\n" {
                return all;
            }
            all.push_str(&line);
        }
    }

    /// Everything until the server closes; panics when it does not.
    pub fn until_closed(&mut self) -> Vec<u8> {
        let (bytes, ending) = self.until(PATIENCE, |_| false);
        assert_eq!(ending, Ending::Closed, "still open after {:?}", String::from_utf8_lossy(&bytes));
        bytes
    }

    /// Reads until `enough`, the end, or the time limit.
    pub fn until(&mut self, limit: Duration, enough: impl Fn(&[u8]) -> bool) -> (Vec<u8>, Ending) {
        let deadline = Instant::now() + limit;
        let mut all = Vec::new();
        let mut buffer = vec![0; 1 << 16];
        while !enough(&all) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            self.stream.set_read_timeout(Some(left)).unwrap();
            match self.stream.read(&mut buffer) {
                Ok(0) => return (all, Ending::Closed),
                Ok(count) => all.extend_from_slice(&buffer[..count]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(_) => return (all, Ending::Closed),
            }
        }
        (all, Ending::Open)
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).unwrap();
    }
}
