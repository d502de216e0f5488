//! What a proxy does to connections, as plain data.
//!
//! Left out: how it is done. Invariant: the default is faithful: every byte, unchanged, at once.

use std::time::Duration;

/// Most bytes read in one piece, when no bandwidth is set.
pub(super) const PIECE: usize = 64 * 1024;

/// Which way bytes go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// From the client that connected to the proxy, to the target.
    ToTarget,
    /// From the target to the client.
    ToClient,
}

/// What happens to a client that connects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Admission {
    /// The proxy connects to the target and forwards. When the target cannot be reached, the client is reset.
    #[default]
    Forward,
    /// Nobody listens on the port, which stays reserved: connecting is refused by the system. In a script
    /// ([`ChaosProxy::script`](super::ChaosProxy::script)) one connection is reset as soon as it is accepted.
    Refuse,
    /// The connection is accepted and never read; the target is not contacted.
    Ignore,
}

/// How a connection, or one direction of it, ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Both sides read the end of the stream; what they write from then on is answered with a reset.
    Close,
    /// Both sides get a reset. Behind a cut ([`Flow::cut_after`]) and behind the bytes of a sender that reset the
    /// connection it waits for a receiver that has no room, for eight seconds at most; as on a real network, what then
    /// still has no room is lost with it, and so is what is under way in the other direction.
    Reset,
    /// The receiver of this direction reads the end of the stream; the other direction goes on.
    HalfClose,
}

/// What happens to the bytes of one direction.
///
/// Byte numbers count from the moment the behaviour was set, and per connection: "cut after 100" means after the next
/// 100 bytes of a live connection, and after the first 100 of a later one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Flow {
    pub(super) delay: Duration,
    pub(super) jitter: Duration,
    pub(super) bytes_per_second: Option<u64>,
    pub(super) cut: Option<(u64, Ending)>,
    pub(super) garble: Option<u64>,
    pub(super) stalled: bool,
}

impl Flow {
    /// Every byte, unchanged, at once.
    #[must_use]
    pub fn faithful() -> Self {
        Self::default()
    }

    /// Every byte arrives that much later. Throughput is not limited by it below 4 MiB per `delay`.
    #[must_use]
    pub fn delay(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// A random time up to `jitter` on top of the delay. Bytes never overtake each other.
    #[must_use]
    pub fn jitter(mut self, jitter: Duration) -> Self {
        self.jitter = jitter;
        self
    }

    /// At most that many bytes per second, at least one.
    #[must_use]
    pub fn bytes_per_second(mut self, rate: u64) -> Self {
        self.bytes_per_second = Some(rate.max(1));
        self
    }

    /// Exactly `bytes` are forwarded, then the ending.
    #[must_use]
    pub fn cut_after(mut self, bytes: u64, ending: Ending) -> Self {
        self.cut = Some((bytes, ending));
        self
    }

    /// The byte with this number, from 0, arrives with all its bits inverted.
    #[must_use]
    pub fn garble(mut self, byte: u64) -> Self {
        self.garble = Some(byte);
        self
    }

    /// Nothing is read or forwarded, and nothing closed, until the behaviour changes; then it goes on where it stopped.
    #[must_use]
    pub fn stall(mut self) -> Self {
        self.stalled = true;
        self
    }

    /// Most bytes to read in one piece: a limited line is fed in pieces of a hundredth of a second.
    pub(super) fn piece(&self) -> usize {
        let limit = self.bytes_per_second.map_or(PIECE as u64, |rate| (rate / 100).max(1));
        usize::try_from(limit).unwrap_or(PIECE).min(PIECE)
    }
}

/// What happens to connections: at the door, and in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Behaviour {
    pub(super) admission: Admission,
    pub(super) to_target: Flow,
    pub(super) to_client: Flow,
}

impl Behaviour {
    /// Forwards everything as it is.
    #[must_use]
    pub fn faithful() -> Self {
        Self::default()
    }

    /// The same in both directions.
    #[must_use]
    pub fn both(flow: Flow) -> Self {
        Self { admission: Admission::Forward, to_target: flow, to_client: flow }
    }

    /// The network is gone without a word: new connections are ignored, live ones stall both ways.
    #[must_use]
    pub fn blackhole() -> Self {
        Self::both(Flow::faithful().stall()).admission(Admission::Ignore)
    }

    /// New connections are refused; live ones go on.
    #[must_use]
    pub fn refusing() -> Self {
        Self::default().admission(Admission::Refuse)
    }

    /// Sets what happens to a client that connects.
    #[must_use]
    pub fn admission(mut self, admission: Admission) -> Self {
        self.admission = admission;
        self
    }

    /// Sets what happens in one direction.
    #[must_use]
    pub fn flow(mut self, direction: Direction, flow: Flow) -> Self {
        match direction {
            Direction::ToTarget => self.to_target = flow,
            Direction::ToClient => self.to_client = flow,
        }
        self
    }

    pub(super) fn of(&self, direction: Direction) -> Flow {
        match direction {
            Direction::ToTarget => self.to_target,
            Direction::ToClient => self.to_client,
        }
    }
}
