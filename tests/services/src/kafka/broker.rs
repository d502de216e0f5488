//! One broker: its process, its listeners, what it can suffer.
//!
//! Owns start, faults and readiness. Left out: topics. Invariant: it can be started again after every fault, with the data
//! it had.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use rustix::process::Signal;

use super::{Listener, PATIENCE, Version, wire};
use crate::home::Home;
use crate::process::Process;
use crate::until;

/// In the directory of the broker.
pub(super) const PROPERTIES_FILE: &str = "server.properties";

/// One broker of a cluster.
#[derive(Debug)]
pub struct Broker {
    id: u16,
    /// Kind, address it listens on, address it tells clients.
    addresses: Vec<(Listener, SocketAddr, SocketAddr)>,
    /// Options of the JVM.
    options: Vec<String>,
    properties: PathBuf,
    log: PathBuf,
    version: Mutex<Version>,
    process: Mutex<Option<Process>>,
    /// Kept until the process has ended.
    _home: Arc<Home>,
}

impl Broker {
    pub(super) fn new(
        id: u16,
        addresses: Vec<(Listener, SocketAddr, SocketAddr)>,
        options: Vec<String>,
        dir: &Path,
        version: Version,
        home: Arc<Home>,
    ) -> Self {
        let (properties, log) = (dir.join(PROPERTIES_FILE), dir.join("log"));
        let (version, process) = (Mutex::new(version), Mutex::new(None));
        Self { id, addresses, options, properties, log, version, process, _home: home }
    }

    /// Its number in the cluster, from 1.
    #[must_use]
    pub fn id(&self) -> u16 {
        self.id
    }

    /// The address that clients are told for that kind of listener.
    #[must_use]
    pub fn address(&self, listener: Listener) -> SocketAddr {
        let found = self.addresses.iter().find(|(kind, ..)| *kind == listener);
        found.map(|(.., told)| *told).unwrap_or_else(|| panic!("the cluster has no listener {listener:?}"))
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.process().as_ref().map(Process::pid).expect("the broker runs")
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&self) {
        // Dropping kills.
        drop(self.process().take());
    }

    /// Ends it cleanly: its partitions move to others first.
    pub fn stop(&self) {
        if let Some(mut process) = self.process().take() {
            process.terminate(PATIENCE);
        }
    }

    /// Sends SIGSTOP: the process answers nothing, its connections stay.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Ends the effect of [`Broker::pause`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Starts it, ending it cleanly first when it runs, and waits until it serves clients.
    pub fn restart(&self) {
        self.stop();
        self.launch();
        self.wait_ready();
    }

    /// As [`Broker::restart`], with the programs of another version.
    ///
    /// # Panics
    /// They are not installed: [`Version::missing`] tells.
    pub fn restart_as(&self, version: Version) {
        assert_eq!(version.missing(), None);
        self.stop();
        *self.version.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = version;
        self.restart();
    }

    /// Starts it without waiting; does nothing when it runs.
    pub fn launch(&self) {
        let mut process = self.process();
        if process.is_none() {
            let name = format!("broker {}", self.id);
            *process = Some(Process::start(&name, "java".as_ref(), &self.arguments(), &self.log));
        }
    }

    fn arguments(&self) -> Vec<String> {
        let version = *self.version.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let program = ["kafka.Kafka".to_owned(), self.properties.display().to_string()];
        [self.options.as_slice(), &version.class_path(), &program].concat()
    }

    /// Waits until it serves clients.
    pub fn wait_ready(&self) {
        until(&format!("broker {} serves clients", self.id), PATIENCE, || {
            self.assert_runs();
            self.known_brokers().is_some_and(|known| known.contains(&self.id))
        });
    }

    /// The brokers that are alive, as this one knows it; `None` when it does not answer within a second.
    #[must_use]
    pub fn known_brokers(&self) -> Option<Vec<u16>> {
        wire::brokers(self.address(Listener::Plain), Duration::from_secs(1)).ok()
    }

    /// What it logged last.
    #[must_use]
    pub fn last_words(&self) -> String {
        self.process().as_ref().map(Process::last_words).unwrap_or_default()
    }

    /// Fails with the broker's log when it ended by itself.
    pub(super) fn assert_runs(&self) {
        let mut process = self.process();
        let process = process.as_mut().expect("the broker was started");
        if let Some(status) = process.ended() {
            panic!("broker {} ended ({status}): {}", self.id, process.last_words());
        }
    }

    fn signal(&self, signal: Signal) {
        self.process().as_ref().expect("the broker runs").signal(signal);
    }

    fn process(&self) -> MutexGuard<'_, Option<Process>> {
        self.process.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}
