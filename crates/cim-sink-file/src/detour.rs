//! Other names for files whose own name is taken by something that is not a file of ours.
//!
//! Owns the form of these names and which of them are in use. Left out: opening files. Invariant: no container's file
//! ever has a name of this form, and the ending is that of the original name, so that whoever collects the one
//! collects the other.

use std::collections::HashMap;

use cim_wire::MAX_LOG_FILE_NAME;

use crate::backups::split;
use crate::fault::Fault;

/// How many other names are tried.
pub(crate) const TRIES: u32 = 9;

/// The `nth` other name of a file: `<stem>%<nth><ending>`. A `%` and a single digit never come out of a message's
/// names (`cim_wire::log_file_name`).
pub(crate) fn other_name(name: &str, nth: u32) -> String {
    let (stem, ending) = split(name);
    let mark = format!("%{nth}{ending}");
    let mut other = stem.to_owned();
    other.truncate(MAX_LOG_FILE_NAME.saturating_sub(mark.len()));
    other + &mark
}

/// The names in use.
#[derive(Debug, Default)]
pub(crate) struct Detours {
    by_name: HashMap<String, Detour>,
}

#[derive(Debug)]
struct Detour {
    name: String,
    why: String,
}

impl Detours {
    /// The other name of a file, if it has one now.
    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.by_name.get(name).map(|detour| detour.name.as_str())
    }

    /// From now on, records for `name` go to `other`.
    pub(crate) fn begin(&mut self, name: &str, other: String, why: &Fault) {
        let why = format!("{why}; its records go to `{other}`");
        self.by_name.insert(name.to_owned(), Detour { name: other, why });
    }

    /// The name is free again.
    pub(crate) fn end(&mut self, name: &str) {
        self.by_name.remove(name);
    }

    /// Forgets the names for which `taken` says no.
    pub(crate) fn keep(&mut self, taken: impl Fn(&str) -> bool) {
        self.by_name.retain(|name, _| taken(name));
    }

    /// What a person should look at: one of them.
    pub(crate) fn trouble(&self) -> Option<&str> {
        self.by_name.values().map(|detour| detour.why.as_str()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_ending_and_their_length_limit() {
        assert_eq!(other_name("pod-1_ns1_app-c1d2.log", 1), "pod-1_ns1_app-c1d2%1.log");
        assert_eq!(other_name("pod-1_ns1_events.jsonl", 2), "pod-1_ns1_events%2.jsonl");
        let longest = cim_wire::log_file_name("pod", "ns", &[b'x'; 500], b"id");
        assert_eq!(longest.len(), MAX_LOG_FILE_NAME);
        let other = other_name(&longest, 9);
        assert!(other.ends_with("%9.log") && other.len() == MAX_LOG_FILE_NAME, "{other}");
    }
}
