//! The directory of one server.
//!
//! Owns its making and its end. Left out: what stands in it. Invariant: it is removed when dropped; one that a killed test
//! program, or a server shared until the end of the program, left behind is removed by the next program that makes one.

use std::path::Path;
use std::sync::Once;

use tempfile::TempDir;

/// Every directory begins so, followed by the number of the process it belongs to.
const PREFIX: &str = "cim-services-";

/// A directory of its own below the temporary directory.
#[derive(Debug)]
pub struct Home(TempDir);

impl Home {
    /// A fresh directory.
    #[must_use]
    pub fn new() -> Self {
        static SWEPT: Once = Once::new();
        SWEPT.call_once(sweep);
        let prefix = format!("{PREFIX}{}-", std::process::id());
        Self(tempfile::Builder::new().prefix(&prefix).tempdir().expect("a temporary directory"))
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Default for Home {
    fn default() -> Self {
        Self::new()
    }
}

/// Removes the directories of processes that are gone.
fn sweep() {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let owner =
            name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()?.parse::<u32>().ok());
        if owner.is_some_and(|owner| !Path::new(&format!("/proc/{owner}")).exists()) {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
