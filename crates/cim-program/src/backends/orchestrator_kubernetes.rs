//! The orchestrator `kubernetes`, as the registry knows it.

use std::sync::Arc;

use cim_core::{Orchestrator, OrchestratorKind, PartContext, Problem};
use cim_orchestrator_kubernetes::{Access, Features, KubernetesOrchestrator, KubernetesSettings};
use serde::Deserialize;
use serde_json::Value;

use crate::cluster_needs::ClusterNeeds;
use crate::doctor::{ClusterReport, RightReport};
use crate::exit::chain;
use crate::settings::Settings;

/// The kind.
pub const KIND: OrchestratorKind = OrchestratorKind {
    name: "kubernetes",
    summary: "the API server of the cluster this pod runs in",
    schema: || schemars::schema_for!(KubernetesSettings).to_value(),
    validate: |table| match read(table) {
        Ok(settings) => settings.problems(),
        Err(problem) => vec![problem],
    },
    build,
};

/// What is used of the cluster.
pub fn features(needs: ClusterNeeds) -> Features {
    let ClusterNeeds { restart, node_agents, topology_gateway } = needs;
    Features { restart, node_agents, topology_gateway, ..Features::ALL }
}

/// What the API server grants, and what time it has.
///
/// # Errors
/// It does not tell.
///
/// # Cancel safety
/// May be dropped at any await point.
pub async fn report(settings: &Settings, needs: ClusterNeeds) -> Result<ClusterReport, String> {
    let members = settings.orchestrator.members.clone().into_iter().collect();
    let table = read(&members).map_err(|problem| problem.to_string())?;
    let identity = &settings.identity;
    let orchestrator = KubernetesOrchestrator::new("orchestrator", table, &identity.namespace, &identity.pod);
    let access = orchestrator.check_access(features(needs)).await.map_err(|error| chain(&error))?;
    let right = |access: Access| RightReport {
        phrase: access.right.phrase(),
        purpose: access.right.purpose,
        is_granted: access.allowed,
    };
    let clock = orchestrator.skew().map(|skew| (skew.difference, skew.is_ahead));
    Ok(ClusterReport { rights: access.into_iter().map(right).collect(), clock })
}

fn read(table: &Value) -> Result<KubernetesSettings, Problem> {
    KubernetesSettings::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
}

fn build(context: PartContext, table: &Value) -> Result<Arc<dyn Orchestrator>, Problem> {
    let identity = &context.identity;
    let orchestrator =
        KubernetesOrchestrator::new(context.name, read(table)?, &identity.namespace, &identity.pod);
    Ok(Arc::new(orchestrator))
}
