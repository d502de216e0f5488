//! One client and its connection to the target.
//!
//! Left out: forwarding. Invariant: a link ends once; its sockets close when its threads have noticed.

use std::io::Read as _;
use std::net::{Shutdown, TcpStream};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::behaviour::{Admission, Behaviour, Direction, Ending, Flow};
use super::switchboard::{Switchboard, TICK};

/// Most pieces of unread input thrown away before a close, so that it is a close and not a reset.
const DISCARDED: usize = 64;
/// Longest wait before a reset for a receiver that has no room for the bytes before it.
const ROOM_WITHIN: Duration = Duration::from_secs(8);

/// A connection that is being forwarded, or ignored.
pub(super) struct Link {
    client: TcpStream,
    /// Not set before the target is reached; never for a client that is ignored.
    target: OnceLock<TcpStream>,
    /// A behaviour of its own, valid until the behaviour of all is changed.
    own: Option<Behaviour>,
    born: u64,
    ended: OnceLock<Ending>,
}

impl Link {
    pub(super) fn new(client: TcpStream, (born, own): (u64, Option<Behaviour>)) -> Self {
        let _ = client.set_nodelay(true);
        Self { client, target: OnceLock::new(), own, born, ended: OnceLock::new() }
    }

    /// The target is reached. A link that ended meanwhile ends there too.
    pub(super) fn reached(&self, target: TcpStream) {
        let _ = target.set_nodelay(true);
        let target = self.target.get_or_init(|| target);
        if let Some(ending) = self.ended.get() {
            finish(target, *ending);
        }
    }

    /// What happens to the client.
    pub(super) fn admission(&self, board: &Switchboard) -> Admission {
        self.own.unwrap_or_else(|| board.behaviour().1).admission
    }

    /// Where bytes of a direction come from and go to.
    pub(super) fn ends(&self, direction: Direction) -> Option<(&TcpStream, &TcpStream)> {
        let target = self.target.get()?;
        Some(match direction {
            Direction::ToTarget => (&self.client, target),
            Direction::ToClient => (target, &self.client),
        })
    }

    /// What is in force for one direction, and since which change.
    pub(super) fn flow(&self, board: &Switchboard, direction: Direction) -> (u64, Flow) {
        let (generation, for_all) = board.behaviour();
        let behaviour = self.own.filter(|_| generation == self.born).unwrap_or(for_all);
        (generation, behaviour.of(direction))
    }

    pub(super) fn ended(&self) -> bool {
        self.ended.get().is_some()
    }

    /// Ends both directions. A half close belongs to one direction and is not done here.
    pub(super) fn end(&self, ending: Ending) {
        if self.ended.set(ending).is_ok() {
            for socket in [Some(&self.client), self.target.get()].into_iter().flatten() {
                finish(socket, ending);
            }
        }
    }
}

fn finish(socket: &TcpStream, ending: Ending) {
    if ending == Ending::Reset {
        // No linger: the close that follows sends a reset.
        let _ = socket2::SockRef::from(socket).set_linger(Some(Duration::ZERO));
    } else {
        let _ = socket.shutdown(Shutdown::Write);
        discard(socket);
    }
}

/// Waits until every byte written to the socket has been sent, which needs room at the receiver.
pub(super) fn let_out(socket: &TcpStream, ended: impl Fn() -> bool) {
    // With this mark a socket is writable when nothing is left to send, and not before.
    if socket2::SockRef::from(socket).set_tcp_notsent_lowat(1).is_err() {
        return;
    }
    let start = Instant::now();
    let tick = Timespec::try_from(TICK).unwrap_or_default();
    while start.elapsed() < ROOM_WITHIN && !ended() {
        if poll(&mut [PollFd::new(socket, PollFlags::OUT)], Some(&tick)) != Ok(0) {
            return;
        }
    }
}

/// A socket that is closed with unread input would reset its peer.
fn discard(socket: &TcpStream) {
    let _ = socket.set_nonblocking(true);
    let mut piece = [0; 4096];
    for _ in 0..DISCARDED {
        if !matches!((&*socket).read(&mut piece), Ok(1..)) {
            break;
        }
    }
}
