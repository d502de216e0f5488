//! What tests of the whole program share: the program itself ([`Daemon`]), and what it has to do with.
//!
//! Owns where the program is, and how tests wait and say that they could not run. Left out: what a test expects. Invariant:
//! every wait has an end.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "test code: a failed step is the failure, and the environment says where the binaries are"
)]

pub mod application;
pub mod auditor;
pub mod catch_up;
pub mod check;
pub mod client;
pub mod cluster;
mod daemon;
pub mod documents;
pub mod files;
mod injection;
pub mod invariants;
pub mod lateness;
pub mod load;
mod mount;
pub mod null_rig;
pub mod pings;
pub mod pod;
pub mod receiver;
pub mod repeats;
pub mod rig;
pub mod succession;
pub mod verdict;
mod wire;
pub mod world;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use cim_services::tool;
pub use cim_testkit::has_time;
pub use daemon::Daemon;
pub use injection::Injection;
pub use mount::{Inodes, Mount};
pub use wire::{Wire, publication};

/// Longest wait for anything that is expected.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// The program under test: `CIM_BIN`, or the one built with profile `ci`.
#[must_use]
pub fn binary() -> PathBuf {
    let path = std::env::var_os("CIM_BIN").map_or_else(
        || {
            let target = std::env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| "../target".into());
            Path::new(&target).join("ci/cim")
        },
        PathBuf::from,
    );
    assert!(
        path.exists(),
        "{} does not exist: build it with `cargo build --profile ci -p cim-bin`",
        path.display()
    );
    path
}

/// Says that a test could not run; with `CIM_NO_SKIPS=1` it fails.
pub fn skip(why: &str) {
    let _ = std::io::stderr().write_all(format!("\nskipped: {why}\n").as_bytes());
    assert!(
        std::env::var_os("CIM_NO_SKIPS").is_none_or(|value| value != "1"),
        "skipped where skips fail: {why}"
    );
}

/// Polls until the condition holds.
pub fn until(what: &str, condition: impl FnMut() -> bool) {
    cim_services::until(what, PATIENCE, condition);
}
