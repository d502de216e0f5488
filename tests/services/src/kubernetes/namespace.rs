//! A namespace of one test: pods, service accounts and their tokens.
//!
//! Owns what a kubelet and controllers would do. Invariant: what is made here is of no other test.

use std::fmt::Write as _;

use super::Kubernetes;

/// A namespace.
#[derive(Debug)]
pub struct Namespace<'a> {
    cluster: &'a Kubernetes,
    name: String,
}

impl<'a> Namespace<'a> {
    pub(super) fn new(cluster: &'a Kubernetes, name: String) -> Self {
        Self { cluster, name }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Runs `kubectl` in this namespace.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.cluster.kubectl(&[&["-n", &self.name], arguments].concat())
    }

    /// Makes a pod on that node, which runs nothing; an empty node leaves it unscheduled.
    pub fn create_pod(&self, name: &str, node: &str, labels: &[(&str, &str)], annotations: &[(&str, &str)]) {
        self.create_pod_with(name, node, labels, annotations, "");
    }

    /// The same with more lines of its specification, indented by two blanks.
    pub fn create_pod_with(
        &self,
        name: &str,
        node: &str,
        labels: &[(&str, &str)],
        annotations: &[(&str, &str)],
        more: &str,
    ) {
        let mut manifest =
            format!("apiVersion: v1\nkind: Pod\nmetadata:\n  name: '{name}'\n  namespace: '{}'\n", self.name);
        for (title, members) in [("labels", labels), ("annotations", annotations)] {
            let members: serde_json::Map<_, _> =
                members.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
            // JSON is YAML, and needs no thought about quotes.
            let _ = writeln!(manifest, "  {title}: {}", serde_json::Value::Object(members));
        }
        let _ = write!(manifest, "spec:\n  containers: [{{name: app, image: none}}]\n{more}");
        if !node.is_empty() {
            let _ = writeln!(manifest, "  nodeName: '{node}'");
        }
        self.cluster.apply(&manifest);
    }

    /// Says what a kubelet would say of a pod: its address, and whether it is ready.
    pub fn set_pod_status(&self, pod: &str, phase: &str, ip: &str, ready: bool) {
        let status = serde_json::json!({"status": {
            "phase": phase, "podIP": ip, "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
        }});
        self.kubectl(&[
            "patch",
            "pod",
            pod,
            "--subresource=status",
            "--type=merge",
            "-p",
            &status.to_string(),
        ]);
    }

    /// The uid of a pod; `None` when there is no such pod.
    #[must_use]
    pub fn pod_uid(&self, pod: &str) -> Option<String> {
        let uid = self.kubectl(&["get", "pod", pod, "--ignore-not-found", "-o", "jsonpath={.metadata.uid}"]);
        (!uid.is_empty()).then_some(uid)
    }

    /// Makes a service account.
    pub fn create_account(&self, name: &str) {
        self.kubectl(&["create", "serviceaccount", name]);
    }

    /// A fresh token of a service account, valid for an hour.
    #[must_use]
    pub fn token(&self, account: &str) -> String {
        self.kubectl(&["create", "token", account, "--duration=1h"]).trim().to_owned()
    }
}
