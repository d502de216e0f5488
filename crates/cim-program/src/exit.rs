//! How the process ends: its exit codes and the failures behind them.
//!
//! The invariant: every way out of the program is one of these codes, and `cim --help` lists them.

use std::fmt;

/// Everything was delivered, or is held in a persistent spool; for other commands: done.
pub const DONE: u8 = 0;
/// A failure that has no code of its own.
pub const FAILED: u8 = 1;
/// Cannot start: configuration, port, spool, or a command line that is not understood.
pub const CANNOT_START: u8 = 2;
/// Accepted records were dropped, or the stop took longer than its deadline; for commands that wait: the time was over.
pub const DROPPED: u8 = 3;

/// The codes as `cim --help` shows them.
pub const HELP: &str = "Exit codes:
  0  done; for `cim run`: everything was delivered, or is held in a persistent spool
  1  failed for another reason; for `cim verify`: a fault was found;
     for `cim doctor`: something is not as it must be
  2  cannot start: configuration, port, spool directory, or command line;
     for `cim verify`: what it is to read cannot be read
  3  `cim run` dropped accepted records, or did not stop in time;
     for `cim drain` and `cim wait`: the time was over before";

/// Why a command failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub code: u8,
    /// What to tell the person in front of the terminal.
    pub text: String,
}

impl Failure {
    /// The program cannot start like this.
    #[must_use]
    pub fn cannot_start(text: impl fmt::Display) -> Self {
        Self { code: CANNOT_START, text: text.to_string() }
    }

    /// Something else went wrong.
    #[must_use]
    pub fn failed(text: impl fmt::Display) -> Self {
        Self { code: FAILED, text: text.to_string() }
    }
}

pub use cim_core::chain;
