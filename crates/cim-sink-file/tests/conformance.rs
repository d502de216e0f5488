//! The conformance suite on a real directory.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod rig;

use cim_sink_file::FileDurability;
use rig::FileHarness;

cim_testkit::conformance!(logs_written: logs, FileHarness::new(FileDurability::Written));
cim_testkit::conformance!(logs_synced: logs, FileHarness::new(FileDurability::Synced));
cim_testkit::conformance!(events: events, FileHarness::new(FileDurability::Written));
