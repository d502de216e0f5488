//! The config server's auditor (wire contract §4.6), as a model on a store in memory.
//!
//! Owns its watch, and whom it has condemned. Left out: the rules ([`Ruling`]), and the pod itself, which is taken to be Ready
//! all the time.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_core::{ConfigScope, ConfigSource, ConfigUpdate};
use cim_testkit::{Death, MemorySource, Ruling};
use futures_util::StreamExt;
use tokio::time::sleep;

const COMMIT: &str = "commit-config/ns/svc/v0/ms/pod-1";

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
        match Ruling::at_the_end_of(change, self.store.value(COMMIT.as_bytes()).as_deref()) {
            Ruling::Nothing | Ruling::Satisfied => {}
            Ruling::Removed => self.store.delete(COMMIT.as_bytes()),
            Ruling::Deleted(death) => self.condemn(death),
        }
    }
}
