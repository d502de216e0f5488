//! The map that the config server keeps for CIM's own document, and the values of the start.
//!
//! Owns when the orchestrator is asked for it, and what is committed once it is known. Left out: where results go (`desk`).

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::commits::Report;
use super::super::key::{MapLevel, commit_key, own_map_name};
use super::super::work;
use super::Driver;
use crate::contract::{Commit, ConfigOutcome, OrchestratorErrorKind};

/// Longest pause before the orchestrator is asked again.
const LONGEST_PAUSE: Duration = Duration::from_secs(300);
/// The same where changes of CIM's own document wait for the answer, and their leases run.
const LONGEST_PAUSE_OF_CHANGES: Duration = Duration::from_secs(15);

impl Driver {
    /// Names under which the config server keeps CIM's own document (wire contract §4.6).
    pub(super) fn own_maps(&self) -> Vec<String> {
        let identity = &self.plan.identity;
        let (microservice, version) = (&identity.microservice, &identity.version);
        let service = &identity.tmaas.nf_service_type;
        let mut names = vec![own_map_name(microservice, version), format!("{microservice}-cim-mgmt-cfg")];
        if !service.is_empty() && service != microservice {
            names.push(own_map_name(service, version));
        }
        names
    }

    /// Whether there is a map for CIM's own document cannot be told now. Without the right to see it nobody ever will be able
    /// to: there is none then, until there is one.
    pub(super) fn own_map_is_unknown(&mut self, kind: OrchestratorErrorKind) {
        let longest = match kind {
            OrchestratorErrorKind::Unavailable => LONGEST_PAUSE_OF_CHANGES,
            _ => LONGEST_PAUSE,
        };
        if kind != OrchestratorErrorKind::Unavailable && self.desk.own_map().is_none() {
            self.desk.set_own_map(false);
        }
        let again = Instant::now() + self.own_map_pause;
        self.own_map_pause = self.own_map_pause.saturating_mul(2).min(longest);
        let names = self.own_maps();
        self.work.push(Box::pin(work::own_map(Arc::clone(&self.plan.orchestrator), names, again)));
    }

    /// The values of the start (wire contract §4.4).
    pub(super) fn commit_start(&mut self) {
        for (level, revision) in self.given_revisions() {
            self.commit_revision(level, false, &revision);
        }
        self.commit_own();
    }

    /// Revisions of the maps that the environment tells.
    pub(super) fn given_revisions(&self) -> impl Iterator<Item = (MapLevel, String)> + use<> {
        let given = [(MapLevel::Ms, &self.plan.ms_revision), (MapLevel::Nf, &self.plan.nf_revision)];
        let given = given.map(|(level, revision)| (level, revision.clone().unwrap_or_default()));
        given.into_iter().filter(|(_, revision)| !revision.is_empty())
    }

    /// The config server keeps a map of that revision for CIM's own document.
    pub(super) fn own_map(&mut self, revision: Option<String>) {
        if let Some(revision) = revision.as_ref().filter(|_| self.is_first_life) {
            self.began_with(MapLevel::Ms, true, revision);
        }
        self.desk.set_own_map(true);
        self.own_revision = revision;
        if self.start_committed {
            self.commit_own();
        }
    }

    /// The pod began with the map of that revision. A sidecar that starts again in an old pod is told that of today.
    pub(super) fn began_with(&mut self, level: MapLevel, own: bool, revision: &str) {
        if let Ok(revision) = revision.parse() {
            self.desk.begin_with(commit_key(&self.plan.identity, level, own), revision);
        }
    }

    fn commit_own(&mut self) {
        if let Some(revision) = self.own_revision.take() {
            self.commit_revision(MapLevel::Ms, true, &revision);
        }
    }

    fn commit_revision(&mut self, level: MapLevel, own: bool, revision: &str) {
        if self.plan.source.is_none() {
            return;
        }
        let Ok(value) = revision.parse() else {
            tracing::warn!(%revision, of_level = level.as_str(), "the revision of the start is not a number; it is not committed");
            return;
        };
        let commit = Some(Commit { key: commit_key(&self.plan.identity, level, own), value });
        let outcome = ConfigOutcome { commit, status: None };
        self.commits.push(Report { outcome, until: None, settled: None });
    }
}
