//! What the tests of the source have in common: a source on a cluster, and a reader of its stream.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::collections::BTreeMap;
use std::time::Duration;

use cim_config_etcd::{EtcdSettings, EtcdSource, Pace};
use cim_core::{
    ConfigEntry, ConfigScope, ConfigSource as _, ConfigStream, ConfigUpdate, Revision, SourceError,
};
use cim_services::Etcd;
use futures_util::StreamExt as _;
use tokio::time::{Instant, timeout};

/// Longest wait for something that has to come.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// Longest wait of the source for the answer to a call: one that a busy machine answers late is no fault.
pub const CALL_LIMIT: Duration = Duration::from_secs(5);
/// How long nothing has to come before nothing comes.
pub const QUIET: Duration = Duration::from_millis(600);

/// Settings towards these endpoints.
pub fn settings(endpoints: &[String]) -> EtcdSettings {
    EtcdSettings { endpoints: endpoints.to_vec(), ..EtcdSettings::default() }
}

/// A source on the cluster.
pub fn source(etcd: &Etcd) -> EtcdSource {
    EtcdSource::new("etcd", &settings(&etcd.endpoints())).unwrap()
}

/// A source whose times fit a test.
pub fn hasty(endpoints: &[String]) -> EtcdSource {
    paced(endpoints, pace())
}

/// The same for a test that has to do something while keys and watch differ, which takes its time on a loaded machine.
pub fn patient(endpoints: &[String]) -> EtcdSource {
    paced(endpoints, Pace { patience: Duration::from_secs(5), ..pace() })
}

pub fn paced(endpoints: &[String], pace: Pace) -> EtcdSource {
    let settings = EtcdSettings { request_timeout: CALL_LIMIT.into(), ..settings(endpoints) };
    EtcdSource::paced("etcd", &settings, pace).unwrap()
}

/// Times that fit a test.
pub fn pace() -> Pace {
    Pace {
        progress: Duration::from_millis(300),
        silence: Duration::from_secs(5),
        audit: Duration::from_secs(1),
        patience: Duration::from_secs(1),
        ..Pace::default()
    }
}

pub fn scope(microservice: &str) -> ConfigScope {
    ConfigScope { namespace: "ns".to_owned(), microservice: microservice.to_owned() }
}

/// A key of a change.
pub fn change(microservice: &str, revision: u32) -> String {
    format!("change-set/ns/{microservice}/v1/ms/app.json/{revision}")
}

/// The reader of a watch.
pub struct Tail {
    stream: ConfigStream,
    /// What the updates led to.
    pub state: BTreeMap<Vec<u8>, Vec<u8>>,
    /// The latest revision.
    pub revision: u64,
    pub resets: usize,
}

impl Tail {
    pub fn new(source: &EtcdSource, scope: &ConfigScope, resume: Option<u64>) -> Self {
        let stream = source.watch(scope, resume.map(Revision));
        Self { stream, state: BTreeMap::new(), revision: resume.unwrap_or_default(), resets: 0 }
    }

    /// Begins again where it ended, as the engine does.
    pub fn resume(&mut self, source: &EtcdSource, scope: &ConfigScope) {
        self.stream = source.watch(scope, Some(Revision(self.revision)));
    }

    /// The next item; `None` when nothing comes within `limit`.
    pub async fn within(&mut self, limit: Duration) -> Option<Result<ConfigUpdate, SourceError>> {
        let item = timeout(limit, self.stream.next()).await.ok()?.expect("the stream ended without an error");
        if let Ok(update) = &item {
            self.note(update);
        }
        Some(item)
    }

    fn note(&mut self, update: &ConfigUpdate) {
        match update {
            ConfigUpdate::Reset { revision, entries } => {
                assert!(entries.is_sorted_by_key(|entry| entry.revision), "entries are in order");
                self.state = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_vec())).collect();
                self.revision = revision.0;
                self.resets += 1;
            }
            ConfigUpdate::Put(entry) => {
                assert!(entry.revision.0 >= self.revision, "{} after {}", entry.revision, self.revision);
                self.revision = entry.revision.0;
                self.state.insert(entry.key.clone(), entry.value.to_vec());
            }
            ConfigUpdate::Delete { key, revision } => {
                assert!(revision.0 >= self.revision, "{revision} after {}", self.revision);
                self.revision = revision.0;
                self.state.remove(key);
            }
        }
    }

    /// The next update.
    pub async fn next(&mut self) -> ConfigUpdate {
        self.within(PATIENCE).await.expect("an update").expect("no error")
    }

    pub async fn reset(&mut self) -> (u64, Vec<ConfigEntry>) {
        match self.next().await {
            ConfigUpdate::Reset { revision, entries } => (revision.0, entries),
            other => panic!("not a reset: {other:?}"),
        }
    }

    pub async fn put(&mut self) -> ConfigEntry {
        match self.next().await {
            ConfigUpdate::Put(entry) => entry,
            other => panic!("not a put: {other:?}"),
        }
    }

    pub async fn delete(&mut self) -> (String, u64) {
        match self.next().await {
            ConfigUpdate::Delete { key, revision } => (String::from_utf8(key).unwrap(), revision.0),
            other => panic!("not a delete: {other:?}"),
        }
    }

    /// The error that ends it; updates before it are taken in.
    pub async fn error(&mut self) -> SourceError {
        self.error_within(PATIENCE).await
    }

    pub async fn error_within(&mut self, limit: Duration) -> SourceError {
        let deadline = Instant::now() + limit;
        loop {
            let left = deadline - Instant::now();
            if let Err(error) = self.within(left).await.expect("an error") {
                assert!(
                    timeout(PATIENCE, self.stream.next()).await.unwrap().is_none(),
                    "it ends after its error"
                );
                return error;
            }
        }
    }

    /// Nothing comes.
    pub async fn quiet(&mut self) {
        if let Some(item) = self.within(QUIET).await {
            panic!("unexpected: {item:?}");
        }
    }
}

/// A key as text.
pub fn text(key: &[u8]) -> &str {
    std::str::from_utf8(key).unwrap()
}
