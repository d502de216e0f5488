//! What the source and its watches share.
//!
//! Owns the memory of the last watch, the order of members for watches, and the end of everything. Invariant: a watch that
//! goes on where the last one ended knows what that one handed out.

use std::sync::{Arc, Mutex, PoisonError};

use cim_core::{ConfigScope, SourceError};
use tokio::sync::watch;

use crate::condition::Condition;
use crate::connector::Connector;
use crate::endpoint::Rotation;
use crate::failure;
use crate::ledger::Ledger;
use crate::pace::Pace;

pub(crate) struct Shared {
    pub(crate) name: String,
    pub(crate) connector: Arc<Connector>,
    /// The member that is watched.
    pub(crate) watched: Rotation,
    pub(crate) pace: Pace,
    pub(crate) condition: Condition,
    last: Mutex<Option<(ConfigScope, Ledger)>>,
    closed: watch::Sender<bool>,
}

impl Shared {
    pub(crate) fn new(name: String, connector: Arc<Connector>, watched: Rotation, pace: Pace) -> Self {
        let (last, closed) = (Mutex::default(), watch::Sender::new(false));
        Self { name, connector, watched, pace, condition: Condition::default(), last, closed }
    }

    /// Keeps what a watch handed out.
    pub(crate) fn remember(&self, scope: &ConfigScope, ledger: Ledger) {
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((scope.clone(), ledger));
    }

    /// What the last watch handed out, if it ended at that revision.
    pub(crate) fn recall(&self, scope: &ConfigScope, revision: u64) -> Option<Ledger> {
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        let fits = last.as_ref().is_some_and(|(of, ledger)| of == scope && ledger.revision() == revision);
        last.take_if(|_| fits).map(|(_, ledger)| ledger)
    }

    /// Ends every call and every watch, now and later.
    pub(crate) fn close(&self) {
        self.closed.send_replace(true);
    }

    /// Does something unless the source is closed before it is done.
    pub(crate) async fn unless_closed<T>(
        &self,
        work: impl Future<Output = Result<T, SourceError>>,
    ) -> Result<T, SourceError> {
        let mut closed = self.closed.subscribe();
        tokio::select! {
            biased;
            // The sender lives in `self`, so this is never an error.
            _ = closed.wait_for(|closed| *closed) => Err(failure::closed()),
            outcome = work => outcome,
        }
    }
}
