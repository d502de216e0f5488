//! `cim manifest`: what the cluster must grant for this program to do its work, and how it gets into a pod.
//!
//! Left out: the texts themselves, which the orchestrator and `manifest` know. The invariant: the rights fit the configuration
//! that is given.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::Answer;
use crate::backends;
use crate::cluster_needs::ClusterNeeds;
use crate::exit::Failure;
use crate::manifest::{Place, Sidecar, with_sidecar};
use crate::settings::{Request, load};

/// `cim manifest`
#[derive(Debug, Args)]
pub(super) struct Manifest {
    /// Prints the service account with the rights that this configuration needs, and no more.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
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
    /// Also the right to find the service that has `common-infra.json`, for pods under the name of the original that have
    /// neither the file nor the annotation that names the service.
    #[arg(long)]
    topology_gateway: bool,
    #[command(flatten)]
    workloads: Workloads,
}

/// The other half: workloads that get a sidecar.
#[derive(Debug, Args)]
struct Workloads {
    /// Prints the manifests of this file (`-`: of standard input) with CIM in each pod. Running it again on what it printed
    /// changes nothing; comments are lost.
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// As native sidecar, for Kubernetes 1.29 and newer; the default.
    #[arg(long, requires = "file", conflicts_with = "classic")]
    native: bool,
    /// As container beside the application.
    #[arg(long, requires = "file")]
    classic: bool,
    /// The image; `cim` of this version where the file names none.
    #[arg(long, requires = "file")]
    image: Option<String>,
    /// ConfigMap that holds `cim.toml`.
    #[arg(long, requires = "file", value_name = "NAME")]
    config_map: Option<String>,
    /// Largest size of the volume for the spool.
    #[arg(long, default_value = "2Gi")]
    spool_size: String,
}

pub(super) fn answer(manifest: &Manifest, files: &[PathBuf]) -> Result<Answer, Failure> {
    let text = match &manifest.workloads.file {
        Some(file) => manifest.workloads.joined(file)?,
        None => rights(manifest, files)?,
    };
    let document = json!({ "manifest": text });
    Ok(Answer::done(text.trim_end(), document))
}

fn rights(manifest: &Manifest, files: &[PathBuf]) -> Result<String, Failure> {
    let loaded = load(&Request::of_process(files.to_vec()), &backends::registry());
    let mut needs = ClusterNeeds::of(&loaded.map_err(Failure::cannot_start)?);
    needs.node_agents |= manifest.node_agents;
    needs.topology_gateway |= manifest.topology_gateway;
    backends::rbac(&manifest.namespace, &manifest.service_account, needs).map_err(Failure::failed)
}

impl Workloads {
    fn joined(&self, file: &Path) -> Result<String, Failure> {
        let fail = |error: String| Failure::failed(format!("{}: {error}", file.display()));
        let text = read(file).map_err(|error| fail(error.to_string()))?;
        let sidecar = Sidecar {
            place: if self.classic { Place::Classic } else { Place::Native },
            image: self.image.clone(),
            config_map: self.config_map.clone(),
            spool_size: self.spool_size.clone(),
        };
        with_sidecar(&text, &sidecar).map_err(fail)
    }
}

fn read(file: &Path) -> std::io::Result<String> {
    if file != Path::new("-") {
        return std::fs::read_to_string(file);
    }
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    Ok(text)
}
