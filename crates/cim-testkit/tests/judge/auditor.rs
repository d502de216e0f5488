//! The config server's auditor (wire contract §4.6), as a model on a store in memory.
//!
//! Owns the rules by which it deletes a pod. Left out: the pod itself, which is taken to be Ready all the time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::{Commit, ConfigScope, ConfigSource, ConfigUpdate};
use cim_testkit::MemorySource;
use futures_util::StreamExt;
use tokio::time::sleep;

const COMMIT: &str = "commit-config/ns/svc/v0/ms/pod-1";

/// Why a pod was deleted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// It wrote `-1`.
    Failed,
    /// There was no result when the lease of a change ended.
    Missing(i32),
    /// The result was that of an earlier change.
    Behind { change: i32, found: i32 },
    /// The result was not a number.
    Unreadable(String),
}

pub struct Auditor {
    store: Arc<MemorySource>,
    deaths: Arc<Mutex<Vec<Death>>>,
}

impl Auditor {
    pub fn new(store: Arc<MemorySource>) -> Self {
        Self { store, deaths: Arc::default() }
    }

    /// Writes a change under a lease.
    pub fn change(&self, document: &str, revision: i32, lease: Duration) {
        let key = format!("change-set/ns/svc/v0/ms/{document}/{revision}");
        self.store.put_leased(key, format!(r#"[{{"op":"replace","path":"/n","value":{revision}}}]"#), lease);
    }

    pub fn deaths(&self) -> Vec<Death> {
        self.deaths.lock().unwrap().clone()
    }

    fn condemn(&self, death: Death) {
        self.deaths.lock().unwrap().push(death);
    }

    /// Judges for ever. The auditor reads its store directly, so a store that is away for CIM is there for it.
    pub async fn watch(&self) {
        let scope = ConfigScope { namespace: "ns".to_owned(), microservice: "svc".to_owned() };
        let (mut resume, mut seen_failure) = (None, false);
        loop {
            let mut changes = self.store.watch(&scope, resume);
            loop {
                tokio::select! {
                    update = changes.next() => match update {
                        Some(Ok(ConfigUpdate::Delete { key, revision })) => {
                            resume = Some(revision);
                            self.audit(&key);
                        }
                        Some(Ok(ConfigUpdate::Put(entry))) => resume = Some(entry.revision),
                        Some(Ok(ConfigUpdate::Reset { revision, .. })) => resume = Some(revision),
                        Some(Err(_)) | None => break,
                    },
                    () = sleep(Duration::from_millis(500)) => {
                        let failed = self.store.value(COMMIT.as_bytes()).as_deref() == Some(b"-1");
                        if failed && !seen_failure {
                            self.condemn(Death::Failed);
                        }
                        seen_failure = failed;
                    }
                }
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The lease of a change has ended.
    fn audit(&self, key: &[u8]) {
        let key = String::from_utf8_lossy(key).into_owned();
        let Some(change) = key.rsplit('/').next().and_then(|revision| revision.parse::<i32>().ok()) else {
            return;
        };
        let Some(value) = self.store.value(COMMIT.as_bytes()) else {
            return self.condemn(Death::Missing(change));
        };
        let text = String::from_utf8_lossy(&value).into_owned();
        match text.parse::<i32>() {
            Ok(Commit::FAILED | Commit::UNUSED) => {}
            Ok(found) if found < change => self.condemn(Death::Behind { change, found }),
            Ok(found) if found == change => self.store.delete(COMMIT.as_bytes()),
            Ok(_) => {}
            Err(_) => self.condemn(Death::Unreadable(text)),
        }
    }
}
