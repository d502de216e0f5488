//! Orchestrator `kubernetes`: who this pod is, its neighbours, ConfigMaps, and a restart, by the API server of the cluster.
//!
//! | asked by the engine | call | how often |
//! |---|---|---|
//! | identity (wire contract §9.1), grace, kind of container | get of the own pod | once |
//! | whether the pod is being deleted (wire contract §11) | get of the own pod | once, at the end of the process |
//! | node agents (wire contract §8.4) | list of the pods of the node | when a connection is made |
//! | document (wire contract §9.4) | get, create of a ConfigMap | at registration |
//! | restart (wire contract §9.3) | delete of the own pod, by uid | as the last resort |
//! | notice | create of an Event | once a minute for each reason |
//!
//! Left out: when these are asked, and what is done while the API server is away (the engine's). Invariant: no call is made
//! that nobody asked for, none takes longer than `request_timeout`, none is on the way of a record.

mod access;
mod agents;
mod client;
mod config_map;
mod documents;
mod failure;
mod leaving;
mod notices;
mod orchestrator;
mod own_pod;
mod pace;
mod pod;
mod rbac;
mod rights;
mod server;
mod settings;
mod skew;
mod trouble;
mod yang;

pub use access::Access;
pub use config_map::config_map;
pub use orchestrator::KubernetesOrchestrator;
pub use rbac::{Subject, rbac};
pub use rights::{Features, Right, Scope, rights};
pub use settings::KubernetesSettings;
pub use skew::Skew;
