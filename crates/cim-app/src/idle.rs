//! Connections that wait for the next call.
//!
//! Owns how many wait. Left out: opening one. Invariant: a connection that waits has been read to the end of its last
//! answer; after the end of the application's client none waits.

use std::sync::{Mutex, PoisonError};

use crate::connection::Connection;

/// Connections that may wait. The engine makes no more calls than that at the same time.
const ROOM: usize = 8;

/// The waiting connections; `None` once the client was closed.
pub(crate) struct Idle(Mutex<Option<Vec<Connection>>>);

impl Idle {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Some(Vec::new())))
    }

    /// A connection that still stands, the one used last first.
    pub(crate) async fn take(&self) -> Option<Connection> {
        if !self.has_any() {
            return None;
        }
        // What the application closed in the meantime is noticed once the runtime has looked at its sockets.
        tokio::task::yield_now().await;
        while let Some(mut connection) = self.pop() {
            if connection.is_ready().await && connection.settle().await {
                return Some(connection);
            }
        }
        None
    }

    /// Keeps a connection for the next call, if there is room.
    pub(crate) fn keep(&self, connection: Connection) {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waiting) = waiting.as_mut().filter(|waiting| waiting.len() < ROOM) {
            waiting.push(connection);
        }
    }

    /// Closes what waits, and keeps nothing from now on.
    pub(crate) fn close(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }

    fn has_any(&self) -> bool {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.as_ref().is_some_and(|waiting| !waiting.is_empty())
    }

    fn pop(&self) -> Option<Connection> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut()?.pop()
    }
}
