//! Results that wait for the store, as they are remembered for the next process.
//!
//! Owns the form. Left out: when it is written. A change that has its result is not handed over again, so a result that only
//! this process knew would be lost with it, and the config server would delete a pod that is well.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::change::Settled;
use super::commits::Report;
use super::key::{ChangeKey, DocumentId, MapLevel, status_key};
use super::rules::Now;
use crate::contract::{ChangeStatus, Commit, ConfigOutcome, Identity, Lease};

/// One result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unstored {
    /// Key of the change.
    change: String,
    /// Key and value of the result; `None`: only the story is told.
    commit: Option<(String, i32)>,
    lease: Option<i64>,
    is_of_new_count: bool,
    status: ChangeStatus,
}

impl Unstored {
    /// What of a report outlives the process; `None`: the next one makes it anew.
    pub(super) fn of(report: &Report) -> Option<Self> {
        let settled = report.settled.as_ref()?;
        let commit = report.outcome.commit.as_ref();
        Some(Self {
            change: settled.key.text.clone(),
            commit: commit.map(|commit| (commit.key.clone(), commit.value)),
            lease: settled.lease.map(|lease| lease.0),
            is_of_new_count: settled.is_of_new_count,
            status: settled.status.clone(),
        })
    }

    /// The report, to be made again; `None` for what cannot be one. Whether it is too late the store is asked first.
    pub(super) fn report(self, identity: &Identity, now: Now) -> Option<(DocumentId, Report)> {
        let Self { change: text, commit, lease, is_of_new_count, status } = self;
        let level = MapLevel::parse(&status.level)?;
        let document = DocumentId { level, data_key: status.data_key.clone() };
        let key = ChangeKey { text, document: document.clone(), revision: status.revision };
        let outcome = ConfigOutcome {
            commit: commit.map(|(key, value)| Commit { key, value }),
            status: Some((status_key(identity, &document), status.clone())),
        };
        let settled = Settled {
            key,
            patch: Arc::default(),
            lease: lease.map(Lease),
            commit_by: None,
            status,
            corrects: false,
            in_doubt: false,
            is_of_new_count,
        };
        Some((document, Report::of(settled, outcome, now)))
    }
}
