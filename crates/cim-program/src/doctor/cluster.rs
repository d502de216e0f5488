//! The orchestrator: whether it tells who this pod is, and whether it grants what the configuration needs.
//!
//! Left out: how it is asked. The invariant: nothing is changed by asking.

use std::time::Duration;

use cim_core::{Identity, Orchestrator, chain};
use tokio::time::timeout;

use super::LIMIT;
use super::finding::Finding;
use crate::backends;
use crate::cluster_needs::ClusterNeeds;
use crate::settings::{Loaded, Settings};

/// A right that the configuration needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RightReport {
    /// As people say it: `get pods`.
    pub phrase: String,
    /// What it is for.
    pub purpose: &'static str,
    /// Whether it is granted.
    pub is_granted: bool,
}

/// What the API server of a cluster told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClusterReport {
    /// The rights, in the order of the manifest.
    pub rights: Vec<RightReport>,
    /// How far its clock is from ours, and whether it is ahead; `None` when it did not tell.
    pub clock: Option<(Duration, bool)>,
}

/// Who this pod is, if that can be told, and the finding about it.
pub(super) async fn identity(
    settings: &Settings,
    orchestrator: &dyn Orchestrator,
) -> (Option<Identity>, Finding) {
    let check = format!("orchestrator {}", settings.orchestrator.kind);
    match timeout(LIMIT, orchestrator.identity()).await {
        Ok(Ok(identity)) => {
            let Identity { namespace, pod, microservice, .. } = &identity;
            let text = format!("pod {namespace}/{pod} is of microservice {microservice}");
            (Some(identity), Finding::ok(check, text))
        }
        Ok(Err(error)) => {
            let finding = Finding::fail(check, chain(&error));
            (None, finding.advice("events are held and registrations wait until it tells who this pod is"))
        }
        Err(_) => {
            let finding = Finding::fail(check, format!("has not answered within {LIMIT:?}"));
            (None, finding.advice("events are held and registrations wait until it tells who this pod is"))
        }
    }
}

/// Asks for rights and time; `None` without a cluster.
pub(super) async fn report(loaded: &Loaded) -> Option<Result<ClusterReport, String>> {
    let needs = ClusterNeeds::of(loaded);
    match timeout(LIMIT, backends::cluster_report(&loaded.settings, needs)).await {
        Ok(report) => report,
        Err(_) => Some(Err(format!("has not answered within {LIMIT:?}"))),
    }
}

/// One finding for each right.
pub(super) fn rights(report: Option<&Result<ClusterReport, String>>) -> Vec<Finding> {
    let rights = match report {
        None => return Vec::new(),
        Some(Err(why)) => {
            let finding = Finding::warn("rights", format!("cannot be asked for: {why}"));
            return vec![finding.advice("see the finding about the orchestrator")];
        }
        Some(Ok(report)) => &report.rights,
    };
    let finding = |right: &RightReport| {
        let check = format!("right {}", right.phrase);
        if right.is_granted {
            return Finding::ok(check, "is granted");
        }
        Finding::fail(check, format!("is missing ({})", right.purpose))
            .advice("apply what `cim manifest --rbac` prints; it works at once")
    };
    rights.iter().map(finding).collect()
}
