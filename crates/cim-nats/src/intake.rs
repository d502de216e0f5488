//! The listener's view of the engine: where LOG, EVENT, CONFIG and TEST end.
//!
//! Owns the list of intake subjects and the calls the listener makes. Leaves out spool, policies and budget, which
//! live behind the lane of `cim-core`. Invariant: nothing here waits; what cannot be taken now is answered `Full`.

use crate::notice::ANSWERS;
use cim_wire::Class;
use std::sync::Arc;

/// What became of one offered message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offered {
    /// Taken: it will be accepted by a later mark.
    Taken,
    /// No space under policy `block`: keep the message and offer it again later.
    Full,
    /// Refused for good and counted; the reason for the publisher.
    Refused(&'static str),
}

/// One message for the engine.
#[derive(Debug, Clone, Copy)]
pub struct Offer<'a> {
    /// LOG or EVENT.
    pub class: Class,
    /// Raw NATS header block.
    pub headers: Option<&'a [u8]>,
    /// CONNECT name of the publisher, possibly empty.
    pub source: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

/// The engine as the listener needs it; implemented for the lane of `cim-core`.
pub trait Intake {
    /// Names a point in the stream of offers.
    type Mark: Copy;

    /// Offers one message. `sip`: the class is full and this read keeps its publisher alive, the reserve may be used.
    fn offer(&mut self, offer: &Offer<'_>, sip: bool) -> Offered;
    /// Hands on everything offered so far.
    fn flush(&mut self) -> Self::Mark;
    /// The same, but a few messages may be left to [`Intake::deliver_here`], which follows in the same turn.
    fn flush_held(&mut self) -> Self::Mark;
    /// Delivers on this thread what the flush has left, as far as that does not wait for anything.
    fn deliver_here(&mut self);
    /// Whether every message of `class` up to `mark` reached its level.
    fn is_accepted(&self, mark: &Self::Mark, class: Class) -> bool;
    /// Sequence number of the last message taken; valid after a flush.
    fn last_seq(&self, class: Class) -> u64;
    /// How many messages of `class` were taken and refused by a flush since, each time those offered last.
    fn refused(&self, class: Class) -> u64;
    /// Name of the level reached by accepted messages of `class`.
    fn level(&self, class: Class) -> &'static str;
    /// Whether publishers of `class` are to be held back.
    fn is_full(&self, class: Class) -> bool;
    /// Takes a configuration result at once.
    fn config_result(&mut self, payload: &[u8]) -> Offered;
    /// Counts a self test.
    fn test_message(&mut self, payload: &[u8]);
    /// Calls `wake` from other threads whenever acceptance advanced or space returned.
    fn on_progress(&mut self, wake: Arc<dyn Fn() + Send + Sync>);
    /// Takes `bytes` (at most 64 KiB) from the memory budget of the process.
    fn reserve(&self, bytes: usize) -> bool;
    /// Gives `bytes` back.
    fn release(&self, bytes: usize);
}

/// Where messages of a subject go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// Into the engine, by class.
    Class(Class),
    /// A configuration result.
    Config,
    /// The self test.
    Test,
    /// The feed of notifications: an answer to one of them.
    Answer,
    /// To subscribers only.
    Broker,
}

impl Target {
    pub(crate) fn of(subject: &[u8]) -> Self {
        match subject {
            b"LOG" => Self::Class(Class::Log),
            b"EVENT" => Self::Class(Class::Event),
            b"CONFIG" => Self::Config,
            b"TEST" => Self::Test,
            _ if subject.starts_with(ANSWERS.as_bytes()) => Self::Answer,
            _ => Self::Broker,
        }
    }
}
