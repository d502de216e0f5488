//! What of the intake means something to CIM itself: results of changes, and four events of the application.
//!
//! Owns recognising them. Left out: what they lead to. Invariants: a listener thread never waits here, whoever listens and
//! whoever has stopped to; a result that cannot be taken is refused and counted; events go their usual way besides.

use std::sync::OnceLock;

use cim_wire::{Encoding, Event};
use tokio::sync::{mpsc, watch};

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

/// What the application said of its end (wire contract §5.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// Event `ShutdownSuccess`.
    Success,
    /// Event `ShutdownFailure`.
    Failure,
}

/// The way from the intake to whoever listens.
#[derive(Debug)]
pub(crate) struct Signals {
    listener: OnceLock<mpsc::Sender<Signal>>,
    /// The last farewell. Only the last one counts, so that nobody waits for its being read.
    farewell: watch::Sender<Option<Farewell>>,
}

impl Default for Signals {
    fn default() -> Self {
        Self { listener: OnceLock::new(), farewell: watch::Sender::new(None) }
    }
}

impl Signals {
    /// Listens from now on; `None` when somebody does already.
    pub(crate) fn listen(&self) -> Option<mpsc::Receiver<Signal>> {
        let (sender, receiver) = mpsc::channel(ROOM);
        self.listener.set(sender).ok().map(|()| receiver)
    }

    /// Hands on a message of CONFIG.
    pub(crate) fn result(&self, payload: &[u8]) -> Result<(), RefusedReason> {
        let sender = self.listener.get().ok_or(RefusedReason::NoConfiguration)?;
        if payload.len() > MAX_RESULT {
            return Err(RefusedReason::TooLarge);
        }
        sender.try_send(Signal::Result(payload.to_vec())).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => RefusedReason::DropNewest,
            mpsc::error::TrySendError::Closed(_) => RefusedReason::Closed,
        })
    }

    /// Watches for what the application says of its end, from now on.
    pub(crate) fn farewell(&self) -> watch::Receiver<Option<Farewell>> {
        self.farewell.subscribe()
    }

    /// Looks at an event that was taken.
    pub(crate) fn event(&self, encoding: Encoding, payload: &[u8]) {
        match Event::name(encoding, payload).as_deref() {
            Some(b"NotConfigured") => self.about_configuration(Signal::NotConfigured),
            Some(b"Configured") => self.about_configuration(Signal::Configured),
            Some(b"ShutdownSuccess") => drop(self.farewell.send_replace(Some(Farewell::Success))),
            Some(b"ShutdownFailure") => drop(self.farewell.send_replace(Some(Farewell::Failure))),
            _ => {}
        }
    }

    fn about_configuration(&self, signal: Signal) {
        let Some(sender) = self.listener.get() else { return };
        if sender.try_send(signal).is_err() {
            tracing::warn!("an event on configuration was not looked at, because too much waits");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn farewells_are_heard_however_many_come_and_whoever_listens() {
        let signals = Signals::default();
        let event = |name: &str| {
            signals.event(Encoding::Json, format!(r#"{{"eventName":"{name}"}}"#).as_bytes());
        };
        event("ShutdownSuccess");
        let mut farewell = signals.farewell();
        assert!(!farewell.has_changed().unwrap(), "what was said before does not count");
        for _ in 0..10_000 {
            event("ShutdownSuccess");
        }
        event("ShutdownFailure");
        assert_eq!(*farewell.borrow_and_update(), Some(Farewell::Failure));
        drop(farewell);
        event("ShutdownSuccess");
        event("Configured");
    }
}
