//! How the source is doing.
//!
//! Owns the last outcome of the watch and of the calls. Invariant: telling it costs nothing.

use std::sync::{Mutex, PoisonError};

use cim_core::{Health, SourceError, chain};

/// The last outcomes.
#[derive(Debug, Default)]
pub(crate) struct Condition {
    watch: Mutex<Option<String>>,
    calls: Mutex<Option<String>>,
}

impl Condition {
    /// The watch runs, or ended so.
    pub(crate) fn watching(&self, outcome: Result<(), &SourceError>) {
        note(&self.watch, outcome);
    }

    /// A read or a write succeeded, or failed so.
    pub(crate) fn called(&self, outcome: Result<(), &SourceError>) {
        note(&self.calls, outcome);
    }

    pub(crate) fn health(&self) -> Health {
        let text = |slot: &Mutex<Option<String>>| slot.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut wrong: Vec<String> = [text(&self.watch), text(&self.calls)].into_iter().flatten().collect();
        wrong.dedup();
        if wrong.is_empty() { Health::Ready } else { Health::Degraded(wrong.join("; ")) }
    }
}

fn note(slot: &Mutex<Option<String>>, outcome: Result<(), &SourceError>) {
    *slot.lock().unwrap_or_else(PoisonError::into_inner) = outcome.err().map(|error| chain(error));
}
