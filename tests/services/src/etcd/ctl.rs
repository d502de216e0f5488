//! The program `etcdctl`, towards given endpoints.
//!
//! Owns how it is called. Invariant: nothing of the environment changes what it does.

use std::ffi::OsStr;
use std::io::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// One way to call it.
#[derive(Debug, Clone)]
pub(super) struct Ctl {
    pub(super) program: PathBuf,
    pub(super) endpoints: String,
    /// Flags of every call: certificates.
    pub(super) flags: Vec<String>,
}

impl Ctl {
    /// What it prints.
    pub(super) fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let output = self.command().args(arguments).output();
        text(arguments, output.map_err(|error| error.to_string())?)
    }

    /// Puts a value that is given on standard input, and so may be anything; the key may be any bytes but zero.
    pub(super) fn put(&self, key: &[u8], value: &[u8], flags: &[&str]) -> Result<String, String> {
        let mut command = self.command();
        command.arg("put").args(flags).arg("--").arg(OsStr::from_bytes(key));
        if value.is_empty() {
            command.arg(""); // it takes empty input for none
        }
        run_with(&mut command, value)
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.env_clear().stdin(Stdio::null());
        command.arg(format!("--endpoints={}", self.endpoints)).args(&self.flags);
        command
    }
}

/// What a call prints that gets that on standard input.
pub(super) fn run_with(command: &mut Command, input: &[u8]) -> Result<String, String> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|error| error.to_string())?;
    // Closed at the end of the statement, which is the end of the input.
    child.stdin.take().expect("a pipe").write_all(input).map_err(|error| error.to_string())?;
    text(&[], child.wait_with_output().map_err(|error| error.to_string())?)
}

pub(super) fn text(arguments: &[&str], output: Output) -> Result<String, String> {
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(format!("{arguments:?}: {}", String::from_utf8_lossy(&output.stderr)))
}
