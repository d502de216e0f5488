//! A Kubernetes API server with its etcd; no kubelet and no controllers, so a test plays them.
//!
//! Owns the server as a test sees it: start, faults, `kubectl` as a client that is not ours. Left out: how it is started
//! (`plan`), what stands in a namespace ([`Namespace`]). Invariant: it can be started again after every fault, on the same
//! address, with what it had.

mod audit;
mod namespace;
mod plan;
mod programs;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::Signal;

pub use audit::Call;
pub use namespace::Namespace;

use crate::home::Home;
use crate::process::Process;
use crate::until;

/// Longest wait for the server: it starts in 3 s on a quiet machine.
const PATIENCE: Duration = Duration::from_secs(90);

/// A running API server.
#[derive(Debug)]
pub struct Kubernetes {
    /// Processes before their directory: fields are dropped in this order.
    server: Mutex<Option<Process>>,
    _etcd: Process,
    plan: plan::Plan,
    home: Home,
    namespaces: AtomicU32,
}

impl Kubernetes {
    /// A server of its own. `None` when Kubernetes is not built, after `deferred:` or `skipped:` was said.
    #[must_use]
    pub fn start() -> Option<Self> {
        if !programs::are_built() {
            return None;
        }
        if let Some(why) = programs::missing() {
            cim_testkit::skipped(&why);
            return None;
        }
        let home = Home::new();
        let plan = plan::Plan::new(home.path())?;
        let log = home.path().join("etcd.log");
        let etcd = Process::start("etcd", &programs::program("etcd"), &plan.etcd_arguments(), &log);
        let server = Mutex::default();
        let cluster = Self { server, _etcd: etcd, plan, home, namespaces: AtomicU32::new(1) };
        cluster.restart();
        Some(cluster)
    }

    /// One server for all tests of a program. Tests use namespaces of their own, and do not make it fail.
    #[must_use]
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Kubernetes>> = OnceLock::new();
        SHARED.get_or_init(Self::start).as_ref()
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.plan.address
    }

    /// The certificate it is judged by.
    #[must_use]
    pub fn ca_file(&self) -> PathBuf {
        self.plan.file("ca.pem")
    }

    /// A kubeconfig for whoever has the token in that file.
    #[must_use]
    pub fn kubeconfig(&self, token_file: &std::path::Path, namespace: &str) -> String {
        self.plan.kubeconfig(&format!("tokenFile: '{}'", token_file.display()), namespace)
    }

    /// A fresh namespace.
    #[must_use]
    pub fn namespace(&self) -> Namespace<'_> {
        let name = format!("test-{}", self.namespaces.fetch_add(1, Ordering::Relaxed));
        self.kubectl(&["create", "namespace", &name]);
        Namespace::new(self, name)
    }

    /// Runs `kubectl` as the administrator; its output.
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        self.try_kubectl(arguments).unwrap_or_else(|error| panic!("kubectl {arguments:?}: {error}"))
    }

    /// As [`Kubernetes::kubectl`].
    ///
    /// # Errors
    /// What it wrote on standard error.
    pub fn try_kubectl(&self, arguments: &[&str]) -> Result<String, String> {
        let output = Command::new(programs::program("kubectl"))
            .env_clear()
            .env("HOME", self.home.path())
            .env("KUBECONFIG", self.plan.file("admin.yaml"))
            .args(arguments)
            .output()
            .map_err(|error| error.to_string())?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }

    /// Applies a manifest, with full validation.
    pub fn apply(&self, manifest: &str) {
        let file = tempfile::NamedTempFile::new_in(self.home.path()).expect("a file");
        std::fs::write(file.path(), manifest).expect("a manifest");
        self.kubectl(&["apply", "--validate=strict", "-f", &file.path().display().to_string()]);
    }

    /// Helm; `None` when it is not built, after `deferred:` or `skipped:` was said.
    #[must_use]
    pub fn helm() -> Option<PathBuf> {
        if !programs::are_built() {
            return None;
        }
        let helm = programs::program("helm");
        if !helm.exists() {
            cim_testkit::skipped("Helm is not built: run scripts/services/kubernetes");
            return None;
        }
        Some(helm)
    }

    /// What that service account asked for so far.
    #[must_use]
    pub fn calls(&self, namespace: &str, account: &str) -> Vec<Call> {
        audit::calls(&self.plan.file("audit.log"), &format!("system:serviceaccount:{namespace}:{account}"))
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&self) {
        // Dropping kills.
        drop(self.process().take());
    }

    /// Starts it when it does not run, and waits until it is ready.
    pub fn restart(&self) {
        let (program, log) = (programs::program("kube-apiserver"), self.plan.file("server.log"));
        self.process().get_or_insert_with(|| {
            Process::start("kube-apiserver", &program, &self.plan.server_arguments(), &log)
        });
        until("the API server is ready", PATIENCE, || {
            let mut process = self.process();
            let process = process.as_mut().expect("the API server was started");
            if let Some(status) = process.ended() {
                panic!("the API server ended ({status}): {}", process.last_words());
            }
            self.try_kubectl(&["get", "--raw", "/readyz"]).is_ok()
        });
    }

    /// Sends SIGSTOP: it answers nothing, its connections stay, new ones are taken by the kernel.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends the effect of [`Kubernetes::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        self.process().as_ref().expect("the API server runs").signal(signal);
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
