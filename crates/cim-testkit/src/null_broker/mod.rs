//! A Kafka broker that keeps nothing: the other side of a producer in benches and fault tests.
//!
//! It speaks what a producer needs of the protocol of Kafka 2.1, checks every batch as a real broker does (checksum, counts,
//! sequence of an idempotent producer), gives offsets, and forgets the records unless told to keep them. On request it
//! does one thing wrong per request: an error code, a throttle time, a lost answer, silence, garbage.
//!
//! ```
//! use cim_testkit::null_broker::{Api, Fault, NullBroker, code};
//!
//! # fn main() -> std::io::Result<()> {
//! let broker = NullBroker::start(&[("LOGS", 10), ("EVENT", 5)])?;
//! broker.next(Api::Produce, Fault::Error(code::NOT_ENOUGH_REPLICAS));
//! let bootstrap_servers = broker.address().to_string();
//! # let _ = bootstrap_servers;
//! # Ok(())
//! # }
//! ```
//!
//! Owns its threads. Left out: consumers, transactions, more than one broker; for those there are real ones. Invariant:
//! a batch is answered with success only when it stands in the partition exactly once.

mod answer;
mod batch;
pub mod code;
mod fault;
mod prepared;
mod topics;
mod wire;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering as Memory};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use answer::Outcome;
use fault::Script;
pub use fault::{Api, Fault};
pub use prepared::Prepared;
pub use topics::KeptRecord;
use topics::Topics;

/// Longest request; a real broker has `socket.request.max.bytes` of this size.
const LONGEST_REQUEST: usize = 100 << 20;
/// Longest sleep of a connection that is throttled.
const TICK: Duration = Duration::from_millis(20);
/// Bytes of one read.
const READ_BYTES: usize = 256 * 1024;

/// Shared by the handle and all connections.
struct Shared {
    topics: Mutex<Topics>,
    script: Mutex<Script>,
    requests: Mutex<HashMap<Api, u64>>,
    refusals: Mutex<HashMap<i16, u64>>,
    advertised: Mutex<SocketAddr>,
    connections: Mutex<Vec<TcpStream>>,
    producers: AtomicI64,
    closing: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn topics(&self) -> MutexGuard<'_, Topics> {
        lock(&self.topics)
    }

    fn advertised(&self) -> SocketAddr {
        *lock(&self.advertised)
    }

    fn new_producer(&self) -> i64 {
        self.producers.fetch_add(1, Memory::Relaxed)
    }

    fn refused(&self, error: i16) {
        let mut refusals = lock(&self.refusals);
        let count = refusals.entry(error).or_default();
        *count = count.saturating_add(1);
    }

    /// Waits, but not beyond the end of the broker.
    fn wait(&self, time: Duration) {
        let start = Instant::now();
        while start.elapsed() < time && !self.closing.load(Memory::Acquire) {
            std::thread::sleep(TICK.min(time));
        }
    }

    /// Counts a request and takes its fault.
    fn next_fault(&self, api: Api) -> Option<Fault> {
        let mut requests = lock(&self.requests);
        let count = requests.entry(api).or_default();
        *count = count.saturating_add(1);
        lock(&self.script).next(api)
    }
}

/// A running broker. Dropping it closes its port and its connections.
pub struct NullBroker {
    address: SocketAddr,
    shared: Arc<Shared>,
    door: Option<JoinHandle<()>>,
}

impl NullBroker {
    /// Starts a broker with these topics and numbers of partitions on a free port of 127.0.0.1.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub fn start(topics: &[(&str, usize)]) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), topics)
    }

    /// As [`NullBroker::start`], on an address of your choice.
    ///
    /// # Errors
    /// The address is not free, or the system gives no thread.
    pub fn start_at(listen: SocketAddr, topics: &[(&str, usize)]) -> io::Result<Self> {
        Self::prepare(topics).start_at(listen)
    }

    /// A broker with these topics that is told more before it begins to listen.
    pub fn prepare(topics: &[(&str, usize)]) -> Prepared {
        Prepared::new(topics)
    }

    fn listen(listen: SocketAddr, topics: Topics) -> io::Result<Self> {
        let listener = TcpListener::bind(listen)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            topics: Mutex::new(topics),
            script: Mutex::default(),
            requests: Mutex::default(),
            refusals: Mutex::default(),
            advertised: Mutex::new(address),
            connections: Mutex::default(),
            producers: AtomicI64::new(1),
            closing: AtomicBool::new(false),
        });
        let board = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("null broker".to_owned());
        let door = Some(thread.spawn(move || accept(&listener, &board))?);
        Ok(Self { address, shared, door })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Tells clients from now on to connect to another address: that of a [`ChaosProxy`](crate::ChaosProxy) in front.
    pub fn advertise(&self, address: SocketAddr) {
        *lock(&self.shared.advertised) = address;
    }

    /// Creates a topic, or adds partitions to one.
    pub fn create_topic(&self, name: &str, partitions: usize) {
        self.shared.topics().create(name, partitions);
    }

    /// Deletes a topic with its records.
    pub fn delete_topic(&self, name: &str) {
        self.shared.topics().delete(name);
    }

    /// Keeps the records of uncompressed batches from now on.
    pub fn keep_records(&self) {
        self.shared.topics().keeps_records = true;
    }

    /// Refuses every uncompressed batch with a record whose value contains the text, with that error code.
    pub fn refuse_values_with(&self, text: &[u8], error: i16) {
        self.shared.topics().poison(text, error);
    }

    /// Forgets what it knows of producers: their next batch is answered with [`code::UNKNOWN_PRODUCER_ID`].
    pub fn forget_producers(&self) {
        self.shared.topics().forget_producers();
    }

    /// What happens to the next request of that kind for which nothing is planned yet.
    pub fn next(&self, api: Api, fault: Fault) {
        lock(&self.shared.script).add(api, fault);
    }

    /// Faults that wait for their requests.
    #[must_use]
    pub fn faults_waiting(&self) -> usize {
        lock(&self.shared.script).waiting()
    }

    /// Requests of that kind so far.
    #[must_use]
    pub fn requests(&self, api: Api) -> u64 {
        lock(&self.shared.requests).get(&api).copied().unwrap_or(0)
    }

    /// Batches that were answered with that error code.
    #[must_use]
    pub fn refusals(&self, error: i16) -> u64 {
        lock(&self.shared.refusals).get(&error).copied().unwrap_or(0)
    }

    /// Closes every connection; clients may come back.
    pub fn disconnect(&self) {
        for connection in lock(&self.shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }

    /// Offsets behind the last record, by partition; empty for a topic that does not exist.
    #[must_use]
    pub fn end_offsets(&self, topic: &str) -> Vec<i64> {
        self.shared.topics().end_offsets(topic)
    }

    /// The records that were kept, partition by partition in order.
    #[must_use]
    pub fn records(&self, topic: &str) -> Vec<KeptRecord> {
        self.shared.topics().records(topic)
    }
}

impl fmt::Debug for NullBroker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NullBroker").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Drop for NullBroker {
    fn drop(&mut self) {
        self.shared.closing.store(true, Memory::Release);
        // Wakes the thread that waits for connections.
        let _ = TcpStream::connect(self.address);
        if let Some(door) = self.door.take() {
            let _ = door.join();
        }
    }
}

fn accept(listener: &TcpListener, shared: &Shared) {
    std::thread::scope(|scope| {
        for connection in listener.incoming() {
            if shared.closing.load(Memory::Acquire) {
                break;
            }
            let Ok(connection) = connection else { continue };
            let _ = connection.set_nodelay(true);
            if let Ok(handle) = connection.try_clone() {
                lock(&shared.connections).push(handle);
            }
            let thread = std::thread::Builder::new().name("null broker".to_owned());
            let _ = thread.spawn_scoped(scope, move || {
                let _ = serve(&connection, shared);
                let _ = connection.shutdown(Shutdown::Both);
            });
        }
        for connection in lock(&shared.connections).drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    });
}

/// Requests of one connection, in order, until it ends or says what no client should.
fn serve(connection: &TcpStream, shared: &Shared) -> io::Result<()> {
    let mut reader = BufReader::with_capacity(READ_BYTES, connection);
    let mut writer = connection;
    let mut request = Vec::new();
    loop {
        let mut length = [0; 4];
        reader.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if length > LONGEST_REQUEST {
            return Ok(());
        }
        request.resize(length, 0);
        reader.read_exact(&mut request)?;
        match answer::answer(shared, &request) {
            Ok(Outcome::Answer(answer, pause)) => {
                writer.write_all(&answer)?;
                shared.wait(pause);
            }
            Ok(Outcome::Nothing) => {}
            Ok(Outcome::Close) | Err(wire::Malformed) => return Ok(()),
        }
    }
}
