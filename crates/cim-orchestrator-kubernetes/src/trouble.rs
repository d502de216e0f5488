//! What is wrong with the API server, as the status page tells it.
//!
//! Owns the last failure of each right. Left out: logging. Invariant: a right that works again is forgotten; that the
//! server cannot be reached is forgotten with any answer it gives.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use cim_core::OrchestratorErrorKind;

use crate::failure::CallFailure;
use crate::rights::Right;

/// Failures that were not followed by a success, by what was tried. As many as there are rights.
#[derive(Debug, Default)]
pub(crate) struct Trouble(Mutex<BTreeMap<String, (OrchestratorErrorKind, String)>>);

impl Trouble {
    /// Takes note of how a call ended.
    pub(crate) fn note(&self, right: &Right, failure: Option<&CallFailure>) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.remove(&right.phrase());
        if failure.is_none_or(CallFailure::is_answer) {
            open.retain(|_, (kind, _)| *kind != OrchestratorErrorKind::Unavailable);
        }
        if let Some(error) = failure.filter(|failure| !failure.is_usual()).map(CallFailure::error) {
            open.insert(right.phrase(), (error.kind(), error.to_string()));
        }
    }

    /// All of it in one text; `None` when there is nothing.
    pub(crate) fn text(&self) -> Option<String> {
        let open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let texts: Vec<&str> = open.values().map(|(_, text)| text.as_str()).collect();
        (!texts.is_empty()).then(|| texts.join("; "))
    }
}
