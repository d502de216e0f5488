//! How the API server and its etcd are started.
//!
//! Owns keys, files and arguments. Left out: when they are started. Invariant: both listen on 127.0.0.1 only, and keep all
//! they have in the directory of the cluster.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use crate::{Authority, Identity, free_port};

/// The token of the administrator, who may do everything.
const ADMIN: &str = "admin-of-the-test";
/// Requests of service accounts are written down, one line each, before they are answered.
const AUDIT: &str = "apiVersion: audit.k8s.io/v1\nkind: Policy\nomitStages: [RequestReceived]\nrules: [{level: Metadata, userGroups: ['system:serviceaccounts']}, {level: None}]\n";

/// Addresses and files of one cluster.
#[derive(Debug)]
pub(super) struct Plan {
    dir: PathBuf,
    /// What the server shows to clients.
    serving: Identity,
    /// Its key signs the tokens of service accounts, its certificate verifies them.
    accounts: Identity,
    pub(super) address: SocketAddr,
    etcd: SocketAddr,
    etcd_peer: SocketAddr,
}

impl Plan {
    /// Lays a cluster out in a directory. `None` without openssl, after `skipped:` was said.
    pub(super) fn new(dir: &Path) -> Option<Self> {
        let authority = Authority::new(dir)?;
        let (serving, accounts) = (authority.issue("serving", 30), authority.issue("accounts", 30));
        let port = || free_port().expect("a free port");
        let (address, etcd, etcd_peer) = (port(), port(), port());
        let plan = Self { dir: dir.to_owned(), serving, accounts, address, etcd, etcd_peer };
        plan.write("tokens.csv", &format!("{ADMIN},admin,admin,\"system:masters\"\n"));
        plan.write("audit.yaml", AUDIT);
        plan.write("admin.yaml", &plan.kubeconfig(&format!("token: {ADMIN}"), "default"));
        Some(plan)
    }

    /// A file of the cluster.
    pub(super) fn file(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// A kubeconfig for one user: `token: …` or `tokenFile: …`.
    pub(super) fn kubeconfig(&self, user: &str, namespace: &str) -> String {
        let (ca, address) = (self.file("ca.pem"), self.address);
        format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: test\n\
             clusters: [{{name: test, cluster: {{server: 'https://{address}', certificate-authority: '{}'}}}}]\n\
             users: [{{name: test, user: {{{user}}}}}]\n\
             contexts: [{{name: test, context: {{cluster: test, user: test, namespace: '{namespace}'}}}}]\n",
            ca.display()
        )
    }

    pub(super) fn etcd_arguments(&self) -> Vec<String> {
        let (client, peer) = (format!("http://{}", self.etcd), format!("http://{}", self.etcd_peer));
        vec![
            "--name=test".to_owned(),
            format!("--data-dir={}", self.file("etcd").display()),
            format!("--listen-client-urls={client}"),
            format!("--advertise-client-urls={client}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=test={peer}"),
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
    }

    pub(super) fn server_arguments(&self) -> Vec<String> {
        let file = |name: &str| self.file(name).display().to_string();
        vec![
            format!("--etcd-servers=http://{}", self.etcd),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={}", self.address.port()),
            format!("--cert-dir={}", file("certificates")),
            format!("--tls-cert-file={}", self.serving.certificate.display()),
            format!("--tls-private-key-file={}", self.serving.key.display()),
            format!("--token-auth-file={}", file("tokens.csv")),
            format!("--audit-policy-file={}", file("audit.yaml")),
            format!("--audit-log-path={}", file("audit.log")),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.accounts.certificate.display()),
            format!("--service-account-signing-key-file={}", self.accounts.key.display()),
            "--authorization-mode=RBAC".to_owned(),
            // A pod does not need a service account here: nothing runs in it.
            "--disable-admission-plugins=ServiceAccount".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        ]
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.file(name), text).expect("a file of the cluster");
    }
}
