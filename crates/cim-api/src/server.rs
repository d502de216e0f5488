//! The accept loop, and what all listeners of a process share.
//!
//! One future per listener holds all of its connections, so nothing is spawned and dropping the future closes
//! everything. Left out: what is answered (`route`), and to whom (`gate`). The invariant: never more than
//! `Limits::connections` open, besides one that is about to close.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout};

use crate::connection::connection;
use crate::counts::{HttpCounts, Turned};
use crate::limits::Limits;
use crate::listen::{Doorway, Listener};
use crate::rate::Rate;
use crate::seats::Seats;
use crate::security::Security;
use crate::state::{ApiState, Face};

/// Tells whether a client that shows these bytes as its token may come in. Returns at once.
pub type Admits = dyn Fn(&[u8]) -> bool + Send + Sync;

/// What all listeners of a process share.
pub struct Server {
    pub(crate) state: Arc<dyn ApiState>,
    pub(crate) limits: Limits,
    pub(crate) counts: Arc<HttpCounts>,
    pub(crate) admits: Option<Box<Admits>>,
    pub(crate) security: Option<Arc<dyn Security>>,
}

impl fmt::Debug for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Server").field("limits", &self.limits).finish_non_exhaustive()
    }
}

impl Server {
    /// A server that anybody may ask, in the clear.
    #[must_use]
    pub fn new(state: Arc<dyn ApiState>, limits: Limits, counts: Arc<HttpCounts>) -> Self {
        Self { state, limits, counts, admits: None, security: None }
    }

    /// Only who shows a token that is admitted is answered, on TCP, except about health and metrics.
    #[must_use]
    pub fn guarded_by(mut self, admits: Box<Admits>) -> Self {
        self.admits = Some(admits);
        self
    }

    /// Clients on TCP that begin with TLS are served over TLS; others still in the clear.
    #[must_use]
    pub fn secured_by(mut self, security: Arc<dyn Security>) -> Self {
        self.security = Some(security);
        self
    }
}

/// How one listener is served.
#[derive(Debug)]
pub(crate) struct Door {
    /// Which paths.
    pub face: Face,
    /// Where it is.
    pub way: Doorway,
    /// What it takes: a flood at one door is felt at no other.
    pub rate: Rate,
}

/// Pause after a failed accept: usually no free file descriptor, which does not end at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one listener until `stop` is ready, then lets open requests finish for `Limits::drain_time`.
///
/// # Errors
/// When the listener cannot be used by the runtime. A failing connection or accept never ends the server.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection at once.
pub async fn serve(
    listener: Listener,
    face: Face,
    server: Arc<Server>,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = listener.begin()?;
    let rate = Rate::new(server.limits.requests_per_second);
    let door = Arc::new(Door { face, way: listener.way(), rate });
    let (closing, close) = watch::channel(false);
    let mut connections = FuturesUnordered::new();
    let mut seats = Seats::default();
    let mut stop = pin!(stop);
    let mut accepts_again: Option<Instant> = None;
    loop {
        let room = connections.len() < server.limits.connections;
        let accepts = accepts_again.is_none() && (room || seats.has_idle());
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(()) = connections.next() => {}
            accepted = listener.accept(server.limits.idle_time), if accepts => match accepted {
                Ok(stream) => {
                    if !room && seats.make_room() {
                        server.counts.note(Turned::Connection);
                    }
                    connections.push(connection(
                        stream, Arc::clone(&door), Arc::clone(&server), seats.take(), close.clone(),
                    ));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection; trying again");
                    accepts_again = Some(Instant::now() + ACCEPT_PAUSE);
                }
            },
            // Those who are connected are served meanwhile.
            () = sleep_until(accepts_again.unwrap_or_else(Instant::now)), if accepts_again.is_some() => {
                accepts_again = None;
            }
            // Somebody may give way now.
            () = seats.answered(), if !room => {}
        }
    }
    drop(listener);
    let _ = closing.send(true);
    let rest = async { while connections.next().await.is_some() {} };
    let _ = timeout(server.limits.drain_time, rest).await;
    Ok(())
}
