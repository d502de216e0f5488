//! One run of a property: the source, somebody who writes, and a watch that is followed.
//!
//! Owns the deadline of every call, and what a watch has told so far. Left out: judging it. Invariant: a call that does
//! not end in time is a finding, never a hanging test.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{
    ChangeState, ChangeStatus, Commit, ConfigOutcome, ConfigSource, ConfigStream, ConfigUpdate, Reported,
    Revision, SourceError, chain,
};
use futures_util::StreamExt as _;

use super::harness::SourceHarness;

/// What somebody else sees under the keys.
pub(super) type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

/// The state of a run.
pub(super) struct Trial<'h> {
    pub harness: &'h dyn SourceHarness,
    pub source: Arc<dyn ConfigSource>,
    /// What is in the scope, as it was written.
    pub stored: Keys,
}

impl<'h> Trial<'h> {
    pub(super) fn new(harness: &'h dyn SourceHarness) -> Self {
        Self { harness, source: harness.build(), stored: Keys::new() }
    }

    /// The key of a change for the pod that watches.
    pub(super) fn change_key(&self, revision: usize) -> Vec<u8> {
        format!("change-set/{}/v0/ms/app.json/{revision}", self.pod()).into_bytes()
    }

    /// The key of a result.
    pub(super) fn commit_key(&self) -> String {
        format!("commit-config/{}/v0/ms/pod-1", self.pod())
    }

    /// Namespace and microservice.
    pub(super) fn pod(&self) -> String {
        let scope = self.harness.scope();
        format!("{}/{}", scope.namespace, scope.microservice)
    }

    /// Writes into the scope; `false` when the store has no room for that.
    pub(super) async fn put(&mut self, key: &[u8], value: &[u8]) -> bool {
        let is_stored = self.harness.put(key, value).await.is_ok();
        if is_stored {
            self.stored.insert(key.to_vec(), value.to_vec());
        }
        is_stored
    }

    /// Writes so many changes, numbered from `first`.
    pub(super) async fn put_changes(&mut self, first: usize, count: usize) {
        for number in first..first + count {
            let key = self.change_key(number);
            self.put(&key, format!("[{number}]").as_bytes()).await;
        }
    }

    pub(super) async fn delete(&mut self, key: &[u8]) {
        self.harness.delete(key).await;
        self.stored.remove(key);
    }

    /// Begins to follow the scope.
    pub(super) fn watch(&self, resume: Option<Revision>) -> Watcher {
        let stream = self.source.watch(&self.harness.scope(), resume);
        Watcher { stream, patience: self.harness.patience(), told: Vec::new(), keys: Keys::new() }
    }

    /// Follows the scope until it is seen as it was written.
    pub(super) async fn catch_up(&self, watcher: &mut Watcher) -> Result<(), String> {
        watcher.until("what was written", |keys| *keys == self.stored).await
    }

    pub(super) async fn report(
        &self,
        outcome: &ConfigOutcome,
    ) -> Result<Result<Reported, SourceError>, String> {
        self.in_time("report", self.source.report(outcome)).await
    }

    /// Reports to a store that is well.
    pub(super) async fn store(&self, outcome: &ConfigOutcome) -> Result<Reported, String> {
        self.report(outcome)
            .await?
            .map_err(|error| format!("a store that is well took no report: {}", chain(&error)))
    }

    /// Reports until that works, as the engine would.
    pub(super) async fn insist(&self, outcome: &ConfigOutcome) -> Result<(), String> {
        let retries = async {
            while self.source.report(outcome).await.is_err() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        self.in_time("reporting again", retries).await
    }

    pub(super) async fn read(&self, key: &str) -> Result<Result<Option<Vec<u8>>, SourceError>, String> {
        self.in_time("read", self.source.read(key)).await
    }

    /// What the other side reads under the key of results.
    pub(super) async fn committed(&self) -> Option<String> {
        let value = self.harness.value(self.commit_key().as_bytes()).await?;
        Some(String::from_utf8_lossy(&value).into_owned())
    }

    pub(super) async fn in_time<T>(&self, what: &str, call: impl Future<Output = T>) -> Result<T, String> {
        let limit = self.harness.patience() * 2;
        tokio::time::timeout(limit, call).await.map_err(|_| format!("{what} did not end within {limit:?}"))
    }

    /// A result, with its story.
    pub(super) fn outcome(&self, value: i32) -> ConfigOutcome {
        let status = ChangeStatus {
            data_key: "app.json".to_owned(),
            level: "ms".to_owned(),
            revision: value,
            state: if value < 0 { ChangeState::Failed } else { ChangeState::Applied },
            reason: Some("because \"of\"\nthis".to_owned()),
            attempts: 1,
            received_ms: 1_700_000_000_000,
            pushed_ms: Some(1_700_000_000_001),
            settled_ms: None,
            deadline_ms: None,
            store_revision: None,
            count_after: None,
        };
        let story = format!("cim-status/{}/pod-1/app.json", self.pod());
        ConfigOutcome {
            commit: Some(Commit { key: self.commit_key(), value }),
            status: Some((story, status)),
        }
    }
}

/// A watch that is followed.
pub(super) struct Watcher {
    stream: ConfigStream,
    patience: Duration,
    /// Everything it told, in order.
    pub told: Vec<ConfigUpdate>,
    /// What follows from it.
    pub keys: Keys,
}

impl Watcher {
    /// Starts from what is known already.
    pub(super) fn knowing(mut self, keys: Keys) -> Self {
        self.keys = keys;
        self
    }

    /// The next item, which may be an error; `None` when the watch has ended.
    pub(super) async fn attempt(&mut self) -> Result<Option<Result<ConfigUpdate, SourceError>>, String> {
        let limit = self.patience * 2;
        let item = tokio::time::timeout(limit, self.stream.next()).await;
        let item = item.map_err(|_| format!("a watch told nothing within {limit:?}"))?;
        if let Some(Ok(update)) = &item {
            self.note(update.clone());
        }
        Ok(item)
    }

    /// The next item of a watch that is well.
    pub(super) async fn next(&mut self) -> Result<ConfigUpdate, String> {
        match self.attempt().await? {
            Some(Ok(update)) => Ok(update),
            Some(Err(error)) => Err(format!("a watch of a store that is well ended: {}", chain(&error))),
            None => Err("a watch of a store that is well ended".to_owned()),
        }
    }

    /// Follows until the keys are as wanted.
    pub(super) async fn until(
        &mut self,
        what: &str,
        mut is_there: impl FnMut(&Keys) -> bool,
    ) -> Result<(), String> {
        while !is_there(&self.keys) {
            self.next().await.map_err(|finding| format!("waiting for {what}: {finding}"))?;
        }
        Ok(())
    }

    /// The moment up to which it has told everything.
    pub(super) fn revision(&self) -> Option<Revision> {
        self.told.last().map(revision)
    }

    fn note(&mut self, update: ConfigUpdate) {
        match &update {
            ConfigUpdate::Reset { entries, .. } => {
                self.keys = entries.iter().map(|entry| (entry.key.clone(), entry.value.to_vec())).collect();
            }
            ConfigUpdate::Put(entry) => {
                self.keys.insert(entry.key.clone(), entry.value.to_vec());
            }
            ConfigUpdate::Delete { key, .. } => {
                self.keys.remove(key);
            }
        }
        self.told.push(update);
    }
}

/// The moment that an update belongs to.
pub(super) fn revision(update: &ConfigUpdate) -> Revision {
    match update {
        ConfigUpdate::Reset { revision, .. } | ConfigUpdate::Delete { revision, .. } => *revision,
        ConfigUpdate::Put(entry) => entry.revision,
    }
}

/// The updates in the order of their moments, except where a reset begins a new history.
pub(super) fn ascending(told: &[ConfigUpdate]) -> Result<(), String> {
    for pair in told.windows(2) {
        let [earlier, later] = pair else { continue };
        let is_reset = matches!(later, ConfigUpdate::Reset { .. });
        if !is_reset && revision(later) < revision(earlier) {
            return Err(format!(
                "an update of moment {} came after one of {}",
                revision(later),
                revision(earlier)
            ));
        }
    }
    Ok(())
}
