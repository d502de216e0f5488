//! Manifests of pods, with CIM beside the application.
//!
//! Owns what happens to a file as a whole. Left out: where pods are described (`workload`), what CIM needs in one
//! (`sidecar`), YAML (`tree`). The invariant: applying it a second time changes nothing, and what is not of CIM stays as it
//! was (comments and spelling apart).

mod sidecar;
mod tree;
mod workload;

pub use sidecar::{Place, Sidecar};
use tree::Tree;

/// The documents of `text`, CIM in every pod that they describe.
///
/// # Errors
/// What is wrong with the text and where, or why CIM cannot be in such a pod.
pub fn with_sidecar(text: &str, sidecar: &Sidecar) -> Result<String, String> {
    let mut documents = tree::read(text)?;
    let mut pods = 0;
    for document in &mut documents {
        pods += workload::visit(document, &mut |kind, pod| sidecar.join(kind, pod))?;
    }
    if pods == 0 {
        let kinds = "Deployment, StatefulSet, DaemonSet, ReplicaSet, Job, CronJob or Pod";
        return Err(format!("no {kinds} is in it, so there is nothing to put a sidecar into"));
    }
    tree::write(&documents)
}
