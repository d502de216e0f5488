//! The documents that were in force one after the other, and which one counts.
//!
//! The config server writes the map that becomes the file, and a patch to this process; the two arrive in any order, minutes
//! apart, and a restart may come between. Pure. Left out: where documents come from and what they mean. The invariants: a file
//! that has not changed never undoes a patch, nor does one that has only come as far as a document that is left behind already;
//! any other new file wins; a patch is in force when it leads to the document in force.

use cim_core::configuration::apply_patch;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Documents left behind that are remembered, beside that of the file.
const PASSED: usize = 16;

/// The document in force and where it comes from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lineage {
    /// What the file said last.
    file: Value,
    /// What was in force since, the oldest first.
    passed: Vec<Value>,
    /// What is in force.
    current: Value,
    /// What was in force before the last change.
    previous: Option<Value>,
}

impl Lineage {
    /// The file is all there is.
    #[must_use]
    pub fn new(file: Value) -> Self {
        Self { current: file.clone(), file, passed: Vec::new(), previous: None }
    }

    /// The document in force.
    #[must_use]
    pub fn current(&self) -> &Value {
        &self.current
    }

    /// Whether patches came after the file.
    #[must_use]
    pub fn is_patched(&self) -> bool {
        self.current != self.file
    }

    /// As it is after the file was read again.
    #[must_use]
    pub fn seen(&self, file: Value) -> Self {
        if file == self.file {
            return self.clone();
        }
        let behind = self.passed.iter().rposition(|document| *document == file);
        let passed = behind.and_then(|at| self.passed.get(at + 1..)).map(<[_]>::to_vec);
        match passed {
            _ if file == self.current => Self { file, passed: Vec::new(), ..self.clone() },
            Some(passed) => Self { file, passed, ..self.clone() },
            None => Self { previous: Some(self.current.clone()), ..Self::new(file) },
        }
    }

    /// As it is after a patch (wire contract §4.3).
    ///
    /// # Errors
    /// Why the patch cannot be applied.
    pub fn patched(&self, patch: &[u8]) -> Result<Self, String> {
        let document = match apply_patch(&self.current, patch) {
            Ok(document) => document,
            // The file came first, or this process was killed before it told the result: it is in force already.
            Err(_) if self.is_reached_by(patch) => return Ok(self.clone()),
            Err(why) => return Err(why),
        };
        Ok(self.changed_to(document))
    }

    /// As it is when another document is in force.
    #[must_use]
    pub fn changed_to(&self, document: Value) -> Self {
        if document == self.current {
            return self.clone();
        }
        let mut passed = self.passed.clone();
        if self.is_patched() {
            passed.push(self.current.clone());
        }
        let surplus = passed.len().saturating_sub(PASSED);
        passed.drain(..surplus);
        Self { file: self.file.clone(), passed, current: document, previous: Some(self.current.clone()) }
    }

    fn is_reached_by(&self, patch: &[u8]) -> bool {
        let Some(previous) = &self.previous else { return false };
        apply_patch(previous, patch).is_ok_and(|document| document == self.current)
    }
}

#[cfg(test)]
mod tests;
