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

/// The two maps whose documents change.
pub const LEVELS: [&str; 2] = ["ms", "nf"];

/// Where the result of a level is.
pub fn commit(level: &str) -> String {
    format!("commit-config/ns/svc/v0/{level}/pod-1")
}

pub struct Auditor {
    store: Arc<MemorySource>,
    deaths: Arc<Mutex<Vec<Death>>>,
}

impl Auditor {
    pub fn new(store: Arc<MemorySource>) -> Self {
        Self { store, deaths: Arc::default() }
    }

    /// Writes a change of a document, whose name begins with its level, under a lease.
    pub fn change(&self, document: &str, revision: i32, lease: Duration) {
        let key = format!("change-set/ns/svc/v0/{document}/{revision}");
        self.store.put_leased(key, format!(r#"[{{"op":"replace","path":"/n","value":{revision}}}]"#), lease);
    }

    /// Whom it had deleted: when a lease ended, or because of what was written.
    pub fn deaths(&self) -> Vec<Death> {
        let reports = self.store.reports();
        let values = reports.iter().filter_map(|report| Some(report.commit.as_ref()?.value.to_string()));
        let rulings = values.map(|value| Ruling::at_once(value.as_bytes()));
        let at_once =
            rulings.filter_map(|ruling| if let Ruling::Deleted(death) = ruling { Some(death) } else { None });
        self.deaths.lock().unwrap().iter().cloned().chain(at_once).collect()
    }

    fn condemn(&self, death: Death) {
        crate::tell(&format!("{death:?}"));
        self.deaths.lock().unwrap().push(death);
    }

    /// Judges for ever. The auditor reads its store directly, so a store that is away for CIM is there for it.
    pub async fn watch(&self) {
        let scope = ConfigScope { namespace: "ns".to_owned(), microservice: "svc".to_owned() };
        let mut resume = None;
        loop {
            let mut changes = self.store.watch(&scope, resume);
            while let Some(Ok(update)) = changes.next().await {
                resume = Some(match update {
                    ConfigUpdate::Delete { key, revision } => {
                        self.audit(&key);
                        revision
                    }
                    ConfigUpdate::Put(entry) => entry.revision,
                    ConfigUpdate::Reset { revision, .. } => revision,
                });
            }
            sleep(Duration::from_millis(100)).await;
        }
    }

    /// The lease of a change has ended.
    fn audit(&self, key: &[u8]) {
        let key = String::from_utf8_lossy(key);
        let parts: Vec<&str> = key.split('/').collect();
        let ["change-set", _, _, _, level, _, revision] = parts[..] else { return };
        let (change, commit) = (revision.parse().unwrap(), commit(level));
        match Ruling::at_the_end_of(change, self.store.value(commit.as_bytes()).as_deref()) {
            Ruling::Nothing | Ruling::Satisfied => {}
            Ruling::Removed => self.store.delete(commit.as_bytes()),
            Ruling::Deleted(death) => self.condemn(death),
        }
    }
}
