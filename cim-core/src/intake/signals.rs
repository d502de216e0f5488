//! What of the intake means something to CIM itself: results of changes, and four events of the application.
//!
//! Owns recognising them. Left out: what they lead to. Invariants: a listener thread never waits here; a result that cannot
//! be taken is refused and counted; events go their usual way besides.

use std::sync::OnceLock;

use cim_wire::{Encoding, Event};
use tokio::sync::mpsc;

use super::RefusedReason;

/// Results that may wait to be looked at.
const ROOM: usize = 4096;
/// Largest result that is taken; the contract's are a few hundred bytes.
const MAX_RESULT: usize = 64 << 10;

/// Something an application told CIM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Signal {
    /// A message on CONFIG.
    Result(Vec<u8>),
    /// Event `NotConfigured` (wire contract §4.5).
    NotConfigured,
    /// Event `Configured`.
    Configured,
}

/// The way from the intake to whoever listens.
#[derive(Debug, Default)]
pub(crate) struct Signals(OnceLock<mpsc::Sender<Signal>>);

impl Signals {
    /// Listens from now on; `None` when somebody does already.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<Signal>> {
        let (sender, receiver) = mpsc::channel(ROOM);
        self.0.set(sender).ok().map(|()| receiver)
    }

    /// Hands on a message of CONFIG.
    pub(crate) fn result(&self, payload: &[u8]) -> Result<(), RefusedReason> {
        let sender = self.0.get().ok_or(RefusedReason::NoConfiguration)?;
        if payload.len() > MAX_RESULT {
            return Err(RefusedReason::TooLarge);
        }
        sender.try_send(Signal::Result(payload.to_vec())).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RefusedReason::DropNewest,
            mpsc::error::TrySendError::Closed(_) => RefusedReason::Closed,
        })
    }

    /// Looks at an event that was taken.
    pub(crate) fn event(&self, encoding: Encoding, payload: &[u8]) {
        let Some(sender) = self.0.get() else { return };
        let signal = match Event::name(encoding, payload).as_deref() {
            Some(b"NotConfigured") => Signal::NotConfigured,
            Some(b"Configured") => Signal::Configured,
            _ => return,
        };
        if sender.try_send(signal).is_err() {
            tracing::warn!("an event on configuration was not looked at, because too much waits");
        }
    }
}
