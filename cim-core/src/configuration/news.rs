//! What an update of the source brings besides changes, as values.
//!
//! Left out: what is done about it (`desk`, `driver`).

use std::collections::BTreeSet;

use super::key::{ChangeKey, DocumentId};
use crate::contract::Lease;

/// A lease whose length the engine has to ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeaseQuestion {
    /// The document.
    pub document: DocumentId,
    /// The change.
    pub revision: i32,
    /// Its lease.
    pub lease: Lease,
}

impl LeaseQuestion {
    /// The question for that lease of a change.
    #[must_use]
    pub fn of(key: &ChangeKey, lease: Lease) -> Self {
        Self { document: key.document.clone(), revision: key.revision, lease }
    }
}

/// A day-one document as it appears in the source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayOneEntry {
    /// Revision in its key, if it has one.
    pub revision: Option<String>,
    /// The document.
    pub value: std::sync::Arc<[u8]>,
    /// The change of the source that wrote it.
    pub written: crate::contract::Revision,
}

/// What a source update brought besides changes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct News {
    /// Leases to ask for.
    pub leases: Vec<LeaseQuestion>,
    /// Day-one documents that were written.
    pub day_one: Vec<DayOneEntry>,
    /// Revision of the one that was removed, if it has one.
    pub removed: Option<Option<String>>,
    /// Keys of results whose changes are in the store and have them: it may have been set back, and have forgotten these.
    pub results: BTreeSet<String>,
    /// Documents of which nothing was heard before: the store has to be asked what earlier runs settled.
    pub documents: Vec<DocumentId>,
}
