//! File sinks in directories of the tests' own, and what is in them.
#![allow(
    dead_code,
    unused_imports,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure, and each test program uses a part of it"
)]

mod disk;
mod mount;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{Class, Identity, Sink};
use cim_sink_file::{FileSettings, FileSink};
use cim_testkit::{Sample, Subject};

pub use disk::FileHarness;
pub use mount::Mount;

/// 2021-03-01T00:00:00.123Z
pub const NOW: u64 = 1_614_556_800_123;

pub fn identity() -> Identity {
    Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() }
}

pub fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeMap::new() };
    entries
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_file())
        .map(|entry| (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap()))
        .collect()
}

pub fn subject(settings: &FileSettings) -> Subject {
    let sink = Arc::new(FileSink::with_clock("disk", &identity(), settings, || NOW));
    Subject::of(Sink::both(sink), Class::Log, Duration::from_secs(10)).unwrap()
}

pub fn in_dir(dir: &Path) -> FileSettings {
    FileSettings { dir: dir.to_owned(), ..FileSettings::default() }
}

pub fn numbered(range: std::ops::Range<u64>, container: &str) -> Vec<Sample> {
    range.map(|seq| Sample::numbered(seq, container)).collect()
}
