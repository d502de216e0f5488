//! What an application has in force: its documents, by name.
//!
//! Owns loading and patching, by RFC 6902 as libraries do it. Left out: what the application says of it. Invariant: a patch is
//! in force whole or not at all.

use std::collections::BTreeMap;

use serde_json::Value;

/// What came of a patch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It is in force.
    Done,
    /// It does not fit the document, which is as before.
    Wrong,
    /// There is no such document.
    Absent,
}

/// Documents by name.
#[derive(Debug, Default)]
pub struct Documents(BTreeMap<String, Value>);

impl Documents {
    /// Takes a first configuration: an object of documents. Anything else changes nothing.
    pub fn load(&mut self, whole: &str) {
        if let Ok(documents) = serde_json::from_str(whole) {
            self.0 = documents;
        }
    }

    /// Patches a document.
    pub fn change(&mut self, name: &str, patch: &str) -> Fit {
        let Some(document) = self.0.get_mut(name) else { return Fit::Absent };
        let Ok(patch) = serde_json::from_str::<json_patch::Patch>(patch) else { return Fit::Wrong };
        // Undoes what it did when a step fails.
        if json_patch::patch(document, &patch).is_ok() { Fit::Done } else { Fit::Wrong }
    }

    /// A document.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(name)
    }
}
