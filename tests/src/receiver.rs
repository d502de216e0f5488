//! Receivers that nobody here wrote, as processes.

use std::net::SocketAddr;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use crate::{skip, tool};

/// A receiver in a process group of its own; killed with its children when dropped.
#[derive(Debug)]
pub struct Receiver(Child);

impl Receiver {
    /// Starts that program.
    pub fn start(command: &mut Command) -> Self {
        Self(command.process_group(0).stdin(Stdio::null()).spawn().unwrap())
    }

    /// `socat`, every connection appended to one file.
    pub fn socat(listen: &str, file: &Path) -> Option<Self> {
        Self::socat_to(listen, &format!("OPEN:{},creat,append", file.display()))
    }

    fn socat_to(listen: &str, target: &str) -> Option<Self> {
        if Command::new("socat").arg("-V").output().is_err() {
            skip("socat is not installed");
            return None;
        }
        Some(Self::start(Command::new("socat").args(["-u", listen, target]).stderr(Stdio::null())))
    }

    /// `socat`, each connection into a file of its own in that directory: two at a time would be cut into each other.
    pub fn socat_apart(listen: &str, dir: &Path) -> Option<Self> {
        std::fs::create_dir(dir).unwrap();
        Self::socat_to(listen, &format!("SYSTEM:exec cat >>{}/$SOCAT_PEERPORT", dir.display()))
    }

    /// The Forward receiver of the OpenTelemetry Collector, one JSON line per record.
    pub fn forward(listen: SocketAddr, file: &Path) -> Option<Self> {
        let program = tool("bin/cim-fluentforward");
        if !program.exists() {
            skip("the Forward receiver is not built (no go toolchain or no module proxy)");
            return None;
        }
        let file = std::fs::OpenOptions::new().create(true).append(true).open(file).unwrap();
        Some(Self::start(Command::new(program).arg(listen.to_string()).stdout(file)))
    }

    /// Kills it, and waits until it has ended.
    pub fn kill(mut self) {
        self.end();
    }

    /// Sends a signal to all of its processes: `STOP` freezes it, `CONT` lets it go on.
    pub fn signal(&self, name: &str) {
        let group = format!("-{}", self.0.id());
        let _ = Command::new("kill").args(["-s", name, "--", &group]).stderr(Stdio::null()).status();
    }

    fn end(&mut self) {
        self.signal("KILL");
        let _ = self.0.wait();
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.end();
    }
}
