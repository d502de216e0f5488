//! A TCP proxy that misbehaves on demand.
//!
//! It stands between a client and a real server, and does to their bytes what networks and dying servers do: delay,
//! jitter, bandwidth, a cut at an exact byte, half close, reset, silence in one direction or both, one garbled byte, a
//! closed port. What it does can change at any time.
//!
//! ```
//! use std::io::{Read, Write};
//! use std::net::{TcpListener, TcpStream};
//! use cim_testkit::{Behaviour, ChaosProxy, Direction, Ending, Flow};
//!
//! # fn main() -> std::io::Result<()> {
//! let server = TcpListener::bind("127.0.0.1:0")?;
//! let proxy = ChaosProxy::start(server.local_addr()?, 7)?;
//! let cut = Flow::faithful().cut_after(5, Ending::Close);
//! proxy.behave(Behaviour::faithful().flow(Direction::ToTarget, cut));
//!
//! let mut client = TcpStream::connect(proxy.address())?;
//! client.write_all(b"hello, world")?;
//! let mut received = String::new();
//! server.accept()?.0.read_to_string(&mut received)?;
//! assert_eq!(received, "hello");
//! # Ok(())
//! # }
//! ```
//!
//! Owns its threads (plain ones, so that blocking tests and async tests can use it alike). Left out: any protocol.
//! Invariant: what no behaviour asks for does not happen: a faithful proxy is byte-exact in both directions, keeps half
//! closes and resets apart, and passes them on.

mod behaviour;
mod door;
mod link;
mod pump;
mod switchboard;

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering as Memory;
use std::thread::JoinHandle;

pub use behaviour::{Admission, Behaviour, Direction, Ending, Flow};
use door::Door;
use switchboard::Switchboard;

/// A running proxy. Dropping it closes its port and every connection, and waits for its threads: up to 20 ms, or 1 s
/// when it is just connecting to a target that does not answer.
pub struct ChaosProxy {
    address: SocketAddr,
    board: Arc<Switchboard>,
    door: Option<JoinHandle<()>>,
}

impl ChaosProxy {
    /// Starts a faithful proxy on a free port of 127.0.0.1. The seed decides the jitter of every connection.
    ///
    /// # Errors
    /// The system gives no port or no thread.
    pub fn start(target: SocketAddr, seed: u64) -> io::Result<Self> {
        Self::start_at((Ipv4Addr::LOCALHOST, 0).into(), target, seed)
    }

    /// As [`ChaosProxy::start`], on an address of your choice: for servers that tell clients where to connect.
    ///
    /// # Errors
    /// The address is not free, or the system gives no thread.
    pub fn start_at(listen: SocketAddr, target: SocketAddr, seed: u64) -> io::Result<Self> {
        let door = Door::open(listen)?;
        let address = door.address();
        let board = Arc::new(Switchboard::new(target, seed));
        let shared = Arc::clone(&board);
        let thread = std::thread::Builder::new().name("chaos proxy".to_owned());
        let door = Some(thread.spawn(move || door.stand(&shared))?);
        Ok(Self { address, board, door })
    }

    /// Where clients connect. It stays the same while the port is closed.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Changes what happens to all connections, live and new; a script ends. In force when this returns, for
    /// the port and for every piece of bytes but one that is just being written. Byte numbers count from now.
    pub fn behave(&self, behaviour: Behaviour) {
        self.board.behave(behaviour);
    }

    /// Gives each of the next connections a behaviour of its own, in order; later ones get that of
    /// [`ChaosProxy::behave`], which also ends the script.
    pub fn script(&self, behaviours: impl IntoIterator<Item = Behaviour>) {
        self.board.script(behaviours.into_iter().collect());
    }

    /// Changes the target of later connections: a server that came back elsewhere.
    pub fn aim(&self, target: SocketAddr) {
        self.board.aim(target);
    }

    /// Rewrites the bytes of later connections in one direction. `rewriter` is called once per connection; what it
    /// returns is called with every piece that was read, in order, and gives the bytes to forward instead.
    pub fn rewrite<R>(&self, direction: Direction, rewriter: impl Fn() -> R + Send + Sync + 'static)
    where
        R: FnMut(Vec<u8>) -> Vec<u8> + Send + 'static,
    {
        self.board.rewrite(direction, Arc::new(move || Box::new(rewriter())));
    }

    /// Ends every live connection now; new ones are welcome. [`Ending::HalfClose`] closes, as [`Ending::Close`].
    pub fn end_all(&self, ending: Ending) {
        self.board.end_all(ending);
    }

    /// Connections accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.board.accepted.load(Memory::Relaxed)
    }

    /// Connections that are alive now, ignored ones included.
    #[must_use]
    pub fn live(&self) -> usize {
        self.board.live()
    }

    /// Bytes forwarded so far, over all connections.
    #[must_use]
    pub fn forwarded(&self, direction: Direction) -> u64 {
        self.board.forwarded(direction).load(Memory::Relaxed)
    }
}

impl fmt::Debug for ChaosProxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChaosProxy")
            .field("address", &self.address)
            .field("behaviour", &self.board.behaviour().1)
            .finish_non_exhaustive()
    }
}

impl Drop for ChaosProxy {
    fn drop(&mut self) {
        self.board.close();
        if let Some(door) = self.door.take() {
            let _ = door.join();
        }
    }
}
