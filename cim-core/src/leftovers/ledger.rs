//! How far the files are in the spool: one small document in the spool directory, replaced whole.
//!
//! Invariants: it never says more than the spool holds, and nothing of a file of which lines were given up: the next start
//! reads such a file from its beginning, whatever ended this life. It belongs to one epoch: after a power loss, when the spool
//! may have lost what was only written, the files are read from their beginning.

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
    /// First sequence after the last record that some sink never got in this life.
    given_up: u64,
    /// The document on the disk says something else.
    is_stale: bool,
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
        Ok(Self { path, page, given_up: 0, is_stale: false })
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

    /// How far a file is, unless lines of it were given up.
    pub(super) fn note(&mut self, file: &str, progress: Progress) -> io::Result<()> {
        if self.has_gaps(&progress) {
            return self.forget(file);
        }
        self.page.files.insert(file.to_owned(), progress);
        self.save()
    }

    pub(super) fn forget(&mut self, file: &str) -> io::Result<()> {
        self.page.files.remove(file);
        self.save()
    }

    pub(super) fn forget_all(&mut self) -> io::Result<()> {
        self.keep(|_| false)
    }

    /// Some sink never gets a record in front of `through`: what was said of files that may have lines there is no longer true.
    pub(super) fn give_up(&mut self, through: u64) -> io::Result<()> {
        self.given_up = self.given_up.max(through);
        let given_up = self.given_up;
        self.keep(|progress| progress.first_seq >= given_up)
    }

    /// Whether some sink never got a line of the file.
    pub(super) fn has_gaps(&self, progress: &Progress) -> bool {
        self.given_up > progress.first_seq
    }

    /// What lay in memory alone when the process ended is gone: the spool begins anew at `next_seq`.
    pub(super) fn trust_before(&mut self, next_seq: u64) -> io::Result<()> {
        self.keep(|progress| progress.last_seq < next_seq)
    }

    fn keep(&mut self, holds: impl Fn(&Progress) -> bool) -> io::Result<()> {
        let known = self.page.files.len();
        self.page.files.retain(|_, progress| holds(progress));
        self.is_stale |= self.page.files.len() != known;
        self.catch_up()
    }

    /// Writes what could not be written when it was said.
    pub(super) fn catch_up(&mut self) -> io::Result<()> {
        if self.is_stale { self.save() } else { Ok(()) }
    }

    fn save(&mut self) -> io::Result<()> {
        self.is_stale = true;
        crate::replace_file(&self.path, &serde_json::to_vec(&self.page)?, Level::Synced)?;
        self.is_stale = false;
        Ok(())
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
    fn nothing_is_said_of_a_file_of_which_lines_were_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let [early, late] =
            [10, 20].map(|first_seq| Progress { offset: 7, first_seq, last_seq: first_seq + 9 });
        let mut ledger = Ledger::open(dir.path(), 1).unwrap();
        ledger.note("early", early).unwrap();
        ledger.note("late", late).unwrap();
        ledger.give_up(15).unwrap();
        ledger.note("early", Progress { offset: 9, ..early }).unwrap();
        let next = Ledger::open(dir.path(), 1).unwrap();
        assert_eq!((next.progress("early"), next.progress("late")), (None, Some(late)));
    }

    #[test]
    fn nothing_is_said_of_lines_that_the_spool_does_not_have() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = Ledger::open(dir.path(), 1).unwrap();
        for (file, last_seq) in [("stored", 9), ("lost", 10)] {
            ledger.note(file, Progress { offset: 7, first_seq: 1, last_seq }).unwrap();
        }
        ledger.trust_before(10).unwrap();
        let next = Ledger::open(dir.path(), 1).unwrap();
        assert_eq!((next.progress("stored").is_some(), next.progress("lost")), (true, None));
    }

    #[test]
    fn what_could_not_be_written_is_written_later() {
        let home = tempfile::tempdir().unwrap();
        let (dir, away) = (home.path().join("spool"), home.path().join("away"));
        fs::create_dir(&dir).unwrap();
        let mut ledger = Ledger::open(&dir, 1).unwrap();
        ledger.note("a", Progress { offset: 7, first_seq: 1, last_seq: 3 }).unwrap();
        fs::rename(&dir, &away).unwrap();
        assert!(ledger.give_up(2).is_err());
        fs::rename(&away, &dir).unwrap();
        ledger.catch_up().unwrap();
        assert_eq!(Ledger::open(&dir, 1).unwrap().progress("a"), None);
    }

    #[test]
    fn a_damaged_ledger_is_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(NAME), b"{\"epoch\":").unwrap();
        assert!(!Ledger::open(dir.path(), 1).unwrap().is_taken());
    }
}
