//! A NATS server as others run it: nats-server with JetStream.
//!
//! Owns start, faults, readiness and who has subscribed to what. Left out: streams. Invariant: it can be started again after a kill, with its data and at the
//! same address.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::home::Home;
use crate::ports::free_port;
use crate::process::Process;
use crate::{comes_true, tool, until};

const PATIENCE: Duration = Duration::from_secs(20);

/// A running nats-server.
#[derive(Debug)]
pub struct NatsServer {
    address: SocketAddr,
    /// Where it tells of its connections.
    monitor: SocketAddr,
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
        let (address, monitor) = (free_port().unwrap(), free_port().unwrap());
        let server = Self { address, monitor, program, process: Mutex::default(), home: Home::new() };
        std::fs::write(server.home.path().join("conf"), configuration).unwrap();
        server.launch();
        Some(server)
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits until so many connections have subscribed to a subject: whoever is connected says so only afterwards.
    ///
    /// # Panics
    /// They have not in time; with what the server tells.
    pub fn wait_for_subscribers(&self, subject: &str, count: usize) {
        let mut told = serde_json::Value::Null;
        let have = comes_true(PATIENCE, || {
            told = self.connections().unwrap_or_default();
            let connections = told["connections"].as_array().into_iter().flatten();
            let lists = connections.filter_map(|connection| connection["subscriptions_list"].as_array());
            lists.filter(|list| list.iter().any(|of| of == subject)).count() >= count
        });
        assert!(have, "not {count} subscribers of {subject}: {told:#}");
    }

    fn connections(&self) -> Option<serde_json::Value> {
        let mut stream = TcpStream::connect(self.monitor).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(b"GET /connz?subs=1 HTTP/1.0\r\n\r\n").ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        serde_json::from_str(page.split_once("\r\n\r\n")?.1).ok()
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
            "--http_port",
            &self.monitor.port().to_string(),
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
