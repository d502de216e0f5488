//! What the config server and the operator are told of a settled change.

use super::super::change::Settled;
use super::super::key::{OWN_DOCUMENT, commit_key, status_key};
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
    /// What the config server and the operator are told of a settled change.
    #[must_use]
    pub fn outcome(&self, settled: &Settled) -> ConfigOutcome {
        let document = &settled.key.document;
        let value = match settled.status.state {
            ChangeState::Applied => Some(settled.key.revision),
            ChangeState::Unused => Some(Commit::UNUSED),
            ChangeState::Failed | ChangeState::RolledBack => Some(match self.on_failure {
                OnFailure::Report => Commit::FAILED,
                OnFailure::Tolerate => Commit::UNUSED,
            }),
            ChangeState::Received | ChangeState::Pushed | ChangeState::Expired | ChangeState::Superseded => {
                None
            }
        };
        let own = self.own_map && document.data_key == OWN_DOCUMENT;
        let key = commit_key(&self.identity, document.level, own);
        ConfigOutcome {
            commit: value.map(|value| Commit { key, value }),
            status: Some((status_key(&self.identity, document), settled.status.clone())),
        }
    }
}
