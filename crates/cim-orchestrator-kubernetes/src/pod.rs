//! The part of a pod's object that is read here.
//!
//! Left out: every other member. The library's own type knows all of them, and the code that reads those is larger than
//! the rest of this crate. Invariant: members that are unknown, absent or null are no error.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use serde::Deserialize;

/// A pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Pod {
    pub(crate) metadata: ObjectMeta,
    pub(crate) spec: Option<PodSpec>,
    pub(crate) status: Option<PodStatus>,
}

/// What it was made with.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(crate) struct PodSpec {
    pub(crate) node_name: Option<String>,
    pub(crate) init_containers: Option<Vec<InitContainer>>,
    pub(crate) termination_grace_period_seconds: Option<i64>,
}

/// A container that starts before the application.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct InitContainer {
    pub(crate) name: String,
    pub(crate) restart_policy: Option<String>,
}

/// How it is doing.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct PodStatus {
    pub(crate) phase: Option<String>,
    #[serde(rename = "podIP")]
    pub(crate) pod_ip: Option<String>,
    pub(crate) conditions: Option<Vec<PodCondition>>,
}

/// One side of how it is doing.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct PodCondition {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) status: String,
}
