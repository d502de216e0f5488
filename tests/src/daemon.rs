//! The running program as a test sees it: started from its binary, spoken to over sockets, ended by its process.
//!
//! Owns the process and its directory. Left out: what a test expects. Invariant: a daemon is killed when it is dropped, by
//! its own process number and nothing else.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use cim_services::comes_true;

use crate::{PATIENCE, Wire, binary};

/// The name of the original program.
const ORIGINAL: &str = "NatsSubFb";
/// Who the program is, unless a test says otherwise.
const IDENTITY: &str = "identity = { namespace = \"ns1\", pod = \"pod-1\" }\n";

/// A file of the directory of a program, for what it writes.
fn appended(home: &Path, name: &str) -> std::fs::File {
    std::fs::OpenOptions::new().create(true).append(true).open(home.join(name)).unwrap()
}

/// A running `cim`.
pub struct Daemon {
    child: Child,
    home: tempfile::TempDir,
    nats: SocketAddr,
    api: SocketAddr,
    /// Variables of one that runs under the name of the original.
    as_original: Option<Vec<(String, String)>>,
    /// Whether a signal ended the life before this one.
    killed: bool,
}

impl Daemon {
    /// Starts the program in a directory of its own. `settings` follows `[nats]` and `[api]`; `{home}` in it is the directory.
    #[must_use]
    pub fn start(settings: &str) -> Self {
        Self::start_in(tempfile::tempdir().unwrap(), settings, Self::spawn)
    }

    /// As [`Daemon::start`], with standard output into `stdout`: a pipe that nobody reads, for example.
    #[must_use]
    pub fn start_into(settings: &str, stdout: impl Into<Stdio>) -> Self {
        let stdout = stdout.into();
        Self::start_in(tempfile::tempdir().unwrap(), settings, |home| {
            Self::command(home, &binary(), &[]).stdout(stdout).spawn().unwrap()
        })
    }

    /// As [`Daemon::start`], in a directory that was prepared: one with a file system of its own, for example.
    #[must_use]
    pub fn start_in(home: tempfile::TempDir, settings: &str, spawn: impl FnOnce(&Path) -> Child) -> Self {
        let nats = cim_bench::server::free_port().unwrap();
        let api = cim_bench::server::free_port().unwrap();
        let identity = if settings.contains("[identity]") { "" } else { IDENTITY };
        let text = format!("nats.listen = \"{nats}\"\napi.listen = \"{api}\"\n{identity}{settings}");
        let text = text.replace("{home}", &home.path().display().to_string());
        std::fs::write(home.path().join("cim.toml"), text).unwrap();
        let child = spawn(home.path());
        let daemon = Self { child, home, nats, api, as_original: None, killed: false };
        daemon.ready();
        daemon
    }

    /// Starts the program as a pod of the original does: under that name, without arguments, with the variables that charts set
    /// and the files below `opt` of a prepared directory.
    #[must_use]
    pub fn start_as_original(home: tempfile::TempDir, more: &[(&str, &str)]) -> Self {
        std::os::unix::fs::symlink(binary(), home.path().join(ORIGINAL)).unwrap();
        Self::start_as_original_by(home, more, Self::spawn_as_original)
    }

    /// As [`Daemon::start_as_original`], in surroundings of its own: `spawn` gets the directory and the variables.
    #[must_use]
    pub fn start_as_original_by(
        home: tempfile::TempDir,
        more: &[(&str, &str)],
        spawn: impl FnOnce(&Path, &[(String, String)]) -> Child,
    ) -> Self {
        let nats = cim_bench::server::free_port().unwrap();
        let api = cim_bench::server::free_port().unwrap();
        let ports = [("CIM_NATS_PORT", nats.port().to_string()), ("CIM_REST_PORT", api.port().to_string())];
        let mut variables: Vec<_> = ports.map(|(name, value)| (name.to_owned(), value)).into();
        variables.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let child = spawn(home.path(), &variables);
        let daemon = Self { child, home, nats, api, as_original: Some(variables), killed: false };
        daemon.ready();
        daemon
    }

    /// Another variable for the next life, for a program that runs under the old name.
    pub fn set_variable(&mut self, name: &str, value: &str) {
        self.as_original.get_or_insert_default().push((name.to_owned(), value.to_owned()));
    }

    fn spawn_as_original(home: &Path, variables: &[(String, String)]) -> Child {
        let mut command = Command::new(home.join(ORIGINAL));
        command.env_clear().env("CIM_LEGACY_ROOT", home).stdin(Stdio::null());
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        command.stdout(appended(home, "stdout")).stderr(appended(home, "stderr"));
        command.spawn().unwrap()
    }

    fn spawn_again(&self) -> Child {
        match &self.as_original {
            None => Self::spawn(self.home.path()),
            Some(variables) => Self::spawn_as_original(self.home.path(), variables),
        }
    }

    /// Starts the program in a prepared directory.
    #[must_use]
    pub fn spawn(home: &Path) -> Child {
        Self::command(home, &binary(), &[]).spawn().unwrap()
    }

    /// As [`Daemon::spawn`], through a program that sets up its surroundings and becomes it: `prlimit`, for example.
    #[must_use]
    pub fn spawn_under(home: &Path, surroundings: &[&str]) -> Child {
        Self::command(home, &binary(), surroundings).spawn().unwrap()
    }

    /// As [`Daemon::spawn_under`], with a copy of the program.
    #[must_use]
    pub fn spawn_program_under(home: &Path, program: &Path, surroundings: &[&str]) -> Child {
        Self::command(home, program, surroundings).spawn().unwrap()
    }

    /// A shell in a prepared directory that knows the program as `cim`, and stops at the first line that fails. Its output is
    /// that of the program, unless it is told otherwise.
    #[must_use]
    pub fn shell(home: &Path, script: &str) -> Command {
        let programs = home.join("bin");
        std::fs::create_dir_all(&programs).unwrap();
        let _ = std::os::unix::fs::symlink(binary(), programs.join("cim"));
        let path = std::env::var("PATH").unwrap_or_default();
        let mut command = Command::new("sh");
        command.args(["-ec", script]).current_dir(home).stdin(Stdio::null());
        command.env_clear().env("PATH", format!("{}:{path}", programs.display()));
        command.env("CIM_LEGACY_ROOT", home);
        command.stdout(appended(home, "stdout")).stderr(appended(home, "stderr"));
        command
    }

    fn command(home: &Path, program: &Path, surroundings: &[&str]) -> Command {
        let mut words: Vec<PathBuf> = surroundings.iter().map(PathBuf::from).collect();
        words.push(program.to_owned());
        let mut command = Command::new(&words[0]);
        command.args(&words[1..]);
        command.args(["run", "--config"]).arg(home.join("cim.toml")).env_clear().stdin(Stdio::null());
        // What the original left on this machine is not part of any test.
        command.env("CIM_LEGACY_ROOT", home);
        command.stdout(appended(home, "stdout")).stderr(appended(home, "stderr"));
        command
    }

    /// Sends a signal to the program, by its process number.
    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args(["-s", name, &self.child.id().to_string()]).status().unwrap();
        assert!(status.success(), "kill -s {name}");
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Memory of the program in KiB, by the name that the kernel has for it: `VmRSS`, `VmHWM`, `RssAnon`.
    #[must_use]
    pub fn memory_kib(&self, which: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).unwrap();
        let value = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
        value.unwrap().trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// How often its threads have gone to sleep so far, and so were woken; those that have ended are missing.
    #[must_use]
    pub fn wakeups(&self) -> u64 {
        cim_bench::server::wakeups(self.pid()).unwrap()
    }

    /// Waits until the program has ended, and returns its exit code.
    pub fn ended(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            assert!(Instant::now() < deadline, "the program has not ended within {PATIENCE:?}");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Starts the program again after it has ended; how long it takes from before its execution until a client is connected.
    pub fn start_again(&mut self) -> Duration {
        let ended = self.child.try_wait().unwrap().expect("it still runs");
        self.killed = ended.code().is_none();
        let began = Instant::now();
        self.child = self.spawn_again();
        let connected = || TcpStream::connect(self.nats).is_ok();
        while !connected() && began.elapsed() < PATIENCE {
            std::thread::sleep(Duration::from_micros(100));
        }
        let took = began.elapsed();
        self.ready();
        took
    }

    /// Changes its configuration file, by another in its place: the program may read it just then.
    pub fn edit(&self, from: &str, to: &str) {
        let path = self.home().join("cim.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(from), "nothing to change: {from}");
        let fresh = path.with_file_name(".fresh");
        std::fs::write(&fresh, text.replace(from, to)).unwrap();
        std::fs::rename(fresh, path).unwrap();
    }

    /// The same, and waits until that configuration is in force.
    pub fn reload(&self, from: &str, to: &str) {
        let reloads = || self.stderr().matches("the configuration was read again and is in force").count();
        let before = reloads();
        self.edit(from, to);
        self.signal("HUP");
        assert!(comes_true(PATIENCE, || reloads() > before), "not in force: {}", self.stderr());
    }

    /// What it has written to standard error.
    #[must_use]
    pub fn stderr(&self) -> String {
        std::fs::read_to_string(self.home().join("stderr")).unwrap()
    }

    fn ready(&self) {
        // Under the name of the original there is no page for that.
        let page = if self.as_original.is_some() { "/metrics" } else { "/readyz" };
        let answers = || self.get(page).is_some_and(|page| page.starts_with("HTTP/1.1 200"));
        assert!(comes_true(PATIENCE, answers), "not ready within {PATIENCE:?}: {}", self.stderr());
    }

    /// Kills the program with SIGKILL and starts it again.
    pub fn kill_and_restart(&mut self) {
        self.child.kill().unwrap();
        self.killed = self.child.wait().unwrap().code().is_none();
        self.child = self.spawn_again();
        self.ready();
    }

    /// Whether the life before this one was ended by a signal, and not by the program.
    #[must_use]
    pub fn was_killed(&self) -> bool {
        self.killed
    }

    /// Address of the NATS listener.
    #[must_use]
    pub fn nats(&self) -> SocketAddr {
        self.nats
    }

    /// Address of the HTTP server.
    #[must_use]
    pub fn api(&self) -> SocketAddr {
        self.api
    }

    /// What a command of the program prints, with both of its outputs, given the configuration of this one.
    #[must_use]
    pub fn cim(&self, arguments: &[&str]) -> String {
        let output = self.outcome(arguments);
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
    }

    /// What comes of a command of the program, given the configuration of this one.
    #[must_use]
    pub fn outcome(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(binary());
        command.args(arguments).arg("--config").arg(self.home().join("cim.toml"));
        command.env_clear().env("CIM_LEGACY_ROOT", self.home()).output().unwrap()
    }

    /// Its directory.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.home.path()
    }

    /// What it has written to standard output.
    #[must_use]
    pub fn stdout(&self) -> String {
        std::fs::read_to_string(self.home().join("stdout")).unwrap()
    }

    /// What it wrote at its end into the file `last-word` of its directory, which `[lifecycle] termination_log` has to name.
    #[must_use]
    pub fn last_word(&self) -> serde_json::Value {
        let text = std::fs::read_to_string(self.home().join("last-word")).unwrap();
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: `{text}`"))
    }

    /// One page of the API, head included; `None` when there is no answer.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<String> {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"))
    }

    /// Registers the application; the answer, head included.
    #[must_use]
    pub fn register(&self) -> String {
        self.register_with("")
    }

    /// The same with more members, each after a comma.
    pub fn register_with(&self, more: &str) -> String {
        let body = format!(r#"{{"container_name":"app","container_id":"cid1"{more}}}"#);
        let path = "/api/v1/_operations/xgvela/register";
        let kind = "text/plain;charset=ISO-8859-1";
        let head =
            format!("POST {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: {kind}");
        self.ask(&format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len())).expect("an answer")
    }

    /// A call of the API with a body; the answer, head included.
    #[must_use]
    pub fn call(&self, method: &str, path: &str, body: &[u8]) -> String {
        let head = format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
        let head = format!("{head}Content-Length: {}\r\n\r\n", body.len());
        self.exchange(&[head.as_bytes(), body].concat())
    }

    /// Sends bytes to the API and returns what comes until the connection ends.
    #[must_use]
    pub fn exchange(&self, request: &[u8]) -> String {
        let mut stream = TcpStream::connect(self.api).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        // A refusal may come while the rest is still being sent.
        let _ = stream.write_all(request);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    fn ask(&self, request: &str) -> Option<String> {
        let mut stream = TcpStream::connect_timeout(&self.api, Duration::from_secs(1)).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).ok()?;
        stream.write_all(request.as_bytes()).ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        Some(page)
    }

    /// The sum of a metric over all its labels, or of one series, or of those that begin with `name` up to a label.
    #[must_use]
    pub fn metric(&self, name: &str) -> f64 {
        sum(&self.get("/metrics").expect("the metrics page"), name)
    }

    /// Whether the conservation law holds on one page: records may be on their way between two.
    #[must_use]
    pub fn books_balance(&self) -> bool {
        let page = self.get("/metrics").expect("the metrics page");
        let entered =
            ["cim_records_accepted_total", "cim_records_recovered_total", "cim_records_taken_over_total"];
        let left = [
            "cim_records_delivered_total",
            "cim_records_dead_lettered_total",
            "cim_records_dropped_total",
            "cim_records_handed_over_total",
            "cim_records_held",
        ];
        let total = |names: &[&str]| names.iter().map(|name| sum(&page, name)).sum::<f64>();
        (total(&entered) - total(&left)).abs() < 0.5
    }

    /// A raw NATS connection that has said CONNECT.
    #[must_use]
    pub fn connect(&self) -> Wire {
        Wire::connect(self.nats)
    }
}

fn sum(page: &str, name: &str) -> f64 {
    let series = page
        .lines()
        .filter(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ',', ' '])));
    series.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
