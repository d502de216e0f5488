//! A child process with what the kernel knows about it: CPU time, memory, bytes written.
//!
//! Leaves out what the program is. Invariant: the process is killed and reaped when the value is dropped.

use std::fs;
use std::process::{self, Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{BenchError, Result};

/// A running program.
#[derive(Debug)]
pub struct Child {
    name: &'static str,
    process: process::Child,
    started: Instant,
    ended: bool,
}

impl Child {
    /// Starts the program.
    ///
    /// # Errors
    /// The program cannot be executed.
    pub fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let started = Instant::now();
        let process = command.spawn().map_err(BenchError::io(format!("start {name}")))?;
        Ok(Self { name, process, started, ended: false })
    }

    /// When it was started.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.process.id()
    }

    /// Its standard output, if it was piped and not taken yet.
    pub fn take_stdout(&mut self) -> Option<process::ChildStdout> {
        self.process.stdout.take()
    }

    /// Whether it has ended by itself.
    pub fn has_ended(&mut self) -> bool {
        self.ended = self.ended || matches!(self.process.try_wait(), Ok(Some(_)));
        self.ended
    }

    /// SIGKILL, then reaps.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if !self.ended {
            let _ = self.process.kill();
            self.process.wait().map_err(BenchError::io(format!("wait for {}", self.name)))?;
            self.ended = true;
        }
        Ok(())
    }

    /// SIGTERM, then waits up to `patience`.
    ///
    /// # Errors
    /// It does not end in time.
    pub fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        self.signal(Signal::TERM)?;
        let start = Instant::now();
        loop {
            if let Ok(Some(status)) = self.process.try_wait() {
                self.ended = true;
                return Ok(status);
            }
            if start.elapsed() > patience {
                let what = format!("end of {} after SIGTERM", self.name);
                return Err(BenchError::Deadline { what, seconds: patience.as_secs() });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// The process is gone.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.id()).ok().and_then(Pid::from_raw);
        let pid = pid.ok_or_else(|| BenchError::Invalid("no process id".into()))?;
        kill_process(pid, signal)
            .map_err(|error| BenchError::io(format!("signal {}", self.name))(error.into()))
    }

    /// CPU seconds of all its threads, user and system, with nanosecond resolution where the kernel offers it.
    ///
    /// # Errors
    /// The process is gone.
    pub fn cpu_seconds(&self) -> Result<f64> {
        // utime and stime are the 14th and 15th field; the name in field 2 may hold spaces but ends with `)`.
        let stat = self.proc("stat")?;
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let tick = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
        let (Some(user), Some(system)) = (tick(11), tick(12)) else {
            return Err(BenchError::Protocol(format!("/proc/{}/stat", self.id())));
        };
        let ticks = user.saturating_add(system) as f64;
        Ok(ticks / rustix::param::clock_ticks_per_second() as f64)
    }

    /// CPU nanoseconds of the threads alive now, from the scheduler; finer than [`Child::cpu_seconds`], but threads
    /// that have ended are missing.
    ///
    /// # Errors
    /// The process is gone.
    pub fn scheduled_ns(&self) -> Result<u64> {
        over_threads(self.id(), "schedstat", |text| text.split_whitespace().next()?.parse().ok())
    }

    /// How often its threads have gone to sleep so far, and so were woken; those that have ended are missing.
    ///
    /// # Errors
    /// The process is gone.
    pub fn wakeups(&self) -> Result<u64> {
        wakeups(self.id())
    }

    /// Resident memory now, bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn resident_bytes(&self) -> Result<u64> {
        self.kib("status", "VmRSS:").map(|kib| kib.saturating_mul(1024))
    }

    /// Highest resident memory so far, bytes.
    ///
    /// # Errors
    /// The process is gone.
    pub fn peak_bytes(&self) -> Result<u64> {
        self.kib("status", "VmHWM:").map(|kib| kib.saturating_mul(1024))
    }

    /// Bytes handed to `write` calls on files, pipes and sockets so far.
    ///
    /// # Errors
    /// The process is gone, or its I/O counts may not be read.
    pub fn written_bytes(&self) -> Result<u64> {
        self.kib("io", "wchar:")
    }

    fn kib(&self, file: &str, key: &str) -> Result<u64> {
        let text = self.proc(file)?;
        let line = text.lines().find_map(|line| line.strip_prefix(key));
        line.and_then(|rest| rest.split_whitespace().next())
            .and_then(|number| number.parse().ok())
            .ok_or_else(|| BenchError::Protocol(format!("no {key} in /proc/{}/{file}", self.id())))
    }

    fn proc(&self, file: &str) -> Result<String> {
        let path = format!("/proc/{}/{file}", self.id());
        fs::read_to_string(&path).map_err(BenchError::io(format!("read {path}")))
    }
}

/// How often the threads of that process have gone to sleep so far, and so were woken; those that have ended are missing.
///
/// # Errors
/// The process is gone.
pub fn wakeups(process: u32) -> Result<u64> {
    over_threads(process, "status", |text| {
        let line = text.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
        line.trim().parse().ok()
    })
}

/// The sum of a number in a file that each thread of a process has.
fn over_threads(process: u32, file: &str, number: impl Fn(&str) -> Option<u64>) -> Result<u64> {
    let failed = || format!("read /proc/{process}/task");
    let mut sum = 0u64;
    for task in fs::read_dir(format!("/proc/{process}/task")).map_err(BenchError::io(failed()))? {
        let task = task.map_err(BenchError::io(failed()))?;
        let text = fs::read_to_string(task.path().join(file)).unwrap_or_default();
        sum = sum.saturating_add(number(&text).unwrap_or(0));
    }
    Ok(sum)
}

impl Drop for Child {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}
