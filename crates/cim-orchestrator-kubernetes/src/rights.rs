//! The rights that CIM needs in a cluster, and what for.
//!
//! Owns the one table from which the RBAC manifest, the check of `cim doctor` and the text of a refusal are made. Left
//! out: their forms. Invariant: a call that is made names a right of this table.

/// Where a right must hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// The namespace of the pod.
    OwnNamespace,
    /// Every namespace.
    Cluster,
}

/// One verb on one resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Right {
    /// For example `get`.
    pub verb: &'static str,
    /// API group; empty for the core group.
    pub group: &'static str,
    /// For example `pods`.
    pub resource: &'static str,
    /// Where it must hold.
    pub scope: Scope,
    /// What CIM does with it and when.
    pub purpose: &'static str,
}

/// What an installation uses beside the identity of its pod, which is always read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Features {
    /// ConfigMaps of the own namespace are read and made (wire contract §9.4).
    pub documents: bool,
    /// The own pod is deleted as the last resort (wire contract §9.3).
    pub restart: bool,
    /// Operators are told by Events of the pod.
    pub notices: bool,
    /// Log agents of the own node are looked for (wire contract §8.4).
    pub node_agents: bool,
    /// The topology engine is looked up where the pod does not name it (wire contract §2.3).
    pub topology_gateway: bool,
}

impl Features {
    /// All of them.
    pub const ALL: Self =
        Self { documents: true, restart: true, notices: true, node_agents: true, topology_gateway: true };
}

pub(crate) const GET_POD: Right = right("get", "", "pods", "who this pod is; once");
pub(crate) const GET_DOCUMENT: Right =
    right("get", "", "configmaps", "the configuration in a ConfigMap; at registration and after an update");
pub(crate) const CREATE_DOCUMENT: Right =
    right("create", "", "configmaps", "the ConfigMap with CIM's configuration; at the first registration");
pub(crate) const DELETE_POD: Right = right("delete", "", "pods", "a restart of the own pod; the last resort");
pub(crate) const CREATE_EVENT: Right = right(
    "create",
    "events.k8s.io",
    "events",
    "what `kubectl describe pod` tells operators; at most one a minute for each reason",
);
pub(crate) const LIST_PODS: Right = Right {
    scope: Scope::Cluster,
    ..right("list", "", "pods", "log agents of the own node; when the connection to one is made")
};

pub(crate) const GET_CLUSTER_ROLE: Right = Right {
    scope: Scope::Cluster,
    ..right(
        "get",
        "rbac.authorization.k8s.io",
        "clusterroles",
        "where the topology engine is; under the name of the original, in a pod without `common-infra.json`",
    )
};

const fn right(
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    purpose: &'static str,
) -> Right {
    Right { verb, group, resource, scope: Scope::OwnNamespace, purpose }
}

impl Right {
    /// As people say it: `get pods`, `create events.events.k8s.io`.
    #[must_use]
    pub fn phrase(&self) -> String {
        let Self { verb, group, resource, .. } = self;
        if group.is_empty() { format!("{verb} {resource}") } else { format!("{verb} {resource}.{group}") }
    }
}

/// The rights for these features, none more.
#[must_use]
pub fn rights(features: Features) -> Vec<Right> {
    let table = [
        (true, GET_POD),
        (features.restart, DELETE_POD),
        (features.documents, GET_DOCUMENT),
        (features.documents, CREATE_DOCUMENT),
        (features.notices, CREATE_EVENT),
        (features.node_agents, LIST_PODS),
        (features.topology_gateway, GET_CLUSTER_ROLE),
    ];
    table.into_iter().filter_map(|(used, right)| used.then_some(right)).collect()
}
