//! The receivers of a sink and the way to the first one that accepts.
//!
//! Owns the order of attempts, the agent of the node before the addresses, and the report of what each came to. Left out: when to try again, which is the engine's
//! decision. Invariant: nothing is connected that is not going to carry records; there are no probes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{DeliveryError, DeliveryErrorKind, Peer};
use thiserror::Error;
use tokio::time::timeout;

use crate::address::Address;
use crate::agent::{Agent, NoAgent};
use crate::channel::{Channel, SecureError, Security};
use crate::connection::{Connection, dial};

/// Longest wait for the resolver.
const LOOKUP: Duration = Duration::from_secs(5);

/// Longest wait for the orchestrator, which may need two calls.
const LOCATE: Duration = Duration::from_secs(10);

/// Where records may go.
pub(crate) struct Receivers {
    pub agent: Option<Agent>,
    pub addresses: Vec<Address>,
    pub connect_timeout: Duration,
    pub stall_timeout: Duration,
    pub security: Option<Arc<dyn Security>>,
}

/// No receiver accepted; what each attempt came to.
#[derive(Debug, Error)]
pub(crate) struct NoReceiver {
    attempts: Vec<(String, Refusal)>,
}

#[derive(Debug, Error)]
enum Refusal {
    #[error("the name cannot be looked up: {0}")]
    Unknown(io::Error),
    #[error("the name has no address")]
    Nameless,
    #[error("{0}")]
    Absent(io::Error),
    #[error("{0}: {cause}", cause = innermost(.0))]
    Insecure(SecureError),
    #[error("{0}")]
    Unlocated(NoAgent),
}

impl Receivers {
    /// Connects to the first that accepts: the agent of the node, then the addresses in the order of the list and of the
    /// resolver.
    ///
    /// # Errors
    /// [`NoReceiver`] when none does.
    ///
    /// # Cancel safety
    /// May be dropped; what was being connected is closed.
    pub(crate) async fn connect(&self) -> Result<Connection, NoReceiver> {
        let mut attempts = Vec::new();
        if let Some(agent) = &self.agent {
            match self.connect_to_agent(agent).await {
                Ok(connection) => return Ok(connection),
                Err(refusals) => attempts.extend(refusals),
            }
        }
        for address in &self.addresses {
            let lookup = timeout(LOOKUP, address.resolve()).await;
            let peers = match lookup.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
                Ok(peers) if peers.is_empty() => {
                    attempts.push((address.to_string(), Refusal::Nameless));
                    continue;
                }
                Ok(peers) => peers,
                Err(error) => {
                    attempts.push((address.to_string(), Refusal::Unknown(error)));
                    continue;
                }
            };
            for peer in peers {
                match self.connect_to(&address.host(), peer).await {
                    Ok(connection) => return Ok(connection),
                    Err(refusal) => attempts.push((label(address, peer), refusal)),
                }
            }
        }
        Err(NoReceiver { attempts })
    }

    async fn connect_to_agent(&self, agent: &Agent) -> Result<Connection, Vec<(String, Refusal)>> {
        let peers = agent.locate(LOCATE).await;
        let peers = peers.map_err(|none| vec![(agent.to_string(), Refusal::Unlocated(none))])?;
        let mut attempts = Vec::new();
        for Peer { name, address } in peers {
            match self.connect_to(&address.ip().to_string(), address).await {
                Ok(connection) => return Ok(connection),
                Err(refusal) => attempts.push((format!("{name} ({address})"), refusal)),
            }
        }
        Err(attempts)
    }

    async fn connect_to(&self, host: &str, peer: SocketAddr) -> Result<Connection, Refusal> {
        let socket = dial(peer, self.connect_timeout).await.map_err(Refusal::Absent)?;
        let channel: Box<dyn Channel> = match &self.security {
            None => Box::new(socket),
            Some(security) => {
                let handshake = timeout(self.stall_timeout, security.secure(socket, host)).await;
                let late = || SecureError::Broken(io::ErrorKind::TimedOut.into());
                handshake.unwrap_or_else(|_| Err(late())).map_err(Refusal::Insecure)?
            }
        };
        Connection::new(channel, peer, self.stall_timeout).map_err(Refusal::Absent)
    }
}

impl NoReceiver {
    /// What the engine is told: certificates and rights need somebody's hand, everything else passes by itself.
    pub(crate) fn into_error(self) -> DeliveryError {
        let needs_a_hand = |(_, refusal): &(String, Refusal)| match refusal {
            Refusal::Insecure(SecureError::Files(_) | SecureError::Untrusted(_)) => true,
            Refusal::Unlocated(none) => none.needs_a_hand(),
            _ => false,
        };
        let kind = if self.attempts.iter().all(needs_a_hand) {
            DeliveryErrorKind::Misconfigured
        } else {
            DeliveryErrorKind::Unavailable
        };
        DeliveryError::new(kind, "cannot connect to a receiver").with_source(self)
    }
}

impl fmt::Display for NoReceiver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (address, refusal)) in self.attempts.iter().enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {refusal}")?;
        }
        Ok(())
    }
}

/// The address as configured, and the IP address that was tried where that is another.
fn label(address: &Address, peer: SocketAddr) -> String {
    let (configured, peer) = (address.to_string(), peer.to_string());
    if configured == peer { configured } else { format!("{configured} ({peer})") }
}

/// The text of the last cause.
fn innermost(error: &SecureError) -> String {
    let mut last: &dyn std::error::Error = error;
    while let Some(cause) = last.source() {
        last = cause;
    }
    last.to_string()
}
