//! The RBAC objects that grant what CIM needs, as a manifest.
//!
//! Owns its form. Left out: which rights (`rights`). Invariant: it grants the rights of the features and nothing
//! else, and says of each what it is for; every name is quoted, since a namespace may be called `n` or `1`.

use std::fmt::Write as _;

use crate::rights::{Features, Right, Scope, rights};

/// Whose rights they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// Namespace of the pods.
    pub namespace: String,
    /// Their service account.
    pub service_account: String,
}

/// The manifest: a service account, a role with its binding, and, for what is outside of the namespace, a cluster role with its.
#[must_use]
pub fn rbac(subject: &Subject, features: Features) -> String {
    let Subject { namespace, service_account } = subject;
    let rights = rights(features);
    let (own, cluster): (Vec<&Right>, Vec<&Right>) =
        rights.iter().partition(|right| right.scope == Scope::OwnNamespace);
    let mut text = format!(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: \"{service_account}\"\n  namespace: \"{namespace}\"\n"
    );
    let within = format!("  namespace: \"{namespace}\"\n");
    role(&mut text, subject, "Role", service_account, &within, &own);
    if !cluster.is_empty() {
        let name = format!("{namespace}-{service_account}-cluster");
        role(&mut text, subject, "ClusterRole", &name, "", &cluster);
    }
    text
}

/// A role and its binding. `within` is the line that names its namespace, if it has one.
fn role(text: &mut String, subject: &Subject, kind: &str, name: &str, within: &str, rights: &[&Right]) {
    let Subject { namespace, service_account } = subject;
    let head = format!("---\napiVersion: rbac.authorization.k8s.io/v1\nkind: {kind}");
    let _ = write!(text, "{head}\nmetadata:\n  name: \"{name}\"\n{within}rules:\n");
    for Right { verb, group, resource, purpose, .. } in rights {
        let _ = write!(
            text,
            "  # {purpose}\n  - apiGroups: [\"{group}\"]\n    resources: [\"{resource}\"]\n    verbs: [\"{verb}\"]\n"
        );
    }
    let _ = write!(
        text,
        "{head}Binding\nmetadata:\n  name: \"{name}\"\n{within}roleRef:\n  \
         apiGroup: rbac.authorization.k8s.io\n  kind: {kind}\n  name: \"{name}\"\nsubjects:\n  \
         - kind: ServiceAccount\n    name: \"{service_account}\"\n    namespace: \"{namespace}\"\n"
    );
}
