//! The `cim` program with a configuration written for one bench.
//!
//! Leaves out what is measured. The configuration names every key it depends on, so that a changed default cannot
//! change a bench. Diagnostics go to a file in the work directory and are quoted when a start fails.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::child::Child;
use super::ports::free_port;
use crate::books::Books;
use crate::error::{BenchError, Result};
use crate::http::{self, poll_until};

/// Where logs and events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SinkSpec {
    /// Counted and discarded.
    Null,
    /// As `Null`, each batch answered after 2 ms, like by a broker near by.
    Distant,
    /// Files in that directory.
    File(PathBuf),
    /// Standard output.
    Stdout,
    /// JSON lines to a TCP receiver.
    Tcp(SocketAddr),
    /// Topics LOGS and EVENT of a Kafka.
    Kafka {
        /// Bootstrap servers, with commas between them.
        brokers: String,
        /// Whether records carry who numbered them, and their number.
        headers: bool,
    },
}

/// Where configuration comes from, and whom it is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigurationSpec {
    /// URL of etcd.
    pub etcd: String,
    /// The application.
    pub application: SocketAddr,
}

/// How CIM is to run.
#[derive(Debug, Clone)]
pub struct CimSpec {
    /// The program.
    pub binary: PathBuf,
    /// Directory for configuration and diagnostics.
    pub work: PathBuf,
    /// Spool directory; none: level `memory`.
    pub spool: Option<PathBuf>,
    /// Limit of the log spool, as written in the configuration.
    pub spool_bytes: String,
    /// What happens when it is full.
    pub when_full: &'static str,
    /// Memory budget, as written in the configuration.
    pub budget: String,
    /// The sink of both routes.
    pub sink: SinkSpec,
    /// Configuration; none: no source.
    pub configuration: Option<ConfigurationSpec>,
    /// Members of `[subscriptions]`; none: no events are read.
    pub subscriptions: Option<String>,
    /// NATS listener.
    pub nats: SocketAddr,
    /// HTTP listener.
    pub api: SocketAddr,
}

impl CimSpec {
    /// CIM with that sink in a work directory, on free ports, with a spool of 2 GiB in `<work>/spool` that blocks when
    /// it is full: a bench never loses a record by policy.
    ///
    /// # Errors
    /// No free port.
    pub fn new(binary: &Path, work: &Path, sink: SinkSpec) -> Result<Self> {
        Ok(Self {
            binary: binary.to_owned(),
            work: work.to_owned(),
            spool: Some(work.join("spool")),
            spool_bytes: "2GiB".into(),
            when_full: "block",
            budget: "48MiB".into(),
            sink,
            configuration: None,
            subscriptions: None,
            nats: free_port()?,
            api: free_port()?,
        })
    }

    /// The same without a spool.
    #[must_use]
    pub fn without_spool(self) -> Self {
        Self { spool: None, ..self }
    }

    fn toml(&self) -> String {
        let mut text = String::from(
            "[identity]\nnamespace = \"bench\"\npod = \"bench-0\"\nmicroservice = \"bench\"\nversion = \"v0\"\n",
        );
        let _ = write!(text, "[nats]\nlisten = \"{}\"\n[api]\nlisten = \"{}\"\n", self.nats, self.api);
        let _ = write!(text, "[memory]\nbudget = \"{}\"\n", self.budget);
        if let Some(dir) = &self.spool {
            let _ = write!(
                text,
                "[spool]\ndir = {dir:?}\n[spool.logs]\nmax_bytes = \"{}\"\naccept = \"written\"\nwhen_full = \"{}\"\n\
                 [spool.events]\nmax_bytes = \"64MiB\"\naccept = \"synced\"\nwhen_full = \"block\"\n",
                self.spool_bytes, self.when_full
            );
        }
        text.push_str(
            "[routes.logs]\nsink = \"bench\"\nformat = \"json\"\n[routes.events]\nsink = \"bench\"\n",
        );
        let _ = match &self.sink {
            SinkSpec::Null => writeln!(text, "[sinks.bench]\ntype = \"null\""),
            SinkSpec::Distant => {
                writeln!(text, "[sinks.bench]\ntype = \"null\"\nanswer_after = \"2ms\"")
            }
            SinkSpec::Stdout => writeln!(text, "[sinks.bench]\ntype = \"stdout\""),
            SinkSpec::Tcp(address) => {
                writeln!(text, "[sinks.bench]\ntype = \"tcp\"\naddress = \"{address}\"")
            }
            SinkSpec::Kafka { brokers, headers } => {
                let list: Vec<&str> = brokers.split(',').collect();
                writeln!(
                    text,
                    "[sinks.bench]\ntype = \"kafka\"\nbrokers = {list:?}\nlogs_topic = \"LOGS\"\nevents_topic = \"EVENT\"\n\
                     headers = {headers}"
                )
            }
            SinkSpec::File(dir) => {
                writeln!(
                    text,
                    "[sinks.bench]\ntype = \"file\"\ndir = {dir:?}\nmax_size = \"16GiB\"\nmax_files = 0"
                )
            }
        };
        let _ = match &self.configuration {
            None => writeln!(text, "[configuration]\nsource = \"none\""),
            Some(ConfigurationSpec { etcd, application }) => writeln!(
                text,
                "[configuration]\nsource = \"etcd\"\n[configuration.etcd]\nendpoints = [\"{etcd}\"]\n\
                 [application]\nurl = \"http://{application}\""
            ),
        };
        let subscriptions = self.subscriptions.as_deref().unwrap_or("source = \"none\"");
        let _ = writeln!(text, "[subscriptions]\n{subscriptions}");
        text.push_str("[orchestrator]\ntype = \"standalone\"\n");
        text
    }
}

/// A running `cim`.
#[derive(Debug)]
pub struct Cim {
    /// Its process.
    pub child: Child,
    /// How it runs.
    pub spec: CimSpec,
}

impl Cim {
    /// Starts CIM and waits until it is ready: INFO on the NATS port and 200 on `/readyz`. Standard output is discarded.
    ///
    /// # Errors
    /// It cannot be started, ends, or is not ready within 10 s; the error quotes its last diagnostics.
    pub fn start(spec: CimSpec) -> Result<Self> {
        let mut cim = Self::launch(spec, Stdio::null())?;
        cim.wait_ready()?;
        Ok(cim)
    }

    /// Starts CIM with standard output into a pipe or file, and waits until it is ready.
    ///
    /// # Errors
    /// As [`Cim::start`].
    pub fn start_into(spec: CimSpec, stdout: OwnedFd) -> Result<Self> {
        let mut cim = Self::launch(spec, Stdio::from(stdout))?;
        cim.wait_ready()?;
        Ok(cim)
    }

    /// Starts CIM without waiting.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn launch(spec: CimSpec, stdout: Stdio) -> Result<Self> {
        fs::create_dir_all(&spec.work).map_err(BenchError::io("create the work directory"))?;
        let dirs =
            [spec.spool.as_deref(), if let SinkSpec::File(dir) = &spec.sink { Some(dir) } else { None }];
        for dir in dirs.into_iter().flatten() {
            fs::create_dir_all(dir).map_err(BenchError::io(format!("create {}", dir.display())))?;
        }
        let config = spec.work.join("cim.toml");
        fs::write(&config, spec.toml()).map_err(BenchError::io("write the configuration"))?;
        let diagnostics = OpenOptions::new().create(true).append(true).open(spec.work.join("cim.err"));
        let diagnostics: File = diagnostics.map_err(BenchError::io("open the diagnostics file"))?;
        let mut command = Command::new(&spec.binary);
        command.arg("run").arg("--config").arg(&config);
        command.stdin(Stdio::null()).stdout(stdout).stderr(diagnostics);
        Ok(Self { child: Child::start("cim", &mut command)?, spec })
    }

    /// Waits for INFO and `/readyz`.
    ///
    /// # Errors
    /// CIM ended or is not ready within 10 s.
    pub fn wait_ready(&mut self) -> Result<()> {
        let (nats, api) = (self.spec.nats, self.spec.api);
        let child = &mut self.child;
        let mut ended = false;
        let waited = poll_until("cim ready", || {
            ended = child.has_ended();
            ended || (TcpStream::connect(nats).is_ok() && http::is_ok(api, "/readyz"))
        });
        if ended || waited.is_err() {
            let end = if ended { "ended" } else { "is not ready" };
            return Err(BenchError::Unclean(format!("cim {end} at start: {}", self.last_words())));
        }
        Ok(())
    }

    /// The last lines of its diagnostics.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = fs::read_to_string(self.spec.work.join("cim.err")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(5).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join(" | ")
    }

    /// The books of both routes from `/metrics`.
    ///
    /// # Errors
    /// CIM does not answer.
    pub fn books(&self) -> Result<Books> {
        let page = http::get(self.spec.api, "/metrics")?;
        Ok(Books::parse(&page))
    }

    /// Waits until nothing is held any more and returns the books; gives up when nothing moves for `patience`.
    ///
    /// # Errors
    /// Deliveries stopped while records were held, or CIM does not answer.
    pub fn drained(&self, patience: Duration) -> Result<Books> {
        let mut last = self.books()?;
        let mut moved = std::time::Instant::now();
        loop {
            if last.logs.held == 0 && last.events.held == 0 {
                return Ok(last);
            }
            if moved.elapsed() > patience {
                let held = last.logs.held.saturating_add(last.events.held);
                return Err(BenchError::Unclean(format!("{held} records still held: {}", self.last_words())));
            }
            std::thread::sleep(Duration::from_millis(2));
            let now = self.books()?;
            if now != last {
                moved = std::time::Instant::now();
                last = now;
            }
        }
    }
}
