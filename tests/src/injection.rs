//! System calls of the running program that go wrong, by strace.
//!
//! Owns the tracer. Left out: which call, and how it fails. Invariant: every thread of the program is traced before the test goes
//! on.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::{Daemon, skip, until};

/// While this lives, a system call of the program goes wrong as told.
pub struct Injection {
    strace: Child,
    log: PathBuf,
}

impl Injection {
    /// From now on; `fault` in the words of `strace -e inject`. `None` without strace, after `skipped:` was said.
    #[must_use]
    pub fn start(daemon: &Daemon, call: &str, fault: &str) -> Option<Self> {
        Self::on(daemon, &["-f", "-p", &daemon.pid().to_string()], call, fault, |_| true)
    }

    /// The same in the thread of that name alone.
    #[must_use]
    pub fn in_thread(daemon: &Daemon, thread: &str, call: &str, fault: &str) -> Option<Self> {
        let tasks = std::fs::read_dir(format!("/proc/{}/task", daemon.pid())).unwrap();
        let mut tasks = tasks.map(|task| task.unwrap().path());
        let named = |task: &PathBuf| {
            std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == thread)
        };
        let task = tasks.find(named).unwrap_or_else(|| panic!("no thread `{thread}`"));
        let number = task.file_name().unwrap().to_str().unwrap().to_owned();
        Self::on(daemon, &["-p", &number], call, fault, |task| task == number)
    }

    fn on(
        daemon: &Daemon,
        whom: &[&str],
        call: &str,
        fault: &str,
        is_meant: impl Fn(&str) -> bool,
    ) -> Option<Self> {
        let log = daemon.home().join("strace");
        let child = Command::new("strace")
            .arg("-q")
            .args(whom)
            .arg("-o")
            .arg(&log)
            .args(["-e", &format!("trace={call}"), "-e", &format!("inject={call}:{fault}")])
            .stderr(Stdio::null())
            .spawn();
        let Ok(strace) = child else {
            skip("strace is not installed: system calls cannot be made to fail");
            return None;
        };
        let tasks = format!("/proc/{}/task", daemon.pid());
        until("strace to attach to every thread that is meant", || {
            let mut tasks = std::fs::read_dir(&tasks).unwrap().map(|task| task.unwrap());
            tasks.all(|task| {
                !is_meant(&task.file_name().to_string_lossy())
                    || std::fs::read_to_string(task.path().join("status"))
                        .map_or(true, |text| !text.contains("TracerPid:\t0\n"))
            })
        });
        Some(Self { strace, log })
    }

    /// Whether a call that went wrong has returned by now.
    #[must_use]
    pub fn has_struck(&self) -> bool {
        shows_one(&self.log())
    }

    /// Ends the fault. Fails when nothing ever went wrong.
    pub fn end(mut self) {
        self.detach();
        let log = self.log();
        assert!(shows_one(&log), "no call was made to fail: {log}");
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    fn detach(&mut self) {
        if self.strace.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = Command::new("kill").args(["-s", "INT", &self.strace.id().to_string()]).status();
            let _ = self.strace.wait();
        }
    }
}

fn shows_one(log: &str) -> bool {
    log.contains("INJECTED") || log.contains("DELAYED")
}

impl Drop for Injection {
    fn drop(&mut self) {
        self.detach();
    }
}
