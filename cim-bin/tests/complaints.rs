//! What the program says on standard error, and its exit code, when it cannot do what it was asked.
//!
//! Each `tests/golden/commands/*.txt` holds files, a command line and the outcome; `--- beside` is a program that runs
//! at the same time, `$TAKEN` an address that is in use. `CIM_UPDATE_GOLDEN=1 cargo test -p cim-bin --test complaints`
//! rewrites the outcomes; review the difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod recorded;

use std::fmt::Write;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(20);

/// A program that is killed, by its own process number, when the case is over.
struct Beside(Child);

impl Drop for Beside {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn cim(home: &Path, arguments: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cim"));
    command.args(arguments.split_whitespace()).env_clear().current_dir(home).stdin(Stdio::null());
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn until(what: &str, mut happened: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !happened() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn start_beside(home: &Path, arguments: &str) -> Beside {
    let beside = Beside(cim(home, arguments).spawn().unwrap());
    until("the control socket of the program beside", || home.join("spool/cim.sock").exists());
    beside
}

fn put(home: &Path, name: &str, text: &str, taken: &str) {
    let (name, bytes) = match name.strip_prefix("hex ") {
        Some(name) => (name, unhex(text.trim())),
        None => (name, text.replace("$TAKEN", taken).into_bytes()),
    };
    let file = home.join(name);
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, bytes).unwrap();
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

/// What the case leads to: exit code and standard error.
fn outcome(inputs: &str) -> String {
    let home = tempfile::tempdir().unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let mut beside = None;
    let mut text = String::new();
    for block in inputs.split("--- ").skip(1) {
        let (name, content) = block.split_once('\n').unwrap();
        match name {
            "beside" => beside = Some(start_beside(home.path(), content)),
            "command" => {
                let mut running = cim(home.path(), content).stderr(Stdio::piped()).spawn().unwrap();
                let mut status = None;
                until(content, || {
                    status = running.try_wait().unwrap();
                    status.is_some()
                });
                let output = running.wait_with_output().unwrap();
                writeln!(text, "exit code {}", status.unwrap().code().unwrap()).unwrap();
                for line in String::from_utf8(output.stderr).unwrap().lines() {
                    // Diagnostics begin with the time; what ends the program does not.
                    if !line.starts_with("20") {
                        writeln!(text, "{line}").unwrap();
                    }
                }
            }
            file => put(home.path(), file, content, &address),
        }
    }
    drop(beside);
    text.replace(&address, "$TAKEN").replace(&format!("{}/", home.path().display()), "")
}

#[test]
fn complaints_are_as_recorded() {
    recorded::as_recorded("commands", 19, outcome);
}
