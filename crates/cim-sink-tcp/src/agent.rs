//! The log agent of the own node (wire contract §8.4).
//!
//! Owns the question for it, and what is said when there is none. Left out: who answers the question, and connecting.
//! Invariant: it is asked for when a connection is made and at no other time, so one that moved is found again and no
//! record waits for an answer.

use std::fmt;
use std::time::Duration;

use cim_core::{Neighbours, OrchestratorError, OrchestratorErrorKind, Peer, PeerQuery, chain};
use thiserror::Error;
use tokio::time::timeout;

/// An agent that is to be found.
#[derive(Debug)]
pub(crate) struct Agent {
    query: PeerQuery,
    neighbours: Neighbours,
}

/// No agent was found.
#[derive(Debug, Error)]
pub(crate) enum NoAgent {
    /// There is none on this node.
    #[error("no pod of this node with that label has an address")]
    Absent,
    /// It cannot be told.
    #[error("{text}", text = chain(.0))]
    Unknown(OrchestratorError),
    /// It was not told in time.
    #[error("no answer to the question for it within {0:?}")]
    Late(Duration),
}

impl Agent {
    pub(crate) fn new(query: PeerQuery, neighbours: Neighbours) -> Self {
        Self { query, neighbours }
    }

    /// Where it is now; at least one, the best first.
    ///
    /// # Errors
    /// [`NoAgent`].
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(crate) async fn locate(&self, limit: Duration) -> Result<Vec<Peer>, NoAgent> {
        match timeout(limit, self.neighbours.locate(&self.query)).await {
            Err(_) => Err(NoAgent::Late(limit)),
            Ok(Err(error)) => Err(NoAgent::Unknown(error)),
            Ok(Ok(peers)) if peers.is_empty() => Err(NoAgent::Absent),
            Ok(Ok(peers)) => Ok(peers),
        }
    }
}

impl fmt::Display for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let PeerQuery::NodeAgent { selector, port } = &self.query;
        write!(f, "node agent {selector}:{port}")
    }
}

impl NoAgent {
    /// Whether waiting alone mends nothing.
    pub(crate) fn needs_a_hand(&self) -> bool {
        let Self::Unknown(error) = self else { return false };
        error.kind() != OrchestratorErrorKind::Unavailable
    }
}
