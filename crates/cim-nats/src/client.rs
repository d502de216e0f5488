//! One connection and the table of all of them.
//!
//! Owns the state of a client. Leaves out every action on it. Invariants: a key names one connection for ever (slots
//! are reused, keys are not); an idle connection holds no buffers.

use crate::allowance::Grant;
use crate::barrier::Scope;
use crate::connect::ConnectOptions;
use crate::inbox::Inbox;
use crate::intake::Target;
use crate::interest::{Matches, SubscriptionId};
use crate::outbox::Outbox;
use crate::parser::{Need, Parser};
use cim_wire::Class;
use mio::net::TcpStream;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

/// Names a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Key {
    pub slot: usize,
    pub id: u64,
}

/// Where the last publish of a connection went, to be used again for the same subject.
#[derive(Debug)]
pub(crate) struct Route {
    pub target: Target,
    pub literal: bool,
    pub matches: Option<Arc<Matches>>,
    /// Generation of the subscriptions when `matches` was looked up; 0: never.
    pub generation: u64,
}

/// A publisher whose next message found no space.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hold {
    pub class: Class,
    pub since: Instant,
    pub next_sip: Instant,
}

/// How far a connection is on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Serving.
    Open,
    /// The peer sent FIN: what it asked for is still answered.
    PeerDone,
    /// Ended by us: the last output goes out, input is read and thrown away until the instant.
    Lingering(Instant),
    /// To be removed at the end of the turn.
    Gone,
}

/// State of one connection.
#[derive(Debug)]
pub(crate) struct Client {
    pub key: Key,
    pub stream: TcpStream,
    pub stage: Stage,
    pub parser: Parser,
    pub need: Need,
    pub inbox: Inbox,
    pub outbox: Outbox,
    pub options: ConnectOptions,
    pub authenticated: bool,
    pub subscriptions: HashMap<Box<[u8]>, SubscriptionId>,
    /// Bytes they take, and the budget that covers them.
    pub subscribed_bytes: usize,
    pub subscribed_grant: Grant,
    pub route: Route,
    /// Last turn in which a message of this connection was taken for LOG or EVENT.
    pub offered_turn: u64,
    /// What its PONGs wait for: events only once it published one.
    pub scope: Scope,
    /// Answers that wait for acceptance.
    pub barriers: u32,
    pub hold: Option<Hold>,
    /// Since when no memory was found for the rest of a frame.
    pub starved: Option<Instant>,
    /// Reading rests until memory is looked for again.
    pub starving: bool,
    /// On the list of those that try again when something moves.
    pub waiting: bool,
    /// Reading rests until then because a subscriber of this publisher is behind.
    pub stalled: Option<Instant>,
    /// Bytes of a fresh connection that may use the reserve of a full class.
    pub credit: usize,
    pub readable: bool,
    /// The poller saw the peer's FIN: a short read does not mean that the socket is empty.
    pub fin_seen: bool,
    /// All input is read.
    pub eof: bool,
    pub queued: bool,
    pub dirty: bool,
    /// Wake-up that is registered with the timers.
    pub wake: Option<Instant>,
    pub auth_deadline: Option<Instant>,
    pub next_ping: Instant,
    pub pings_out: u32,
}

impl Client {
    /// Whether input is read and obeyed.
    pub(crate) const fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Open | Stage::PeerDone)
    }

    /// Whether its socket is to be read now; `closing`: the listener ends.
    pub(crate) const fn may_read(&self, closing: bool) -> bool {
        match self.stage {
            Stage::Open => self.hold.is_none() && !self.starving && self.stalled.is_none() && !closing,
            Stage::Lingering(_) => true,
            Stage::PeerDone | Stage::Gone => false,
        }
    }
}

#[derive(Debug)]
enum Slot {
    Free,
    /// In the hands of the code that serves it.
    Taken,
    Here(Box<Client>),
}

/// All connections.
#[derive(Debug, Default)]
pub(crate) struct Clients {
    slots: Vec<Slot>,
    free: Vec<usize>,
    len: usize,
    next_id: u64,
}

impl Clients {
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// A key for a connection that is about to be inserted.
    pub(crate) fn next_key(&mut self) -> Key {
        self.next_id += 1;
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::Free);
            self.slots.len() - 1
        });
        Key { slot, id: self.next_id }
    }

    /// Gives a key back that was not used.
    pub(crate) fn cancel(&mut self, key: Key) {
        self.free.push(key.slot);
    }

    pub(crate) fn insert(&mut self, client: Box<Client>) {
        let slot = client.key.slot;
        if let Some(place) = self.slots.get_mut(slot) {
            *place = Slot::Here(client);
            self.len += 1;
        }
    }

    /// Takes a connection out to serve it; it comes back with [`Clients::put_back`] or ends with [`Clients::remove`].
    pub(crate) fn take(&mut self, key: Key) -> Option<Box<Client>> {
        let slot = self.slots.get_mut(key.slot)?;
        match std::mem::replace(slot, Slot::Taken) {
            Slot::Here(client) if client.key == key => Some(client),
            other => {
                *slot = other;
                None
            }
        }
    }

    pub(crate) fn put_back(&mut self, client: Box<Client>) {
        if let Some(slot) = self.slots.get_mut(client.key.slot) {
            *slot = Slot::Here(client);
        }
    }

    /// Frees the slot of a connection that was taken out.
    pub(crate) fn remove(&mut self, key: Key) {
        if let Some(slot @ Slot::Taken) = self.slots.get_mut(key.slot) {
            *slot = Slot::Free;
            self.free.push(key.slot);
            self.len -= 1;
        }
    }

    #[inline]
    pub(crate) fn get_mut(&mut self, key: Key) -> Option<&mut Client> {
        match self.slots.get_mut(key.slot) {
            Some(Slot::Here(client)) if client.key == key => Some(client),
            _ => None,
        }
    }

    /// The connection in a slot, whoever it is.
    pub(crate) fn at_slot(&mut self, slot: usize) -> Option<&mut Client> {
        match self.slots.get_mut(slot) {
            Some(Slot::Here(client)) => Some(client),
            _ => None,
        }
    }

    pub(crate) fn keys(&self) -> Vec<Key> {
        let here = |slot: &Slot| match slot {
            Slot::Here(client) => Some(client.key),
            _ => None,
        };
        self.slots.iter().filter_map(here).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_idle_connection_is_small() {
        assert!(size_of::<Client>() <= 1_024, "{}", size_of::<Client>());
    }
}
