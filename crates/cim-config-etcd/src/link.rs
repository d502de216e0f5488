//! The connection for reads and writes.
//!
//! Owns it, and moving on to another member when it fails. Left out: the watch, which has a connection of its own so that
//! neither delays the other. Invariant: a call takes no longer than the time limit; one that failed by the connection or
//! the credentials leaves no connection behind.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{SourceError, SourceErrorKind};
use etcd_client::{Client, Error};
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::connector::Connector;
use crate::endpoint::{Endpoint, Rotation};
use crate::failure::{self, late};

/// A connection that was not used for so long is not used again: the network may have forgotten it without a word.
const STALE: Duration = Duration::from_secs(30);

/// The connection for reads and writes.
pub(crate) struct Link {
    connector: Arc<Connector>,
    rotation: Rotation,
    open: Mutex<Option<Open>>,
}

struct Open {
    client: Client,
    used: Instant,
}

impl Link {
    pub(crate) fn new(connector: Arc<Connector>, members: Vec<Endpoint>) -> Self {
        Self { connector, rotation: Rotation::new(members), open: Mutex::default() }
    }

    /// Makes a call. It is made again over a fresh connection, to another member if there is one, when the connection or
    /// the credentials failed; so it must be harmless when repeated.
    ///
    /// # Cancel safety
    /// May be dropped at any await point; the call may have been made or not.
    pub(crate) async fn run<T, F>(&self, doing: &str, call: impl Fn(Client) -> F) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let limit = self.connector.limit();
        let deadline = Instant::now() + limit;
        let mut left = self.rotation.len().max(2);
        loop {
            let Some(member) = self.rotation.current() else {
                return Err(SourceError::new(SourceErrorKind::Misconfigured, "there is no endpoint"));
            };
            let attempt = timeout_at(deadline, self.attempt(member, doing, &call)).await;
            let error = match attempt {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => error,
                Err(_) => late(&format!("{doing} at {member}"), limit),
            };
            if !matches!(error.kind(), SourceErrorKind::Unavailable | SourceErrorKind::Unauthorized) {
                return Err(error);
            }
            self.rotation.failed(member);
            self.open.lock().await.take();
            left -= 1;
            if left == 0 || Instant::now() >= deadline {
                return Err(error);
            }
        }
    }

    async fn attempt<T, F>(
        &self,
        member: &Endpoint,
        doing: &str,
        call: &impl Fn(Client) -> F,
    ) -> Result<T, SourceError>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let client = self.client(member).await?;
        let doing = format!("{doing} at {member}");
        call(client).await.map_err(|error| failure::of(&doing, error).into_error(&doing))
    }

    async fn client(&self, member: &Endpoint) -> Result<Client, SourceError> {
        let mut open = self.open.lock().await;
        let now = Instant::now();
        if let Some(open) = open.as_mut().filter(|open| now < open.used + STALE) {
            open.used = now;
            return Ok(open.client.clone());
        }
        let client = self.connector.connect(member).await?;
        *open = Some(Open { client: client.clone(), used: now });
        Ok(client)
    }

    /// Ends the connection.
    pub(crate) async fn close(&self) {
        self.open.lock().await.take();
    }
}
