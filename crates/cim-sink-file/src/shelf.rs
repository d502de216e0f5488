//! The open files of one directory, at most 64 of them.
//!
//! Owns which files are open, their rotation and what happens when the directory or a file goes away underneath.
//! Left out: records and threads. Invariant: records of one name are appended in the order given, and a caller
//! learns how many of them are in the file.

use std::collections::HashMap;
use std::path::PathBuf;

use rustix::io::Errno;

use crate::backups::{self, Retention};
use crate::detour::{self, Detours};
use crate::fault::Fault;
use crate::folder::Folder;
use crate::open_file::{Cut, OpenFile, Run};

/// Most files open at the same time.
pub(crate) const MAX_OPEN: usize = 64;

/// How often files of all containers are checked for age, besides at every rotation.
const SWEEP_MS: u64 = 3_600_000;

/// How many names are tried when a backup of the same millisecond exists.
const NAME_TRIES: u64 = 1_000;

/// The limits of the files.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// The directory.
    pub dir: PathBuf,
    /// A file that a write would take beyond this is rotated first; bytes.
    pub max_size: u64,
    /// Most bytes in one write call; a larger record is still written whole.
    pub buffer: u64,
    /// Which rotated files stay.
    pub keep: Retention,
    /// Whether records are on the device before they count as written.
    pub synced: bool,
    /// Start and ending of the names of all files of this shelf, for the check of their age.
    pub names: (String, String),
    /// The wall clock, milliseconds since the Unix epoch.
    pub now_ms: fn() -> u64,
}

/// Records that did not reach the file.
#[derive(Debug)]
pub(crate) struct Stopped {
    /// How many records from the front are safe.
    pub written: usize,
    /// Why the rest is not.
    pub fault: Fault,
}

/// The open files.
#[derive(Debug)]
pub(crate) struct Shelf {
    rules: Rules,
    folder: Option<Folder>,
    open: HashMap<String, OpenFile>,
    turn: u64,
    swept_ms: Option<u64>,
    detours: Detours,
    trouble: Option<String>,
}

impl Shelf {
    /// A shelf with nothing open.
    pub(crate) fn new(rules: Rules) -> Self {
        Self {
            rules,
            folder: None,
            open: HashMap::new(),
            turn: 0,
            swept_ms: None,
            detours: Detours::default(),
            trouble: None,
        }
    }

    /// Begins a batch: makes sure that the directory is the one under the path, and now and then looks for files
    /// that are too old.
    pub(crate) fn begin(&mut self) -> Result<(), Fault> {
        self.turn += 1;
        self.trouble = None;
        if !self.folder.as_ref().is_some_and(Folder::is_current) {
            self.reopen_folder()?;
        }
        if let Some(folder) = &self.folder {
            self.detours.keep(|name| !matches!(folder.stat(name), Err(Errno::NOENT)));
        }
        let now = (self.rules.now_ms)();
        if self.swept_ms.is_none_or(|last| now.saturating_sub(last) >= SWEEP_MS) {
            self.swept_ms = Some(now);
            let (prefix, ending) = &self.rules.names;
            if let Some(folder) = &self.folder {
                let outcome = backups::prune_all(folder, prefix, ending, self.rules.keep, now);
                self.note("delete old files in", &self.rules.dir.display().to_string(), outcome);
            }
        }
        Ok(())
    }

    /// What works less than it should, though no record is held up by it.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref().or_else(|| self.detours.trouble())
    }

    /// Closes everything.
    pub(crate) fn close(&mut self) {
        self.open.clear();
        self.folder = None;
    }

    /// Appends the records to the file of that name, or to its detour while the place of the file is taken.
    pub(crate) fn append(&mut self, name: &str, run: Run<'_>) -> Result<(), Stopped> {
        match self.passable(name) {
            Ok(None) => self.append_to(name, run),
            Ok(Some(other)) => self.append_to(&other, run),
            Err(fault) => Err(Stopped { written: 0, fault }),
        }
    }

    /// Opens the file. Where that needs a person's help, opens its detour instead and answers with that name: what
    /// stands in the place of one file must not hold up the others, nor its own records.
    fn passable(&mut self, name: &str) -> Result<Option<String>, Fault> {
        let fault = match self.file(name) {
            Ok(_) => {
                self.detours.end(name);
                return Ok(None);
            }
            Err(fault) if fault.is_transient() => return Err(fault),
            Err(fault) => fault,
        };
        for nth in 1..=detour::TRIES {
            let other = detour::other_name(name, nth);
            if self.file(&other).is_ok() {
                if self.detours.of(name) != Some(&other) {
                    self.detours.begin(name, other.clone(), &fault);
                }
                return Ok(Some(other));
            }
        }
        Err(fault)
    }

    /// Appends the records, rotating the file as often as needed.
    fn append_to(&mut self, name: &str, run: Run<'_>) -> Result<(), Stopped> {
        // Records before `safe` are as durable as the rules ask; `floor` is the file's size at that point.
        let (mut safe, mut done) = (0, 0);
        let mut floor = None;
        let outcome = loop {
            let file = match self.file(name) {
                Ok(file) => file,
                Err(fault) => break Err(fault),
            };
            let size = file.size();
            floor.get_or_insert(size);
            let rest = run.skip(done);
            if rest.ends.is_empty() {
                break Ok(());
            }
            let count = match self.fitting(rest, size) {
                0 => {
                    if let Err(fault) = self.sync(name, floor) {
                        return Err(Stopped { written: safe, fault });
                    }
                    if let Err(fault) = self.rotate(name) {
                        break Err(fault);
                    }
                    (safe, floor) = (done, None);
                    continue;
                }
                count => count,
            };
            match self.write(name, rest.take(count)) {
                Ok(()) => done += count,
                Err(cut) => {
                    done += cut.written;
                    break Err(Fault::system("write to", name, cut.error));
                }
            }
        };
        match self.sync(name, floor) {
            Ok(()) => outcome.map_err(|fault| Stopped { written: done, fault }),
            Err(fault) => Err(Stopped { written: safe, fault }),
        }
    }

    /// How many records go into the next write; 0 when the file has to be rotated first.
    fn fitting(&self, rest: Run<'_>, size: u64) -> usize {
        let room = self.rules.max_size.saturating_sub(size);
        let fit = rest.records_within(room);
        if fit == 0 && size > 0 {
            return 0;
        }
        // A record larger than a limit goes alone: it is neither refused nor cut.
        fit.min(rest.records_within(self.rules.buffer)).max(1)
    }

    fn write(&mut self, name: &str, run: Run<'_>) -> Result<(), Cut> {
        match self.open.get_mut(name) {
            Some(file) => file.append(run),
            None => Err(Cut { written: 0, error: Errno::BADF }),
        }
    }

    /// The open file of that name; opened, and once per batch checked to be the one under the name.
    fn file(&mut self, name: &str) -> Result<&mut OpenFile, Fault> {
        let turn = self.turn;
        let current = match self.open.get_mut(name) {
            Some(file) if file.used == turn => true,
            Some(file) => self
                .folder
                .as_ref()
                .and_then(|folder| folder.stat(name).ok())
                .is_some_and(|stat| file.is_still(&stat)),
            None => false,
        };
        if !current {
            self.open.remove(name);
            let file = self.open_file(name)?;
            self.open.insert(name.to_owned(), file);
        }
        match self.open.get_mut(name) {
            Some(file) => {
                file.used = turn;
                Ok(file)
            }
            None => Err(Fault::system("open", name, Errno::BADF)),
        }
    }

    fn open_file(&mut self, name: &str) -> Result<OpenFile, Fault> {
        while self.open.len() >= MAX_OPEN {
            self.close_idlest();
        }
        let mut opened = self.try_open(name);
        if matches!(opened, Err(Errno::NOENT)) {
            // The directory was deleted since the batch began.
            self.reopen_folder()?;
            opened = self.try_open(name);
        }
        if matches!(opened, Err(Errno::MFILE | Errno::NFILE)) {
            self.open.clear();
            opened = self.try_open(name);
        }
        let adopted = opened.and_then(OpenFile::adopt).map_err(|error| Fault::system("open", name, error))?;
        let file = adopted.ok_or_else(|| Fault::not_a_file(name))?;
        if self.rules.synced {
            self.sync_folder(name)?;
        }
        Ok(file)
    }

    fn try_open(&self, name: &str) -> Result<std::os::fd::OwnedFd, Errno> {
        self.folder.as_ref().ok_or(Errno::NOENT)?.open_file(name)
    }

    fn close_idlest(&mut self) {
        let idlest = self.open.iter().min_by_key(|(_, file)| file.used).map(|(name, _)| name.clone());
        if let Some(name) = idlest {
            self.open.remove(&name);
        }
    }

    fn reopen_folder(&mut self) -> Result<(), Fault> {
        self.open.clear();
        self.folder = None;
        let dir = &self.rules.dir;
        let folder = Folder::open(dir)
            .map_err(|error| Fault::system("open directory", &dir.display().to_string(), error))?;
        self.folder = Some(folder);
        Ok(())
    }

    /// Renames the file to a name that does not exist yet, opens a fresh one, deletes backups beyond the limits.
    fn rotate(&mut self, name: &str) -> Result<(), Fault> {
        let (stat, last_backup) = match self.open.remove(name) {
            Some(file) => (file.stat().ok(), file.last_backup),
            None => (None, 0),
        };
        let now = (self.rules.now_ms)();
        let backup = self.rename(name, now.max(last_backup.saturating_add(1)))?;
        let mut fresh = self.open_file(name)?;
        if let Some(stat) = &stat {
            fresh.inherit(stat);
        }
        fresh.last_backup = backup;
        fresh.used = self.turn;
        self.open.insert(name.to_owned(), fresh);
        if let Some(folder) = &self.folder {
            let outcome = backups::prune_file(folder, name, self.rules.keep, now);
            self.note("delete old backups of", name, outcome);
        }
        Ok(())
    }

    /// Renames; answers with the time in the name.
    fn rename(&self, name: &str, from_ms: u64) -> Result<u64, Fault> {
        let fault = |error| Fault::system("rotate", name, error);
        let folder = self.folder.as_ref().ok_or_else(|| fault(Errno::NOENT))?;
        for time in from_ms..from_ms.saturating_add(NAME_TRIES) {
            match folder.rename_new(name, &backups::backup_name(name, time)) {
                // Gone already: somebody else moved it, and a fresh file is what is wanted.
                Ok(()) | Err(Errno::NOENT) => return Ok(time),
                Err(Errno::EXIST) => {}
                Err(error) => return Err(fault(error)),
            }
        }
        Err(fault(Errno::EXIST))
    }

    /// Makes the file durable, if the rules ask for that. After a failure it is cut back to `floor` and closed: what a failed sync leaves
    /// behind cannot be known, and a second sync may claim success falsely.
    fn sync(&mut self, name: &str, floor: Option<u64>) -> Result<(), Fault> {
        let Some(file) = self.open.get_mut(name).filter(|_| self.rules.synced) else {
            return Ok(());
        };
        let Err(error) = file.sync() else {
            return Ok(());
        };
        if let Some(size) = floor {
            file.take_back(size);
        }
        self.open.remove(name);
        Err(Fault::system("sync", name, error))
    }

    fn sync_folder(&self, name: &str) -> Result<(), Fault> {
        self.folder
            .as_ref()
            .map_or(Ok(()), Folder::sync)
            .map_err(|error| Fault::system("sync the directory of", name, error))
    }

    fn note(&mut self, doing: &str, name: &str, outcome: Result<(), Errno>) {
        if let Err(error) = outcome {
            self.trouble = Some(Fault::system(doing, name, error).to_string());
        }
    }
}
