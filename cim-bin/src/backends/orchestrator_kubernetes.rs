//! The orchestrator `kubernetes`, as the registry knows it.

use std::sync::Arc;

use cim_core::{Orchestrator, OrchestratorKind, PartContext, Problem};
use cim_orchestrator_kubernetes::{KubernetesOrchestrator, KubernetesSettings};
use serde::Deserialize;
use serde_json::Value;

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

fn read(table: &Value) -> Result<KubernetesSettings, Problem> {
    KubernetesSettings::deserialize(table).map_err(|error| Problem::new("", error.to_string()))
}

fn build(context: PartContext, table: &Value) -> Result<Arc<dyn Orchestrator>, Problem> {
    let identity = &context.identity;
    let orchestrator =
        KubernetesOrchestrator::new(context.name, read(table)?, &identity.namespace, &identity.pod);
    Ok(Arc::new(orchestrator))
}
