//! A NATS server that somebody else runs, as the program sees it.
//!
//! Left out: the client. The invariant: its troubles never make the pod unready; what it keeps waits there.

use cim_core::async_trait;
use cim_core::intake::Lane;

/// How it is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalStatus {
    /// Why messages do not arrive; `None` when they do.
    pub trouble: Option<String>,
    /// Messages that were lost for want of room.
    pub lost: u64,
}

/// A way in from such a server.
#[async_trait]
pub trait ExternalIntake: Send + Sync + 'static {
    /// Asks for nothing more: [`ExternalIntake::run`] takes what has come, answers it, and ends.
    fn leave(&self);

    /// Takes messages until it is told to leave, or the engine stops; `lane` gives a way in for each subject.
    ///
    /// # Cancel safety
    /// When dropped, messages that were read and not accepted are lost if the server does not keep them.
    async fn run(&self, lane: &(dyn Fn() -> Lane + Send + Sync));

    /// How it is doing.
    fn status(&self) -> ExternalStatus;
}
