//! The `cim` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cim_bin::cli::main())
}
