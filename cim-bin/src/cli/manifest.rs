//! `cim manifest`: what the cluster must grant for this program to do its work.
//!
//! Left out: the text itself, which the orchestrator knows.

use clap::Args;
use serde_json::json;

use super::Answer;
use crate::backends;
use crate::exit::Failure;

/// `cim manifest`
#[derive(Debug, Args)]
pub(super) struct Manifest {
    /// Prints the service account with the rights that are needed, and no more.
    #[arg(long, required = true)]
    rbac: bool,
    /// Namespace of the pods.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Name of their service account.
    #[arg(long, default_value = "cim")]
    service_account: String,
    /// Also the right to find log agents of the own node, which is one in all namespaces.
    #[arg(long)]
    node_agents: bool,
}

pub(super) fn answer(manifest: &Manifest) -> Result<Answer, Failure> {
    let text = backends::rbac(&manifest.namespace, &manifest.service_account, manifest.node_agents)
        .map_err(Failure::failed)?;
    let document = json!({ "manifest": text });
    Ok(Answer::done(text.trim_end(), document))
}
