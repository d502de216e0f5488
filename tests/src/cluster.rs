//! A place for a pod in a real cluster: a namespace with the object of the pod, a service account, and its files.
//!
//! Owns what administrator and kubelet prepare, with the rights that `cim manifest --rbac` prints. Left out: the program, and
//! what a test expects of it. Invariant: each place has a namespace of its own, so the calls of its account are those of
//! one program.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use cim_services::kubernetes::{Call, Kubernetes, Namespace};

use crate::binary;

/// Longest wait for what needs a server that starts, or a program that asks it again.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// The service account.
pub const ACCOUNT: &str = "cim";
/// The pod.
pub const POD: &str = "pod-1";
/// Its node.
pub const NODE: &str = "node-1";
/// Its labels.
pub const LABELS: &[(&str, &str)] = &[("microSvcName", "shop"), ("uhn", "u"), ("cnfc_uuid", "c")];
/// The annotation as charts write it: folded over lines.
pub const TMAAS: &str = "{\n  \"vendorId\": \"acme\",\n  \"xgvelaId\": \"x1\",\n  \"nfClass\": \"core\",\n  \"nfType\": \"amf\",\n  \
    \"nfId\": \"amf1\",\n  \"nfServiceId\": \"shop-1\",\n  \"nfServiceType\": \"shop\"\n}\n";
/// Its annotations.
pub const ANNOTATIONS: &[(&str, &str)] = &[("svcVersion", "v1"), ("xgvela.com/tmaas", TMAAS)];

/// A place for a pod.
pub struct Berth<'k> {
    /// The cluster.
    pub kubernetes: &'k Kubernetes,
    /// Where the pod is.
    pub namespace: Namespace<'k>,
    /// What is mounted into every pod: token, certificate, namespace.
    account: tempfile::TempDir,
}

impl<'k> Berth<'k> {
    /// With the pod and the rights of the default configuration.
    #[must_use]
    pub fn new(kubernetes: &'k Kubernetes) -> Self {
        let berth = Self::bare(kubernetes);
        berth.grant(&[]);
        berth.create_pod();
        berth
    }

    /// With a service account that may do nothing, and without the pod.
    #[must_use]
    pub fn bare(kubernetes: &'k Kubernetes) -> Self {
        let namespace = kubernetes.namespace();
        namespace.create_account(ACCOUNT);
        let berth = Self { kubernetes, namespace, account: tempfile::tempdir().unwrap() };
        std::fs::copy(kubernetes.ca_file(), berth.file("ca.crt")).unwrap();
        std::fs::write(berth.file("namespace"), berth.namespace.name()).unwrap();
        berth.write_token(&berth.namespace.token(ACCOUNT));
        berth
    }

    /// Grants what `cim manifest --rbac` prints with these further arguments, and waits until it is in force.
    pub fn grant(&self, arguments: &[&str]) {
        let mut command = Command::new(binary());
        command.env_clear().args(["manifest", "--rbac", "--namespace", self.namespace.name()]);
        let output = command.args(arguments).output().unwrap();
        let manifest = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && manifest.contains("kind: Role"), "{manifest}");
        self.kubernetes.apply(&manifest);
        let user = format!("--as=system:serviceaccount:{}:{ACCOUNT}", self.namespace.name());
        // The last rule of the role: they come into force together.
        let question =
            ["-n", self.namespace.name(), "auth", "can-i", "create", "events.events.k8s.io", &user];
        cim_services::until("the rights are in force", PATIENCE, || {
            self.kubernetes.try_kubectl(&question).is_ok()
        });
    }

    /// The object of the pod, on a node: its deletion waits for a kubelet, that is, for the test.
    pub fn create_pod(&self) {
        self.namespace.create_pod(POD, NODE, LABELS, ANNOTATIONS);
    }

    /// The same with a native sidecar of that name beside the application.
    pub fn create_native_pod(&self, sidecar: &str) {
        self.namespace.create_pod_with(
            POD,
            NODE,
            LABELS,
            ANNOTATIONS,
            &format!("  initContainers: [{{name: '{sidecar}', image: none, restartPolicy: Always}}]\n"),
        );
    }

    /// Ends the pod at once, as its kubelet does when its time is over.
    pub fn end_pod(&self) {
        self.namespace.kubectl(&["delete", "pod", POD, "--grace-period=0", "--force"]);
    }

    /// Whether somebody asked for the deletion of the pod.
    #[must_use]
    pub fn is_pod_leaving(&self) -> bool {
        let path = "jsonpath={.metadata.deletionTimestamp}";
        !self.namespace.kubectl(&["get", "pod", POD, "-o", path]).is_empty()
    }

    /// A file of the service account.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.account.path().join(name)
    }

    /// Replaces the token, as a kubelet does: by a link that is swapped.
    pub fn write_token(&self, text: &str) {
        let fresh = self.file("token.new");
        std::fs::write(&fresh, text).unwrap();
        std::fs::rename(fresh, self.file("token")).unwrap();
    }

    /// Settings of the orchestrator and of the identity, for a program of this pod with a spool.
    #[must_use]
    pub fn settings(&self) -> String {
        let address = self.kubernetes.address();
        format!(
            "spool.dir = \"{{home}}/spool\"\n{}host = \"{}\"\nport = {}\nrequest_timeout = \"3s\"\n\
             [identity]\nnamespace = \"{}\"\npod = \"{POD}\"\n",
            self.account_settings(),
            address.ip(),
            address.port(),
            self.namespace.name()
        )
    }

    /// The section `[orchestrator]` with the files of the service account and nothing else.
    #[must_use]
    pub fn account_settings(&self) -> String {
        let (token, ca) = (self.file("token"), self.file("ca.crt"));
        format!(
            "[orchestrator]\ntype = \"kubernetes\"\ntoken_file = \"{}\"\nca_file = \"{}\"\n",
            token.display(),
            ca.display()
        )
    }

    /// What the account asked for so far.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.kubernetes.calls(self.namespace.name(), ACCOUNT)
    }

    /// Status of each deletion of a pod that was asked for.
    #[must_use]
    pub fn deletions(&self) -> Vec<u64> {
        self.calls().into_iter().filter(|call| call.verb == "delete").map(|call| call.status).collect()
    }
}
