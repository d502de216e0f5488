//! The programs of Kubernetes, as `scripts/services/kubernetes` built them.
//!
//! Owns where they are. Invariant: what is missing is said in one sentence.

use std::path::PathBuf;

use cim_testkit::has_time;

use crate::{has_program, tool};

/// The folder is named by all versions in it.
const FOLDER: &str = "kube-v1.34.4-etcd-v3.6.16-helm-v3.19.5";

/// Where a program is.
pub(super) fn program(name: &str) -> PathBuf {
    tool(FOLDER).join(name)
}

/// Whether the programs that take minutes to build are there. Where they are not, `deferred:` is said, unless there is time for
/// long tests: then they should be.
pub(super) fn are_built() -> bool {
    ["kube-apiserver", "kubectl", "helm"].iter().all(|name| program(name).exists())
        || has_time("a Kubernetes API server and Helm are built by `make test-kubernetes`, in 6 minutes")
}

/// What is missing to run an API server, if anything.
pub(super) fn missing() -> Option<String> {
    for (name, script) in [("kube-apiserver", "kubernetes"), ("kubectl", "kubernetes"), ("etcd", "etcd")] {
        if !program(name).exists() {
            return Some(format!(
                "{name} is not built (scripts/services/{script} does, with go): no Kubernetes API server"
            ));
        }
    }
    (!has_program("setpriv"))
        .then(|| "setpriv is not installed: no Kubernetes API server can be run".to_owned())
}
