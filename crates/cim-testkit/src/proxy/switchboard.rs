//! What the threads of a proxy share: the behaviour in force, the target, the counts.
//!
//! Left out: sockets. Invariant: a change of behaviour is seen by every thread before it forwards another byte.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Memory};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use super::behaviour::{Admission, Behaviour, Direction, Ending};
use super::link::Link;

/// Longest time a thread sleeps before it looks at the behaviour again.
pub(super) const TICK: Duration = Duration::from_millis(20);

/// Changes the bytes of one direction of one connection.
pub(super) type Rewrite = Box<dyn FnMut(Vec<u8>) -> Vec<u8> + Send>;
/// Makes a [`Rewrite`] for each connection.
pub(super) type Rewriter = Arc<dyn Fn() -> Rewrite + Send + Sync>;

/// The state behind the lock.
struct State {
    behaviour: Behaviour,
    /// Counts the changes; byte numbers count from the latest.
    generation: u64,
    /// The change that the door has carried out.
    at_the_door: u64,
    script: VecDeque<Behaviour>,
    target: SocketAddr,
    rewrite_to_target: Option<Rewriter>,
    rewrite_to_client: Option<Rewriter>,
    links: Vec<Weak<Link>>,
}

/// Shared by the handle and all threads of one proxy.
pub(super) struct Switchboard {
    state: Mutex<State>,
    door: Condvar,
    closing: AtomicBool,
    pub(super) seed: u64,
    pub(super) accepted: AtomicU64,
    pub(super) to_target: AtomicU64,
    pub(super) to_client: AtomicU64,
}

impl Switchboard {
    pub(super) fn new(target: SocketAddr, seed: u64) -> Self {
        let state = State {
            behaviour: Behaviour::faithful(),
            generation: 0,
            at_the_door: 0,
            script: VecDeque::new(),
            target,
            rewrite_to_target: None,
            rewrite_to_client: None,
            links: Vec::new(),
        };
        let (state, door) = (Mutex::new(state), Condvar::new());
        let zero = || AtomicU64::new(0);
        Self {
            state,
            door,
            closing: AtomicBool::new(false),
            seed,
            accepted: zero(),
            to_target: zero(),
            to_client: zero(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the behaviour and waits until the door has followed.
    pub(super) fn behave(&self, behaviour: Behaviour) {
        let mut state = self.state();
        state.behaviour = behaviour;
        state.script.clear();
        state.generation = state.generation.saturating_add(1);
        let wanted = state.generation;
        while state.at_the_door < wanted && !self.closing() {
            state = self.door.wait_timeout(state, TICK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    pub(super) fn script(&self, behaviours: Vec<Behaviour>) {
        self.state().script = behaviours.into();
    }

    pub(super) fn aim(&self, target: SocketAddr) {
        self.state().target = target;
    }

    pub(super) fn target(&self) -> SocketAddr {
        self.state().target
    }

    pub(super) fn rewrite(&self, direction: Direction, rewriter: Rewriter) {
        let mut state = self.state();
        match direction {
            Direction::ToTarget => state.rewrite_to_target = Some(rewriter),
            Direction::ToClient => state.rewrite_to_client = Some(rewriter),
        }
    }

    /// The rewriting of a new connection.
    pub(super) fn rewriting(&self, direction: Direction) -> Option<Rewrite> {
        let state = self.state();
        let rewriter = match direction {
            Direction::ToTarget => state.rewrite_to_target.clone(),
            Direction::ToClient => state.rewrite_to_client.clone(),
        };
        drop(state);
        rewriter.map(|rewriter| rewriter())
    }

    /// Whether the port is to be closed now, and the change this answer belongs to.
    pub(super) fn wanted_at_the_door(&self) -> (bool, u64) {
        let state = self.state();
        (state.behaviour.admission == Admission::Refuse, state.generation)
    }

    /// The door has carried out that change.
    pub(super) fn door_followed(&self, generation: u64) {
        let mut state = self.state();
        if state.at_the_door != generation {
            state.at_the_door = generation;
            self.door.notify_all();
        }
    }

    /// The next line of the script, and the change in whose time it is valid.
    pub(super) fn admit(&self) -> (u64, Option<Behaviour>) {
        self.accepted.fetch_add(1, Memory::Relaxed);
        let mut state = self.state();
        (state.generation, state.script.pop_front())
    }

    /// The behaviour in force for everybody, and how often it was changed.
    pub(super) fn behaviour(&self) -> (u64, Behaviour) {
        let state = self.state();
        (state.generation, state.behaviour)
    }

    pub(super) fn opened(&self, link: &Arc<Link>) {
        let mut state = self.state();
        state.links.retain(|link| link.strong_count() > 0);
        state.links.push(Arc::downgrade(link));
    }

    fn links(&self) -> Vec<Arc<Link>> {
        self.state().links.iter().filter_map(Weak::upgrade).collect()
    }

    /// Connections that have not ended.
    pub(super) fn live(&self) -> usize {
        self.links().iter().filter(|link| !link.ended()).count()
    }

    pub(super) fn end_all(&self, ending: Ending) {
        for link in self.links() {
            link.end(ending);
        }
    }

    pub(super) fn forwarded(&self, direction: Direction) -> &AtomicU64 {
        match direction {
            Direction::ToTarget => &self.to_target,
            Direction::ToClient => &self.to_client,
        }
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Memory::Release);
        self.door.notify_all();
    }

    pub(super) fn closing(&self) -> bool {
        self.closing.load(Memory::Acquire)
    }
}
