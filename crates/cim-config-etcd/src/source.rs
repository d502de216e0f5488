//! The source as the engine calls it.
//!
//! Owns the joining of its parts. Left out: each of them. Invariant: nothing is opened before something is asked for.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{
    CloseError, Component, ConfigOutcome, ConfigScope, ConfigSource, ConfigStream, Health, Lease, Problem,
    Reported, Revision, SourceError, async_trait,
};

use crate::connector::Connector;
use crate::endpoint::Rotation;
use crate::link::Link;
use crate::pace::Pace;
use crate::report;
use crate::settings::EtcdSettings;
use crate::shared::Shared;
use crate::watch::Watch;

/// A configuration source on etcd v3.
pub struct EtcdSource {
    shared: Arc<Shared>,
    link: Link,
}

impl EtcdSource {
    /// A source; nothing is opened.
    ///
    /// # Errors
    /// The first of the problems that [`EtcdSettings::problems`] tells.
    pub fn new(name: impl Into<String>, settings: &EtcdSettings) -> Result<Self, Problem> {
        Self::paced(name, settings, Pace::default())
    }

    /// As [`EtcdSource::new`], with other times than those that suit operators.
    ///
    /// # Errors
    /// As [`EtcdSource::new`].
    pub fn paced(name: impl Into<String>, settings: &EtcdSettings, pace: Pace) -> Result<Self, Problem> {
        if let Some(problem) = settings.problems().into_iter().next() {
            return Err(problem);
        }
        let members = settings.members().unwrap_or_default();
        let connector = Arc::new(Connector::new(settings.clone()));
        let watched = Rotation::new(members.clone());
        let shared = Arc::new(Shared::new(name.into(), Arc::clone(&connector), watched, pace));
        Ok(Self { shared, link: Link::new(connector, members) })
    }

    async fn call<T>(&self, work: impl Future<Output = Result<T, SourceError>>) -> Result<T, SourceError> {
        let outcome = self.shared.unless_closed(work).await;
        self.shared.condition.called(outcome.as_ref().map(|_| ()));
        outcome
    }
}

impl fmt::Debug for EtcdSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EtcdSource").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

#[async_trait]
impl Component for EtcdSource {
    fn name(&self) -> &str {
        &self.shared.name
    }

    async fn probe(&self) -> Health {
        self.shared.condition.health()
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.shared.close();
        self.link.close().await;
        Ok(())
    }
}

#[async_trait]
impl ConfigSource for EtcdSource {
    fn watch(&self, scope: &ConfigScope, resume: Option<Revision>) -> ConfigStream {
        Watch::new(Arc::clone(&self.shared), scope, resume).stream()
    }

    fn has_lasting_revisions(&self) -> bool {
        true
    }

    async fn report(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
        self.call(self.link.run("store a result", |client| report::store(client, outcome))).await
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        let found = self.link.run("read a key", |client| async move {
            let mut answer = client.kv_client().get(key, None).await?;
            Ok(answer.take_kvs().into_iter().next().map(|kv| kv.into_key_value().1))
        });
        self.call(found).await
    }

    async fn swap(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError> {
        self.call(self.link.run("write a note", |client| report::swap(client, key, old, new))).await
    }

    async fn time_left(&self, Lease(lease): Lease) -> Result<Option<Duration>, SourceError> {
        let left = self.link.run("ask for a lease", |client| async move {
            // -1: there is no such lease (any more).
            Ok(client.lease_client().time_to_live(lease, None).await?.ttl())
        });
        Ok(u64::try_from(self.call(left).await?).ok().map(Duration::from_secs))
    }
}
