//! `cim manifest`: what the cluster must grant for this program to do its work.
//!
//! Left out: the text itself, which the orchestrator knows. The invariant: it fits the configuration that is given.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::Answer;
use crate::backends;
use crate::cluster_needs::ClusterNeeds;
use crate::exit::Failure;
use crate::settings::{Request, load};

/// `cim manifest`
#[derive(Debug, Args)]
pub(super) struct Manifest {
    /// Prints the service account with the rights that this configuration needs, and no more.
    #[arg(long, required = true)]
    rbac: bool,
    /// Namespace of the pods.
    #[arg(long, default_value = "default")]
    namespace: String,
    /// Name of their service account.
    #[arg(long, default_value = "cim")]
    service_account: String,
    /// Also the right to find log agents of the own node, which is one in all namespaces; not needed where the
    /// configuration names them.
    #[arg(long)]
    node_agents: bool,
}

pub(super) fn answer(manifest: &Manifest, files: &[PathBuf]) -> Result<Answer, Failure> {
    let loaded = load(&Request::of_process(files.to_vec()), &backends::registry());
    let mut needs = ClusterNeeds::of(&loaded.map_err(Failure::cannot_start)?.settings);
    needs.node_agents |= manifest.node_agents;
    let text =
        backends::rbac(&manifest.namespace, &manifest.service_account, needs).map_err(Failure::failed)?;
    let document = json!({ "manifest": text });
    Ok(Answer::done(text.trim_end(), document))
}
