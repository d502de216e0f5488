//! The `cim` program.
//!
//! Everything is in `cim-program`, which is built for size. This package is built for speed, because the last step of the build
//! optimises all of the program as it does this one: built for size here, the loops that records pass would be, too.

use std::process::ExitCode;

fn main() -> ExitCode {
    ExitCode::from(cim_program::cli::main())
}
