//! The rotated files: their names, and which of them go (wire contract §8.3).
//!
//! Owns the name `<stem>-<stamp><ending>_bkp` and the choice by count and age. Left out: when to rotate.
//! Invariant: nothing is deleted but files whose names have exactly this form and begin with the given prefix, so
//! that other pods' files in a shared directory are safe.

use std::collections::BTreeMap;

use rustix::io::Errno;

use crate::folder::Folder;
use crate::stamp;

/// What follows the ending of a rotated file.
const SUFFIX: &str = "_bkp";

/// How many rotated files stay, and for how long.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Retention {
    /// Most rotated files per container; 0: no limit.
    pub max_files: usize,
    /// Longest age in milliseconds; 0: no limit.
    pub max_age_ms: u64,
}

/// Stem and ending of a file name: `a.log` is `a` and `.log`.
pub(crate) fn split(name: &str) -> (&str, &str) {
    name.rfind('.').and_then(|dot| name.split_at_checked(dot)).unwrap_or((name, ""))
}

/// The name that the file of that name gets when it is rotated at that time.
pub(crate) fn backup_name(name: &str, ms: u64) -> String {
    let (stem, ending) = split(name);
    format!("{stem}-{}{ending}{SUFFIX}", stamp::format(ms))
}

/// Stem and time of a rotated file; `None` when the name is not one.
fn parse<'a>(name: &'a str, ending: &str) -> Option<(&'a str, u64)> {
    let rest = name.strip_suffix(SUFFIX)?.strip_suffix(ending)?;
    let (stem, time) = rest.split_at_checked(rest.len().checked_sub(stamp::LENGTH)?)?;
    Some((stem.strip_suffix('-')?, stamp::parse(time)?))
}

/// Deletes what is too much or too old among the backups of one file.
pub(crate) fn prune_file(folder: &Folder, name: &str, keep: Retention, now_ms: u64) -> Result<(), Errno> {
    let (wanted, ending) = split(name);
    prune(folder, ending, keep, now_ms, |stem| stem == wanted)
}

/// Deletes what is too much or too old among the backups of all files that begin with `prefix` and end in `ending`.
pub(crate) fn prune_all(
    folder: &Folder,
    prefix: &str,
    ending: &str,
    keep: Retention,
    now_ms: u64,
) -> Result<(), Errno> {
    prune(folder, ending, keep, now_ms, |stem| stem.starts_with(prefix))
}

fn prune(
    folder: &Folder,
    ending: &str,
    keep: Retention,
    now_ms: u64,
    ours: impl Fn(&str) -> bool,
) -> Result<(), Errno> {
    let found = folder.names(|name| {
        let (stem, time) = parse(name, ending).filter(|(stem, _)| ours(stem))?;
        Some((stem.to_owned(), time, name.to_owned()))
    })?;
    let mut outcome = Ok(());
    for name in surplus(found, keep, now_ms) {
        match folder.remove(&name) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => outcome = Err(error),
        }
    }
    outcome
}

/// The names to delete.
fn surplus(found: Vec<(String, u64, String)>, keep: Retention, now_ms: u64) -> Vec<String> {
    let mut by_stem: BTreeMap<String, Vec<(u64, String)>> = BTreeMap::new();
    for (stem, time, name) in found {
        by_stem.entry(stem).or_default().push((time, name));
    }
    let oldest = now_ms.saturating_sub(keep.max_age_ms);
    let mut surplus = Vec::new();
    for backups in by_stem.values_mut() {
        backups.sort_unstable_by(|a, b| b.cmp(a));
        for (rank, (time, name)) in backups.drain(..).enumerate() {
            let too_many = keep.max_files > 0 && rank >= keep.max_files;
            let too_old = keep.max_age_ms > 0 && time < oldest;
            if too_many || too_old {
                surplus.push(name);
            }
        }
    }
    surplus
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_originals() {
        let name = backup_name("pod-1_ns1_app-cid.log", 1_614_556_800_123);
        assert_eq!(name, "pod-1_ns1_app-cid-2021-03-01T00-00-00.123.log_bkp");
        assert_eq!(parse(&name, ".log"), Some(("pod-1_ns1_app-cid", 1_614_556_800_123)));
    }

    #[test]
    fn other_names_are_left_alone() {
        for name in [
            "pod-1_ns1_app-cid.log",
            "pod-1_ns1_app-cid.log_bkp",
            "2021-03-01T00-00-00.123.log_bkp",
            "pod-1_ns1_app-cid-2021-03-01T00-00-00.123.log",
            "pod-1_ns1_app-cid-2021-03-01T00-00-00.123.jsonl_bkp",
            "pod-1_ns1_app-cid_2021-03-01T00-00-00.123.log_bkp",
            "pod-1_ns1_app-cid-2021-03-01T00-00-61.123.log_bkp",
        ] {
            assert_eq!(parse(name, ".log"), None, "{name}");
        }
    }

    #[test]
    fn newest_stay_and_old_ones_go() {
        let found = |times: &[u64]| -> Vec<_> {
            times.iter().map(|time| ("s".to_owned(), *time, time.to_string())).collect()
        };
        let names = |keep, times: &[u64]| surplus(found(times), keep, 1_000);
        let keep = |max_files, max_age_ms| Retention { max_files, max_age_ms };
        assert_eq!(names(keep(2, 0), &[1, 3, 2]), ["1"]);
        assert_eq!(names(keep(0, 0), &[1, 3, 2]), [""; 0]);
        assert_eq!(names(keep(0, 100), &[899, 900, 999]), ["899"]);
        assert_eq!(names(keep(1, 100), &[899, 900, 999]), ["900", "899"]);
        assert_eq!(names(keep(2, 5_000), &[0, 1, 2]), ["0"]);
    }
}
