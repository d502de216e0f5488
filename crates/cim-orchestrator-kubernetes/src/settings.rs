//! The table `[orchestrator]` of type `kubernetes`.
//!
//! Owns keys, defaults and what values mean. Left out: what is made of them (`client`), and where the environment is read
//! (the program). Invariant: without any key it fits a pod: the files and the name that every cluster gives it.

use std::path::PathBuf;

use cim_core::Problem;
use cim_core::settings::Period;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Settings of the Kubernetes orchestrator.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesSettings {
    /// A kubeconfig file, whose current context says where the API server is and who asks. Absent: the service account of
    /// the pod, by the four keys below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kubeconfig: Option<PathBuf>,
    /// Longest time for one call, connection and pauses included.
    pub request_timeout: Period,
    /// Name or IP address of the API server; not used with `kubeconfig`.
    pub host: String,
    /// Its port; not used with `kubeconfig`.
    pub port: u16,
    /// File with the token of the service account, read again when it was replaced; not used with `kubeconfig`.
    pub token_file: PathBuf,
    /// Certificates that the API server is judged by (PEM), read again when they change; not used with `kubeconfig`.
    pub ca_file: PathBuf,
}

impl Default for KubernetesSettings {
    fn default() -> Self {
        Self {
            kubeconfig: None,
            request_timeout: Period::seconds(5),
            host: "kubernetes.default.svc".to_owned(),
            port: 443,
            token_file: "/var/run/secrets/kubernetes.io/serviceaccount/token".into(),
            ca_file: "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt".into(),
        }
    }
}

impl KubernetesSettings {
    /// What the schema cannot say.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        if self.request_timeout.get().is_zero() {
            problems.push(Problem::new("request_timeout", "must be longer than 0s, for example 5s"));
        }
        if self.host.is_empty() || self.host.contains(['/', ' ']) {
            problems.push(Problem::new(
                "host",
                "must be a name or an IP address, for example kubernetes.default.svc",
            ));
        }
        if self.port == 0 {
            problems.push(Problem::new("port", "must be from 1 to 65535"));
        }
        problems
    }
}
