//! One server process.
//!
//! Owns its start, its signals, its end. Left out: whether the server is ready. Invariant: it is killed when dropped, with what
//! it started, and by the kernel when the program that started it ends in any way: shared servers are never dropped, and a
//! test may be killed.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, waitid};

use crate::comes_true;

/// A running program.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

/// A command to start, and where the child goes.
type Order = (Command, SyncSender<io::Result<Child>>);

impl Process {
    /// Starts `program` with its output appended to `log`.
    #[must_use]
    pub fn start(name: &str, program: &Path, arguments: &[String], log: &Path) -> Self {
        let output =
            || -> File { OpenOptions::new().create(true).append(true).open(log).expect("the log file") };
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).args(arguments);
        command.stdin(Stdio::null()).stdout(output()).stderr(output()).process_group(0);
        let child = start_kept(command).unwrap_or_else(|error| panic!("start {name}: {error}"));
        Self { name: name.to_owned(), child, log: log.to_owned() }
    }

    /// Its process number.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. After SIGSTOP it returns once every thread stands still.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.number(), signal).unwrap_or_else(|error| panic!("signal {}: {error}", self.name));
        if signal == Signal::STOP {
            let stands = WaitIdOptions::STOPPED | WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            let waited = waitid(WaitId::Pid(self.number()), stands);
            waited.unwrap_or_else(|error| panic!("wait for {} to stop: {error}", self.name));
        }
    }

    /// Kills it with what it started, and waits for its end.
    pub fn kill(&mut self) {
        // Once it has been waited for, its number may be that of another.
        if self.ended().is_none() {
            let _ = kill_process_group(self.number(), Signal::KILL);
        }
        let _ = self.child.wait();
    }

    fn number(&self) -> Pid {
        i32::try_from(self.pid()).ok().and_then(Pid::from_raw).expect("a process number")
    }

    /// Asks it to end, and kills it when it has not within `patience`.
    pub fn terminate(&mut self, patience: Duration) {
        self.signal(Signal::TERM);
        let _ = comes_true(patience, || self.ended().is_some());
        self.kill();
    }

    /// How it ended, if it did.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().expect("the state of a child")
    }

    /// The last lines it wrote.
    #[must_use]
    pub fn last_words(&self) -> String {
        let text = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().rev().take(20).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Starts a child from a thread that lives as long as this program: the kernel counts the end of the thread that started a
/// child as the end of its parent, and the thread of a test ends with the test.
fn start_kept(command: Command) -> io::Result<Child> {
    static KEEPER: OnceLock<SyncSender<Order>> = OnceLock::new();
    let keeper = KEEPER.get_or_init(|| {
        let (orders, inbox) = sync_channel::<Order>(1);
        std::thread::spawn(move || {
            for (mut command, answer) in inbox {
                let _ = answer.send(command.spawn());
            }
        });
        orders
    });
    let (answer, child) = sync_channel(1);
    keeper.send((command, answer)).map_err(io::Error::other)?;
    child.recv().map_err(io::Error::other)?
}
