//! The signals of the process: two ask for the end, one for another load of the configuration.
//!
//! Left out: what follows. Invariant: from the moment they are listened to, none of them kills the process.

use tokio::signal::unix::{Signal, SignalKind, signal};

/// A signal that asks for the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct End {
    /// Its name.
    pub name: &'static str,
    /// The text that the original announced it by (wire contract §7.4).
    pub text: &'static str,
}

const TERMINATE: End = End { name: "SIGTERM", text: "terminated" };
const INTERRUPT: End = End { name: "SIGINT", text: "interrupt" };

/// The signals the process listens to.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    /// Listens from now on.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    /// Waits for any signal; `None` asks for another load of the configuration, anything else asks for the end.
    ///
    /// # Cancel safety
    /// May be dropped and called again: no signal is lost.
    pub async fn next(&mut self) -> Option<End> {
        tokio::select! {
            _ = self.terminate.recv() => Some(TERMINATE),
            _ = self.interrupt.recv() => Some(INTERRUPT),
            _ = self.hangup.recv() => None,
        }
    }

    /// Waits for a signal that asks for the end.
    ///
    /// # Cancel safety
    /// As [`Signals::next`].
    pub async fn end(&mut self) -> End {
        loop {
            if let Some(end) = self.next().await {
                return end;
            }
        }
    }
}
