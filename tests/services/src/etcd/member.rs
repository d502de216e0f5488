//! One member: its process, its addresses, what it can suffer.
//!
//! Owns start, faults and readiness. Left out: keys. Invariant: it can be started again after every fault, with the data it
//! had and at the same address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::Signal;

use super::PATIENCE;
use super::ctl::Ctl;
use crate::home::Home;
use crate::process::Process;
use crate::until;

/// One member of a cluster.
#[derive(Debug)]
pub struct Member {
    pub(super) name: String,
    pub(super) client: SocketAddr,
    pub(super) peer: SocketAddr,
    pub(super) program: PathBuf,
    pub(super) arguments: Vec<String>,
    pub(super) dir: PathBuf,
    pub(super) ctl: Ctl,
    pub(super) process: Mutex<Option<Process>>,
    /// Kept until the process has ended.
    pub(super) _home: Arc<Home>,
}

impl Member {
    /// The address for clients.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.client
    }

    /// Its directory; the data are in `data`.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&self) {
        // Dropping kills.
        drop(self.process().take());
    }

    /// Sends SIGSTOP: the process answers nothing, its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends the effect of [`Member::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it, killing it first when it runs, and waits until it serves clients.
    pub fn restart(&self) {
        self.kill();
        self.launch();
        self.wait_ready();
    }

    /// Starts it without waiting; does nothing when it runs.
    pub fn launch(&self) {
        let mut process = self.process();
        if process.is_none() {
            let log = self.dir.join("log");
            *process = Some(Process::start(&self.name, &self.program, &self.arguments, &log));
        }
    }

    /// Waits until it serves clients and knows a leader.
    pub fn wait_ready(&self) {
        until(&format!("member {} serves clients", self.name), PATIENCE, || {
            self.assert_runs();
            self.serves()
        });
    }

    /// Whether it answers a question that needs a quorum within a second.
    #[must_use]
    pub fn serves(&self) -> bool {
        self.ctl.run(&["get", "any", "--command-timeout=1s"]).is_ok()
    }

    /// Whether it is the leader of the cluster, as it says itself.
    #[must_use]
    pub fn is_leader(&self) -> bool {
        self.status().is_some_and(|status| {
            let id = status["header"]["member_id"].as_u64();
            id.is_some() && id == status["leader"].as_u64()
        })
    }

    /// Its number in the cluster.
    #[must_use]
    pub fn id(&self) -> u64 {
        let mut id = None;
        until(&format!("member {} says its number", self.name), PATIENCE, || {
            id = self.status().and_then(|status| status["header"]["member_id"].as_u64());
            id.is_some()
        });
        id.expect("the member answers")
    }

    fn status(&self) -> Option<serde_json::Value> {
        let text = self.ctl.run(&["endpoint", "status", "-w", "json", "--command-timeout=2s"]).ok()?;
        let all: serde_json::Value = serde_json::from_str(&text).ok()?;
        Some(all[0]["Status"].clone())
    }

    /// Asks this member alone. Its output.
    ///
    /// # Errors
    /// What etcdctl said.
    pub fn etcdctl(&self, arguments: &[&str]) -> Result<String, String> {
        self.ctl.run(arguments)
    }

    /// Fails with the member's log when it ended by itself.
    fn assert_runs(&self) {
        let mut process = self.process();
        let process = process.as_mut().expect("the member was started");
        if let Some(status) = process.ended() {
            panic!("member {} ended ({status}): {}", self.name, process.last_words());
        }
    }

    fn signal(&self, signal: Signal) {
        self.process().as_ref().expect("the member runs").signal(signal);
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
