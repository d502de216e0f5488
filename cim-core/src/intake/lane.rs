//! One producer's way into the engine.
//!
//! A lane belongs to one thread: per message it verifies and copies, and takes no lock. Never waits for a sink; one
//! `write(2)` per flush at most, besides those of full buffers.

use std::sync::Arc;

use cim_wire::{Class, Encoding, sniff, verify};
use tokio::sync::watch;

use super::side::{Committed, Side};
use super::{Entrance, Level, RefusedReason, Wake};
use crate::budget::Budget;
use crate::clock;
use crate::envelope::{Envelope, Prefix};

/// One message as received.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// LOG or EVENT.
    pub class: Class,
    /// Header block as received.
    pub headers: Option<&'a [u8]>,
    /// Who sent it: the container of a log that does not name one, unless exactly one has registered. May be empty.
    pub source: &'a [u8],
    /// Payload as received.
    pub payload: &'a [u8],
    /// An event that CIM raises itself, or a line of its own, which is not counted as a message on LOG.
    pub own: bool,
}

/// What came of an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Copied; accepted once a mark taken from now on is.
    Taken,
    /// Policy `block` and no room: keep the message and hold its publisher back.
    Full,
    /// Not taken, and counted.
    Refused(RefusedReason),
}

/// A point in a lane: everything offered before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Mark {
    logs: u64,
    events: u64,
}

/// One producer's way into the engine.
#[derive(Debug)]
pub struct Lane {
    entrance: Arc<Entrance>,
    logs: Side,
    events: Side,
    /// Arrival of the messages of this turn; 0 until the first one.
    turn_ms: u64,
    registered: watch::Receiver<Option<Arc<[u8]>>>,
    /// The only container that had registered when the turn began.
    container: Option<Arc<[u8]>>,
}

impl Lane {
    pub(crate) fn new(entrance: Arc<Entrance>) -> Self {
        let logs = Side::new(Arc::clone(&entrance.logs));
        let events = Side::new(Arc::clone(&entrance.events));
        let mut registered = entrance.registered.subscribe();
        let container = registered.borrow_and_update().clone();
        Self { entrance, logs, events, turn_ms: 0, registered, container }
    }

    /// Verifies the message and copies it. `sip`: the class has no room under policy `block`, and this is one of the
    /// small reads that keep its publisher alive; up to 4 MiB may wait in this lane then.
    pub fn offer(&mut self, offer: &Offer<'_>, sip: bool) -> Offered {
        // No lock, unless somebody has registered.
        if self.turn_ms == 0 && self.registered.has_changed().unwrap_or(false) {
            self.container = self.registered.borrow_and_update().clone();
        }
        // Not in `self` meanwhile, so that what is written may borrow it.
        let container = self.container.take();
        let named = container.as_deref().filter(|_| offer.class == Class::Log);
        let offered = self.take_in(&Offer { source: named.unwrap_or(offer.source), ..*offer }, sip);
        self.container = container;
        offered
    }

    fn take_in(&mut self, offer: &Offer<'_>, sip: bool) -> Offered {
        if self.entrance.is_closed() {
            return self.refuse(offer.class, RefusedReason::Closed);
        }
        let encoding = sniff(offer.class, offer.headers, offer.payload, self.entrance.sniff);
        if let Err(error) = verify(offer.class, encoding, offer.payload) {
            let reason = if error.reason() == "too_large" {
                RefusedReason::TooLarge
            } else {
                RefusedReason::Malformed
            };
            return self.refuse(offer.class, reason);
        }
        let prefix = self.prefix(offer, encoding);
        let parts = prefix.parts(offer.payload);
        let bytes = parts.iter().map(|part| part.len()).sum();
        if !self.side(offer.class).has_room_for(bytes) {
            match self.commit(offer.class) {
                Committed::Yes => {}
                Committed::Refused(_) => return self.refuse(offer.class, RefusedReason::DropNewest),
                Committed::Blocked if sip && self.side(offer.class).may_sip() => {}
                Committed::Blocked => return Offered::Full,
            }
        }
        let side = self.side(offer.class);
        if !(offer.own && offer.class == Class::Log) {
            side.turn.note(offer.payload.len());
        }
        side.push(&parts, sip);
        if offer.class == Class::Event {
            self.entrance.signals.event(encoding, offer.payload);
        }
        Offered::Taken
    }

    fn prefix<'a>(&mut self, offer: &Offer<'a>, encoding: Encoding) -> Prefix<'a> {
        if self.turn_ms == 0 {
            self.turn_ms = clock::now_ms();
        }
        Prefix::new(encoding, self.turn_ms, offer.headers, offer.source, offer.own)
    }

    fn refuse(&mut self, class: Class, reason: RefusedReason) -> Offered {
        self.entrance.counts.class(class).refuse(reason, 1);
        Offered::Refused(reason)
    }

    fn commit(&mut self, class: Class) -> Committed {
        if class == Class::Event {
            self.note_latency();
        }
        let committed = self.side(class).commit();
        if let Committed::Refused(messages) = committed {
            self.entrance.counts.class(class).refuse(RefusedReason::DropNewest, messages);
        }
        committed
    }

    /// The age of the last event that is about to be committed: once per commit, not per message (wire contract §10.2).
    fn note_latency(&self) {
        let envelope = self.events.last_record().and_then(Envelope::parse);
        let latency = envelope.and_then(|envelope| {
            let time = cim_wire::Event::time(envelope.encoding, envelope.payload)?;
            Some(i64::try_from(envelope.arrived_ms).ok()?.saturating_sub(time))
        });
        if let Some(latency) = latency {
            self.entrance.counts.events.set_latency(latency);
        }
    }

    /// Ends the turn: everything offered goes to spool and delivery. Returns the mark that covers it.
    pub fn flush(&mut self) -> Mark {
        self.end_turn(Side::announce)
    }

    /// As [`Lane::flush`], but delivery does not hear of a few records yet: [`Lane::deliver_here`] must follow.
    pub fn flush_held(&mut self) -> Mark {
        self.end_turn(Side::announce_many)
    }

    /// Delivers what [`Lane::flush_held`] held back on this thread, as far as that does not wait for anything. It is for
    /// threads that took a few records and have told their publishers: they are quicker than another that has to be woken.
    pub fn deliver_here(&mut self) {
        for class in [Class::Event, Class::Log] {
            self.side(class).announce_here();
        }
    }

    fn end_turn(&mut self, announce: impl Fn(&mut Side)) -> Mark {
        for class in [Class::Log, Class::Event] {
            self.commit(class);
            announce(self.side(class));
        }
        self.turn_ms = 0;
        self.entrance.counts.logs.publish(&mut self.logs.turn);
        self.entrance.counts.events.publish(&mut self.events.turn);
        self.mark()
    }

    /// One message by itself: written before the call returns, or not taken at all. For lanes shared by callers that
    /// want the sequence of their own message.
    pub(super) fn place(&mut self, offer: &Offer<'_>) -> Result<(u64, Mark), Offered> {
        match self.offer(offer, false) {
            Offered::Taken => {}
            other => return Err(other),
        }
        match self.commit(offer.class) {
            Committed::Yes => Ok((self.last_seq(offer.class), self.flush())),
            Committed::Refused(_) => Err(Offered::Refused(RefusedReason::DropNewest)),
            Committed::Blocked => {
                self.side(offer.class).discard();
                Err(Offered::Full)
            }
        }
    }

    /// Covers everything offered so far. Becomes acceptable only by a [`Lane::flush`] after it.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark { logs: self.logs.offered(), events: self.events.offered() }
    }

    /// Whether everything up to the mark has reached the level of its class, or was refused and counted.
    #[must_use]
    pub fn is_accepted(&self, mark: &Mark) -> bool {
        self.logs.is_settled(mark.logs) && self.events.is_settled(mark.events)
    }

    /// As [`Lane::is_accepted`], for the messages of one class only.
    #[must_use]
    pub fn is_class_accepted(&self, mark: &Mark, class: Class) -> bool {
        match class {
            Class::Log => self.logs.is_settled(mark.logs),
            Class::Event => self.events.is_settled(mark.events),
        }
    }

    /// Sequence of the last message this lane took, valid after a flush.
    #[must_use]
    pub fn last_seq(&self, class: Class) -> u64 {
        match class {
            Class::Log => self.logs.last_seq(),
            Class::Event => self.events.last_seq(),
        }
    }

    /// Messages of the class that this lane took, and that were refused when they were committed, for want of room under policy
    /// `drop_newest`: each time those offered last.
    #[must_use]
    pub fn refused(&self, class: Class) -> u64 {
        match class {
            Class::Log => self.logs.refused(),
            Class::Event => self.events.refused(),
        }
    }

    /// The level that messages of the class reach now.
    #[must_use]
    pub fn level(&self, class: Class) -> Level {
        self.entrance.queue(class).level()
    }

    /// Whether the engine takes nothing more, because it is stopping.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.entrance.is_closed()
    }

    /// Whether publishers of the class have to be held back: policy `block`, and no room.
    #[must_use]
    pub fn is_full(&self, class: Class) -> bool {
        self.entrance.queue(class).is_full()
    }

    /// A message on subject CONFIG. Handled at once; never waits for room of LOG or EVENT.
    pub fn config_result(&mut self, payload: &[u8]) -> Offered {
        let counts = &self.entrance.counts.config;
        let mut turn = super::counts::Turn::default();
        turn.note(payload.len());
        counts.publish(&mut turn);
        match self.entrance.signals.result(payload) {
            Ok(()) => Offered::Taken,
            Err(reason) => {
                counts.refuse(reason, 1);
                Offered::Refused(reason)
            }
        }
    }

    /// A message on subject TEST: counted only.
    pub fn test_message(&mut self, payload: &[u8]) {
        let mut turn = super::counts::Turn::default();
        turn.note(payload.len());
        self.entrance.counts.test.publish(&mut turn);
    }

    /// Registers a call for whenever acceptance advances or room returns. It comes from other threads.
    pub fn on_progress(&mut self, wake: Wake) {
        self.logs.queue.on_progress(Arc::clone(&wake));
        self.events.queue.on_progress(wake);
    }

    /// The byte budget of the process.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.entrance.budget
    }

    fn side(&mut self, class: Class) -> &mut Side {
        match class {
            Class::Log => &mut self.logs,
            Class::Event => &mut self.events,
        }
    }
}
