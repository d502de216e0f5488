//! A directory with a source on it, and somebody else who writes there.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cim_config_file::{FileSettings, FileSource};
use cim_core::{ConfigScope, ConfigSource, ConfigStream, ConfigUpdate, async_trait};
use cim_testkit::{CannotExpress, SourceFault, SourceHarness};
use futures_util::StreamExt as _;
use tempfile::TempDir;

/// Longest wait for anything that is expected.
pub const PATIENCE: Duration = Duration::from_secs(20);

pub struct Store {
    outer: TempDir,
    uses_notices: bool,
    poll: &'static str,
}

impl Store {
    /// As it is meant to be used.
    pub fn with_notices() -> Self {
        Self::new(true, "1s")
    }

    /// With looks so rare that only the kernel's notices can tell of a change.
    pub fn by_notices_alone() -> Self {
        Self::new(true, "1h")
    }

    pub fn by_polling() -> Self {
        Self::new(false, "50ms")
    }

    fn new(uses_notices: bool, poll: &'static str) -> Self {
        let outer = tempfile::tempdir().unwrap();
        fs::create_dir(outer.path().join("dir")).unwrap();
        Self { outer, uses_notices, poll }
    }

    pub fn dir(&self) -> PathBuf {
        self.outer.path().join("dir")
    }

    /// A place beside the directory.
    pub fn beside(&self, name: &str) -> PathBuf {
        self.outer.path().join(name)
    }

    pub fn path(&self, key: &str) -> PathBuf {
        self.dir().join(key)
    }

    pub fn source(&self) -> Arc<FileSource> {
        let settings = FileSettings { dir: self.dir(), poll_interval: self.poll.parse().unwrap() };
        assert!(settings.problems().is_empty());
        let source = if self.uses_notices {
            FileSource::new("config", &settings)
        } else {
            FileSource::by_polling("config", &settings)
        };
        Arc::new(source)
    }

    /// Writes beside and renames, as it should be done.
    pub fn put(&self, key: &str, value: &[u8]) {
        replace(&self.path(key), value);
    }
}

pub fn replace(path: &Path, value: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let fresh = path.parent().unwrap().join(".fresh");
    fs::write(&fresh, value).unwrap();
    fs::rename(&fresh, path).unwrap();
}

pub fn scope() -> ConfigScope {
    ConfigScope { namespace: "ns".to_owned(), microservice: "amf".to_owned() }
}

pub async fn next(watch: &mut ConfigStream) -> ConfigUpdate {
    tokio::time::timeout(PATIENCE, watch.next()).await.expect("nothing was told").unwrap().unwrap()
}

/// What a watch told next, as text: `reset a=1 b=2`, `put a=1`, `delete a`.
pub async fn told(watch: &mut ConfigStream) -> String {
    let text = |key: &[u8], value: &[u8]| format!("{}={}", key.escape_ascii(), value.escape_ascii());
    match next(watch).await {
        ConfigUpdate::Reset { entries, .. } => {
            let entries = entries.iter().map(|entry| format!(" {}", text(&entry.key, &entry.value)));
            format!("reset{}", entries.collect::<String>())
        }
        ConfigUpdate::Put(entry) => format!("put {}", text(&entry.key, &entry.value)),
        ConfigUpdate::Delete { key, .. } => format!("delete {}", key.escape_ascii()),
    }
}

#[async_trait]
impl SourceHarness for Store {
    fn build(&self) -> Arc<dyn ConfigSource> {
        self.source()
    }

    async fn put(&self, key: &[u8], value: &[u8]) -> Result<(), CannotExpress> {
        replace(&self.dir().join(OsStr::from_bytes(key)), value);
        Ok(())
    }

    async fn delete(&self, key: &[u8]) {
        fs::remove_file(self.dir().join(OsStr::from_bytes(key))).unwrap();
    }

    async fn value(&self, key: &[u8]) -> Option<Vec<u8>> {
        fs::read(self.dir().join(OsStr::from_bytes(key))).ok()
    }

    fn keeps_history(&self) -> bool {
        false
    }

    async fn forget_history(&self) -> Result<(), CannotExpress> {
        // There is none.
        Ok(())
    }

    async fn fail(&self, fault: SourceFault) -> Result<(), CannotExpress> {
        match fault {
            SourceFault::Absent => {
                fs::rename(self.dir(), self.beside("away")).unwrap();
                Ok(())
            }
            SourceFault::Stalled => Err(CannotExpress("a directory cannot be made to hang".to_owned())),
        }
    }

    async fn heal(&self) {
        if self.beside("away").exists() {
            fs::rename(self.beside("away"), self.dir()).unwrap();
        }
    }
}

/// The changes of one document.
pub const CHANGE: &str = "change-set/ns/amf/v0/ms/app.json";

/// A store that hears of changes, and one that looks for them.
pub fn both() -> [Store; 2] {
    [Store::with_notices(), Store::by_polling()]
}
