//! A NATS server as others run it: nats-server with JetStream.
//!
//! Owns start, faults and readiness. Left out: streams. Invariant: it can be started again after a kill, with its data and at the
//! same address.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::home::Home;
use crate::ports::free_port;
use crate::process::Process;
use crate::{tool, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running nats-server.
#[derive(Debug)]
pub struct NatsServer {
    address: SocketAddr,
    program: PathBuf,
    process: Mutex<Option<Process>>,
    /// Kept until the process has ended.
    home: Home,
}

impl NatsServer {
    /// Starts one. `None` when it is not installed, after `skipped:` was said.
    #[must_use]
    pub fn start() -> Option<Self> {
        Self::start_with("")
    }

    /// Starts one with a configuration file: users and certificates, for example.
    #[must_use]
    pub fn start_with(configuration: &str) -> Option<Self> {
        let program = tool("bin/nats-server");
        if !program.exists() {
            cim_testkit::skipped("nats-server is not installed (scripts/tools)");
            return None;
        }
        let address = free_port().unwrap();
        let server = Self { address, program, process: Mutex::default(), home: Home::new() };
        std::fs::write(server.home.path().join("conf"), configuration).unwrap();
        server.launch();
        Some(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends SIGKILL and waits for its end.
    pub fn kill(&self) {
        // Dropping kills.
        drop(self.process.lock().unwrap_or_else(PoisonError::into_inner).take());
    }

    /// Starts it after [`NatsServer::kill`], with what it had.
    pub fn launch(&self) {
        let (data, configuration) = (self.home.path().join("data"), self.home.path().join("conf"));
        let arguments: Vec<String> = [
            "--config",
            configuration.to_str().unwrap(),
            "--addr",
            &self.address.ip().to_string(),
            "--port",
            &self.address.port().to_string(),
            "--jetstream",
            "--store_dir",
            data.to_str().unwrap(),
        ]
        .map(str::to_owned)
        .into();
        let log = self.home.path().join("log");
        let process = Process::start("nats-server", &self.program, &arguments, &log);
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
        until("nats-server listens", PATIENCE, || TcpStream::connect(self.address).is_ok());
    }
}
