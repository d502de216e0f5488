//! Where objects of Kubernetes describe pods.
//!
//! Owns the kinds and their paths. Left out: what is done with a pod. The invariant: an object of another kind is left
//! alone.

use super::Tree;

/// Calls `join` with the kind and the pod specification of each workload in a document, and tells how many there were.
///
/// # Errors
/// Those of `join`, and a workload without a pod; kind and name stand before them.
pub(super) fn visit(
    document: &mut Tree,
    join: &mut impl FnMut(&str, &mut Tree) -> Result<(), String>,
) -> Result<usize, String> {
    let kind = document.get("kind").and_then(Tree::as_text).unwrap_or_default().to_owned();
    if kind == "List" {
        let Some(items) = document.list_mut("items") else { return Ok(0) };
        return items.iter_mut().map(|item| visit(item, join)).sum();
    }
    let Some(path) = path(&kind) else { return Ok(0) };
    let name = document.get("metadata").and_then(Tree::name).unwrap_or("without a name").to_owned();
    let pod = path.iter().try_fold(document, |tree, member| tree.get_mut(member));
    let joined = match pod {
        Some(pod @ Tree::Table(_)) => join(&kind, pod),
        _ => Err(format!("{} is missing, or no table", path.join("."))),
    };
    joined.map(|()| 1).map_err(|error| format!("{kind} {name}: {error}"))
}

/// Where the pod specification of such an object is.
fn path(kind: &str) -> Option<&'static [&'static str]> {
    match kind {
        "Pod" => Some(&["spec"]),
        "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet" | "Job" => {
            Some(&["spec", "template", "spec"])
        }
        "CronJob" => Some(&["spec", "jobTemplate", "spec", "template", "spec"]),
        _ => None,
    }
}
