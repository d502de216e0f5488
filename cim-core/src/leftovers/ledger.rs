//! How far the files are in the spool: one small document in the spool directory, replaced whole.
//!
//! Invariant: it never says more than the spool holds. It belongs to one epoch: after a power loss, when the spool may
//! have lost what was only written, the files are read from their beginning.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::contract::Level;

const NAME: &str = "leftovers.json";

/// How far one file is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Progress {
    /// Bytes whose lines the spool holds.
    pub offset: u64,
    /// No line of the file has a lower sequence.
    #[serde(default)]
    pub first_seq: u64,
    /// Sequence of the last of its lines.
    pub last_seq: u64,
}

#[derive(Debug, Default, Serialize, Deserialize)]
struct Page {
    epoch: u64,
    /// The files have been moved aside; later ones of such names are not an earlier sidecar's.
    taken: bool,
    files: BTreeMap<String, Progress>,
}

#[derive(Debug)]
pub(super) struct Ledger {
    path: PathBuf,
    page: Page,
}

impl Ledger {
    /// Reads the ledger of a spool directory; an absent or unreadable one is empty.
    pub(super) fn open(spool: &Path, epoch: u64) -> io::Result<Self> {
        let path = spool.join(NAME);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => text?,
        };
        let mut page: Page = serde_json::from_slice(&text).unwrap_or_default();
        if page.epoch != epoch {
            page = Page { epoch, taken: page.taken, files: BTreeMap::new() };
        }
        Ok(Self { path, page })
    }

    pub(super) fn is_taken(&self) -> bool {
        self.page.taken
    }

    pub(super) fn note_taken(&mut self) -> io::Result<()> {
        self.page.taken = true;
        self.save()
    }

    pub(super) fn progress(&self, file: &str) -> Option<Progress> {
        self.page.files.get(file).copied()
    }

    pub(super) fn note(&mut self, file: &str, progress: Progress) -> io::Result<()> {
        self.page.files.insert(file.to_owned(), progress);
        self.save()
    }

    pub(super) fn forget(&mut self, file: &str) -> io::Result<()> {
        self.page.files.remove(file);
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        crate::replace_file(&self.path, &serde_json::to_vec(&self.page)?, Level::Synced)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_belongs_to_one_epoch_and_taking_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let progress = Progress { offset: 7, first_seq: 2, last_seq: 3 };
        let mut ledger = Ledger::open(dir.path(), 1).unwrap();
        ledger.note_taken().unwrap();
        ledger.note("a", progress).unwrap();
        let same = Ledger::open(dir.path(), 1).unwrap();
        assert_eq!((same.is_taken(), same.progress("a")), (true, Some(progress)));
        let later = Ledger::open(dir.path(), 2).unwrap();
        assert_eq!((later.is_taken(), later.progress("a")), (true, None));
    }

    #[test]
    fn a_damaged_ledger_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), b"{\"epoch\":").unwrap();
        assert!(!Ledger::open(dir.path(), 1).unwrap().is_taken());
    }
}
