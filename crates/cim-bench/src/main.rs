//! `cim-bench`: command line of the load generator, the checker, the floors, the ratio benches and the kill loop.
//!
//! Leaves out the work itself (the library). Exit codes: 0 clean, 1 a finding or a missed check, 2 it could not run.
#![allow(clippy::print_stdout, reason = "a command line prints its results")]

mod command;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match command::Arguments::parse().run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprintln!("cim-bench: {}", error.chain());
            ExitCode::from(2)
        }
    }
}
