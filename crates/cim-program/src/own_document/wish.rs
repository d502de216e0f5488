//! What is asked of the loop of the process, which owns the document in force.
//!
//! Left out: what is done about it. The invariant: a change that the process does not come to any more has no result, so the next
//! start gets it again.

use cim_core::async_trait;
use cim_core::configuration::{OwnChange, OwnDocument};
use serde_json::{Map, Value};
use tokio::sync::{mpsc, oneshot};

/// Wishes that may wait. The engine has one change at a time.
const ROOM: usize = 4;

/// Something that is asked.
#[derive(Debug)]
pub enum Wish {
    /// The engine asks for a change.
    Change {
        /// The patch.
        patch: Vec<u8>,
        /// Where the result is told.
        done: oneshot::Sender<Result<OwnChange, String>>,
    },
    /// The ConfigMap says that.
    Map(Value),
    /// The application gave these parts of it when it registered.
    Given(Map<String, Value>),
    /// What is in force?
    Current(oneshot::Sender<Option<Value>>),
}

/// The side of those who ask.
#[derive(Debug, Clone)]
pub struct Wishes(mpsc::Sender<Wish>);

/// Both sides.
#[must_use]
pub fn wishes() -> (Wishes, mpsc::Receiver<Wish>) {
    let (wish, wishes) = mpsc::channel(ROOM);
    (Wishes(wish), wishes)
}

impl Wishes {
    /// Hands over what the ConfigMap says.
    ///
    /// # Cancel safety
    /// When dropped, it may or may not be taken.
    pub async fn map(&self, document: Value) {
        let _ = self.0.send(Wish::Map(document)).await;
    }

    /// Hands over what the application gave when it registered.
    ///
    /// # Cancel safety
    /// When dropped, it may or may not be taken.
    pub async fn given(&self, sections: Map<String, Value>) {
        let _ = self.0.send(Wish::Given(sections)).await;
    }

    /// The document in force; `None` when there is none, or the process ends.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn current(&self) -> Option<Value> {
        let (tell, told) = oneshot::channel();
        self.0.send(Wish::Current(tell)).await.ok()?;
        told.await.ok().flatten()
    }
}

#[async_trait]
impl OwnDocument for Wishes {
    async fn change(&self, patch: &[u8]) -> Result<OwnChange, String> {
        let (done, doing) = oneshot::channel();
        if self.0.send(Wish::Change { patch: patch.to_vec(), done }).await.is_ok()
            && let Ok(outcome) = doing.await
        {
            return outcome;
        }
        // The process ends; saying that the change failed would cost the pod its life.
        std::future::pending().await
    }
}
