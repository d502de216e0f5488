//! What a configuration needs of the cluster it runs in.
//!
//! Owns which settings lead to which use. Left out: the rights behind a use, which the orchestrator knows. The invariant: what
//! the program may ask for with these settings is in here, so that a manifest made from it is enough and no more.

use crate::engine;
use crate::settings::{Loaded, OnExhausted};

/// What is used beside the identity of the pod, its documents and notices, which always are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClusterNeeds {
    /// The pod may be replaced.
    pub restart: bool,
    /// Log agents of the own node are looked for.
    pub node_agents: bool,
    /// The service that has `common-infra.json` is looked for.
    pub topology_gateway: bool,
}

impl ClusterNeeds {
    /// The needs of this configuration.
    #[must_use]
    pub fn of(loaded: &Loaded) -> Self {
        let settings = &loaded.settings;
        let asks = |sink: &str| {
            let table = settings.sinks.get(sink);
            table.and_then(|table| table.members.get("node_agent")).is_some_and(|agent| !agent.is_null())
        };
        Self {
            restart: settings.configuration.day_one.on_exhausted == OnExhausted::Restart,
            node_agents: engine::used(settings).into_iter().any(asks),
            topology_gateway: loaded.lacks_infra,
        }
    }
}
