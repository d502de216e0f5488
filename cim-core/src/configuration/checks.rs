//! What is known of the application's documents, and what that says of a change before and after it is handed over.
//!
//! Owns the documents. Left out: when it is asked. Invariant: a document is kept only while CIM knows exactly what the
//! application has; a change that cannot be followed makes it unknown.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::patch;
use super::plan::Check;
use super::store::Memory;

/// Documents as the application has them.
#[derive(Default)]
pub(crate) struct Documents {
    known: BTreeMap<String, Value>,
    /// As they were before the last change.
    before: BTreeMap<String, Value>,
    /// Names of those that had to pass unjudged.
    unjudged: BTreeSet<String>,
    dry_run: bool,
    check: Option<Arc<dyn Check>>,
}

impl Documents {
    /// The documents that an earlier run [remembered](Self::remember).
    pub(crate) fn new(memory: &Memory, dry_run: bool, check: Option<Arc<dyn Check>>) -> Self {
        let (known, before) = (memory.known.clone(), memory.before.clone());
        Self { known, before, unjudged: BTreeSet::new(), dry_run, check }
    }

    /// Keeps the documents for the next run.
    pub(crate) fn remember(&self, memory: &mut Memory) {
        memory.known.clone_from(&self.known);
        memory.before.clone_from(&self.before);
    }

    /// Takes over a first configuration: an object of documents by name.
    pub(crate) fn load(&mut self, whole: &[u8]) {
        if let Ok(documents) = serde_json::from_slice::<BTreeMap<String, Value>>(whole) {
            self.before.clear();
            self.known = documents;
        }
    }

    /// Whether the application's document of that name is known.
    pub(crate) fn know(&self, data_key: &str) -> bool {
        self.known.contains_key(data_key)
    }

    /// The application began anew: what it has is to be asked.
    pub(crate) fn forget(&mut self) {
        self.known.clear();
        self.before.clear();
    }

    /// What the application has of that name is to be asked.
    pub(crate) fn lose(&mut self, data_key: &str) {
        self.known.remove(data_key);
        self.before.remove(data_key);
    }

    /// The application told the document.
    pub(crate) fn learn(&mut self, data_key: &str, document: Value) {
        self.known.insert(data_key.to_owned(), document);
    }

    /// Judges a change before it is handed over.
    ///
    /// # Errors
    /// Why it must not be.
    pub(crate) fn judge(&mut self, data_key: &str, change: &[u8]) -> Result<(), String> {
        if !self.dry_run && self.check.is_none() {
            return Ok(());
        }
        let Some(document) = self.known.get(data_key) else {
            if self.unjudged.insert(data_key.to_owned()) {
                tracing::warn!(
                    document = data_key,
                    "changes of it pass without a check, because it is not known: there was no first configuration, and \
                     `confirm.read_back` does not tell it"
                );
            }
            return Ok(());
        };
        let changed = patch::apply(document, change)?;
        self.check.as_ref().map_or(Ok(()), |check| check.judge(data_key, &changed))
    }

    /// What the document would be with a change; `None` when that cannot be told.
    pub(crate) fn with(&self, data_key: &str, change: &[u8]) -> Option<Value> {
        patch::apply(self.known.get(data_key)?, change).ok()
    }

    /// The patch that undoes a change that is not yet settled.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn undo(&self, data_key: &str, change: &[u8]) -> Result<Vec<u8>, String> {
        let document = self.known.get(data_key).ok_or("the document before the change is not known")?;
        Ok(patch::between(&patch::apply(document, change)?, document))
    }

    /// The patch that leads back to the document before the last change.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn back(&self, data_key: &str) -> Result<Vec<u8>, String> {
        let (Some(document), Some(before)) = (self.known.get(data_key), self.before.get(data_key)) else {
            return Err(format!("what `{data_key}` was before its last change is not known"));
        };
        Ok(patch::between(document, before))
    }

    /// The patch that led to the document from what it was before its last change.
    ///
    /// # Errors
    /// Why there is none.
    pub(crate) fn last_change(&self, data_key: &str) -> Result<Value, String> {
        let (Some(document), Some(before)) = (self.known.get(data_key), self.before.get(data_key)) else {
            return Err(format!("what `{data_key}` was before its last change is not known"));
        };
        serde_json::from_slice(&patch::between(before, document)).map_err(|error| error.to_string())
    }

    /// The document went back to what it was before its last change.
    pub(crate) fn went_back(&mut self, data_key: &str) {
        if let Some(before) = self.before.remove(data_key) {
            self.known.insert(data_key.to_owned(), before);
        }
    }

    /// The application has the change in force.
    pub(crate) fn applied(&mut self, data_key: &str, change: &[u8]) {
        let Some(document) = self.known.remove(data_key) else { return };
        if let Ok(changed) = patch::apply(&document, change) {
            self.known.insert(data_key.to_owned(), changed);
            self.before.insert(data_key.to_owned(), document);
        }
    }
}
