//! The receivers of a sink and the way to the first one that accepts.
//!
//! Owns the order of attempts and the report of what each came to. Left out: when to try again, which is the engine's
//! decision. Invariant: nothing is connected that is not going to carry records; there are no probes.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{DeliveryError, DeliveryErrorKind};
use thiserror::Error;
use tokio::time::timeout;

use crate::address::Address;
use crate::channel::{Channel, SecureError, Security};
use crate::connection::{Connection, dial};

/// Longest wait for the resolver.
const LOOKUP: Duration = Duration::from_secs(5);

/// Where records may go.
pub(crate) struct Receivers {
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
}

impl Receivers {
    /// Connects to the first address that accepts, in the order of the list and of the resolver.
    ///
    /// # Errors
    /// [`NoReceiver`] when none does.
    ///
    /// # Cancel safety
    /// May be dropped; what was being connected is closed.
    pub(crate) async fn connect(&self) -> Result<Connection, NoReceiver> {
        let mut attempts = Vec::new();
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
                match self.connect_to(address, peer).await {
                    Ok(connection) => return Ok(connection),
                    Err(refusal) => attempts.push((label(address, peer), refusal)),
                }
            }
        }
        Err(NoReceiver { attempts })
    }

    async fn connect_to(&self, address: &Address, peer: SocketAddr) -> Result<Connection, Refusal> {
        let socket = dial(peer, self.connect_timeout).await.map_err(Refusal::Absent)?;
        let channel: Box<dyn Channel> = match &self.security {
            None => Box::new(socket),
            Some(security) => {
                let handshake = timeout(self.stall_timeout, security.secure(socket, &address.host())).await;
                let late = || SecureError::Broken(io::ErrorKind::TimedOut.into());
                handshake.unwrap_or_else(|_| Err(late())).map_err(Refusal::Insecure)?
            }
        };
        Connection::new(channel, peer, self.stall_timeout).map_err(Refusal::Absent)
    }
}

impl NoReceiver {
    /// What the engine is told: certificates need somebody's hand, everything else passes by itself.
    pub(crate) fn into_error(self) -> DeliveryError {
        let certificates = |(_, refusal): &(String, Refusal)| {
            matches!(refusal, Refusal::Insecure(SecureError::Files(_) | SecureError::Untrusted(_)))
        };
        let kind = if self.attempts.iter().all(certificates) {
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
