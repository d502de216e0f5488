//! What the config server and the operator are told of a settled change, and where.

use super::super::change::Settled;
use super::super::key::{DocumentId, OWN_DOCUMENT, commit_key, status_key};
use super::Desk;
use crate::contract::{ChangeState, Commit, ConfigOutcome};

/// Whether the config server learns of a failure in the way that costs the pod its life.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum OnFailure {
    /// `-1`: the pod is replaced.
    #[default]
    Report,
    /// `-2`: the pod lives on with the configuration it has.
    Tolerate,
}

impl Desk {
    /// Whether CIM's own document has a map of its own at the config server, which decides where its results go.
    pub fn set_own_map(&mut self, own_map: bool) {
        self.own_map = Some(own_map);
        self.touched.extend(self.lanes.keys().filter(|document| document.data_key == OWN_DOCUMENT).cloned());
    }

    /// What is known of that.
    #[must_use]
    pub fn own_map(&self) -> Option<bool> {
        self.own_map
    }

    /// Where the result of a document goes.
    pub(super) fn commit_key(&self, document: &DocumentId) -> String {
        let own = self.own_map == Some(true) && document.data_key == OWN_DOCUMENT;
        commit_key(&self.identity, document.level, own)
    }

    /// What the config server and the operator are told of a settled change.
    #[must_use]
    pub fn outcome(&mut self, settled: &Settled) -> ConfigOutcome {
        let document = &settled.key.document;
        let value = match settled.status.state {
            ChangeState::Applied => Some(settled.key.revision),
            // The application is well with the document before: no reason to lose the pod.
            ChangeState::Unused | ChangeState::Refused | ChangeState::RolledBack => Some(Commit::UNUSED),
            ChangeState::Failed => Some(match self.on_failure {
                OnFailure::Report => Commit::FAILED,
                OnFailure::Tolerate => Commit::UNUSED,
            }),
            ChangeState::Received | ChangeState::Pushed | ChangeState::Expired | ChangeState::Superseded => {
                None
            }
        };
        let key = self.commit_key(document);
        // What an earlier run left there is history: the revisions of another count may come to the same number.
        self.committed.remove(&key);
        ConfigOutcome {
            commit: value.map(|value| Commit { key, value }),
            status: Some((status_key(&self.identity, document), settled.status.clone())),
        }
    }
}
