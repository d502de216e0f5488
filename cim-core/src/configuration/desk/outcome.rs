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

    /// The pod began with the map of that revision, whose results have this key. A new pod meets changes that it has
    /// already, as long as their leases last. They are handed over, because the application may have read its files a moment
    /// earlier; but if they fail, the pod that came instead would only meet them again.
    pub fn begin_with(&mut self, key: String, revision: i32) {
        self.began_with.insert(key, revision);
    }

    /// What the config server and the operator are told of a settled change.
    #[must_use]
    pub fn outcome(&mut self, settled: &Settled) -> ConfigOutcome {
        let document = &settled.key.document;
        let (key, mut status) = (self.commit_key(document), settled.status.clone());
        let began_with_it = self.began_with.get(&key).is_some_and(|with| settled.key.revision <= *with);
        let value = match settled.status.state {
            ChangeState::Applied => Some(settled.key.revision),
            // The application is well with the document before: no reason to lose the pod.
            ChangeState::Unused | ChangeState::Refused | ChangeState::RolledBack => Some(Commit::UNUSED),
            ChangeState::Failed if began_with_it => {
                let reason = status.reason.get_or_insert_default();
                reason.push_str("; the pod began with a map that has it, and lives on");
                Some(Commit::UNUSED)
            }
            ChangeState::Failed => Some(match self.on_failure {
                OnFailure::Report => Commit::FAILED,
                OnFailure::Tolerate => Commit::UNUSED,
            }),
            ChangeState::Received | ChangeState::Pushed | ChangeState::Expired | ChangeState::Superseded => {
                None
            }
        };
        // What an earlier run left there is history: the revisions of another count may come to the same number.
        self.committed.remove(&key);
        ConfigOutcome {
            commit: value.map(|value| Commit { key, value }),
            status: Some((status_key(&self.identity, document), status)),
        }
    }
}
