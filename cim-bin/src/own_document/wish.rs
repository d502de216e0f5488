//! The way of a change of CIM's own document from the configuration engine to the loop of the process, which owns what is in
//! force.
//!
//! Left out: what the change does. The invariant: a change that the process does not come to any more has no result, so the next
//! start gets it again.

use cim_core::async_trait;
use cim_core::configuration::{OwnChange, OwnDocument};
use tokio::sync::{mpsc, oneshot};

/// Changes that may wait. The engine has one at a time.
const ROOM: usize = 4;

/// A change that somebody waits for.
#[derive(Debug)]
pub struct Wish {
    /// The patch.
    pub patch: Vec<u8>,
    /// Where the result is told.
    pub done: oneshot::Sender<Result<OwnChange, String>>,
}

/// The side of the engine.
#[derive(Debug, Clone)]
pub struct Wishes(mpsc::Sender<Wish>);

/// Both sides.
#[must_use]
pub fn wishes() -> (Wishes, mpsc::Receiver<Wish>) {
    let (wish, wishes) = mpsc::channel(ROOM);
    (Wishes(wish), wishes)
}

#[async_trait]
impl OwnDocument for Wishes {
    async fn change(&self, patch: &[u8]) -> Result<OwnChange, String> {
        let (done, doing) = oneshot::channel();
        if self.0.send(Wish { patch: patch.to_vec(), done }).await.is_ok()
            && let Ok(outcome) = doing.await
        {
            return outcome;
        }
        // The process ends; saying that the change failed would cost the pod its life.
        std::future::pending().await
    }
}
