//! A namespace with a pod, a service account with rights, and the orchestrator of that pod.
#![allow(dead_code, reason = "each test program uses a part of it")]

use std::path::PathBuf;
use std::time::Duration;

use cim_core::settings::Period;
use cim_orchestrator_kubernetes::{Features, KubernetesOrchestrator, KubernetesSettings, Subject, rbac};
use cim_services::kubernetes::{Call, Namespace};
use cim_services::{Kubernetes, until};
use tempfile::TempDir;

/// Longest wait for anything that is expected.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The service account.
pub const ACCOUNT: &str = "cim";
/// The annotation as charts write it: folded over lines.
pub const TMAAS: &str = "{\n  \"vendorId\": \"v\",\n  \"xgvelaId\": \"x1\",\n  \"nfClass\": \"c\",\n  \"nfType\": \"amf\",\n  \"nfId\": \"amf1\",\n  \"nfServiceId\": \"svc-1\",\n  \"nfServiceType\": \"svc\"\n}\n";
/// What `pod-1` has.
pub const LABELS: &[(&str, &str)] = &[("microSvcName", "shop"), ("uhn", "u"), ("cnfc_uuid", "c")];
/// What `pod-1` has.
pub const ANNOTATIONS: &[(&str, &str)] = &[("svcVersion", "v1"), ("xgvela.com/tmaas", TMAAS)];

/// All of it.
pub struct Workplace<'a> {
    pub kubernetes: &'a Kubernetes,
    pub namespace: Namespace<'a>,
    files: TempDir,
}

impl<'a> Workplace<'a> {
    /// A namespace on the server, with `pod-1` on node `node-1`, and rights for these features.
    pub fn new(kubernetes: &'a Kubernetes, features: Features) -> Self {
        let namespace = kubernetes.namespace();
        let workplace = Self { kubernetes, namespace, files: tempfile::tempdir().unwrap() };
        workplace.grant(features);
        workplace.replace_token();
        workplace.wait_for_right("get", "pods", true);
        workplace.namespace.create_pod("pod-1", "node-1", LABELS, ANNOTATIONS);
        workplace
    }

    /// On the server of all tests.
    pub fn shared(features: Features) -> Option<Workplace<'static>> {
        Some(Workplace::new(Kubernetes::shared()?, features))
    }

    /// Applies the manifest for these features.
    pub fn grant(&self, features: Features) {
        self.kubernetes.apply(&rbac(&self.subject(), features));
    }

    /// Who the rights are for.
    pub fn subject(&self) -> Subject {
        Subject { namespace: self.namespace.name().to_owned(), service_account: ACCOUNT.to_owned() }
    }

    /// Waits until the server acts by a rule, which takes it a moment.
    pub fn wait_for_right(&self, verb: &str, resource: &str, granted: bool) {
        let user = format!("--as=system:serviceaccount:{}:{ACCOUNT}", self.namespace.name());
        let is_of_cluster = resource == "clusterroles" || (resource == "pods" && verb == "list");
        let scope = if is_of_cluster { "-A" } else { "--namespace" };
        let mut arguments = vec!["auth", "can-i", verb, resource, &user, scope];
        if scope == "--namespace" {
            arguments.push(self.namespace.name());
        }
        until(&format!("{verb} {resource} is granted: {granted}"), PATIENCE, || {
            self.kubernetes.try_kubectl(&arguments).is_ok() == granted
        });
    }

    /// Writes a fresh token of the service account, as the kubelet does when one gets old.
    pub fn replace_token(&self) {
        self.write_token(&self.namespace.token(ACCOUNT));
    }

    /// Writes a text in place of the token.
    pub fn write_token(&self, text: &str) {
        let fresh = self.files.path().join("token.new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.token_file()).unwrap();
    }

    /// Where the token is.
    pub fn token_file(&self) -> PathBuf {
        self.files.path().join("token")
    }

    /// Settings of a pod in a cluster.
    pub fn settings(&self) -> KubernetesSettings {
        KubernetesSettings {
            host: self.kubernetes.address().ip().to_string(),
            port: self.kubernetes.address().port(),
            token_file: self.token_file(),
            ca_file: self.kubernetes.ca_file(),
            // The machine may be busy.
            request_timeout: Period::seconds(20),
            ..KubernetesSettings::default()
        }
    }

    /// The orchestrator of `pod-1`.
    pub fn orchestrator(&self) -> KubernetesOrchestrator {
        self.orchestrator_of("pod-1")
    }

    /// The orchestrator of another pod of the namespace.
    pub fn orchestrator_of(&self, pod: &str) -> KubernetesOrchestrator {
        KubernetesOrchestrator::new("cluster", self.settings(), self.namespace.name(), pod)
    }

    /// The same with a limit on every call.
    pub fn hasty_orchestrator(&self, limit: Period) -> KubernetesOrchestrator {
        let settings = KubernetesSettings { request_timeout: limit, ..self.settings() };
        KubernetesOrchestrator::new("cluster", settings, self.namespace.name(), "pod-1")
    }

    /// What the service account asked the server for so far.
    pub fn calls(&self) -> Vec<Call> {
        self.kubernetes.calls(self.namespace.name(), ACCOUNT)
    }

    /// The same as words: `get pods`.
    pub fn asked(&self) -> Vec<String> {
        self.calls().into_iter().map(|call| format!("{} {}", call.verb, call.resource)).collect()
    }
}
