//! What a watch has handed out.
//!
//! Owns the judgement of each change: new, known already, or a sign that something was missed. Pure. Left out: where
//! changes come from. Invariants: revisions are handed out in order and each once; after a change was handed out, no
//! earlier one is handed out any more.

use std::collections::HashMap;

use cim_core::{ConfigUpdate, key_order};

use crate::listing::Listing;

/// A change that the store told of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Change {
    /// What is handed out.
    pub(crate) update: ConfigUpdate,
    /// The revision of what it replaced or removed, where the store still knows.
    pub(crate) previous: Option<u64>,
}

impl Change {
    /// Its revision, and its key.
    pub(crate) fn place(&self) -> (u64, &[u8]) {
        match &self.update {
            ConfigUpdate::Put(entry) => (entry.revision.0, &entry.key),
            ConfigUpdate::Delete { key, revision } => (revision.0, key),
            ConfigUpdate::Reset { revision, .. } => (revision.0, &[]),
        }
    }

    /// What changes are sorted by.
    pub(crate) fn order(&self) -> impl Ord {
        let (revision, key) = self.place();
        (revision, key_order(key))
    }
}

/// What to do with a change.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Judgement {
    /// It is handed out.
    New,
    /// It was handed out before.
    Known,
    /// An earlier change of the key, or this one in its order, was missed.
    Hole,
}

/// What a watch has handed out.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// The cluster it came from.
    pub(crate) cluster: u64,
    /// The latest revision handed out.
    revision: u64,
    /// Nothing is known of changes up to here that are not in `keys`.
    floor: u64,
    /// Keys that exist, with the revision handed out.
    keys: HashMap<Vec<u8>, u64>,
    /// Keys removed since the last [`Ledger::forget_removed`].
    removed: HashMap<Vec<u8>, u64>,
}

impl Ledger {
    /// After everything was handed out at once.
    pub(crate) fn full(listing: &Listing) -> Self {
        let keys = listing.entries.iter().map(|entry| (entry.key.clone(), entry.revision.0)).collect();
        Self { cluster: listing.cluster, revision: listing.revision, floor: 0, keys, removed: HashMap::new() }
    }

    /// After everything up to `revision` was handed out by another process: believed as the store has it.
    pub(crate) fn believed(listing: &Listing, revision: u64) -> Self {
        let old = listing.entries.iter().filter(|entry| entry.revision.0 <= revision);
        let keys = old.map(|entry| (entry.key.clone(), entry.revision.0)).collect();
        Self { cluster: listing.cluster, revision, floor: revision, keys, removed: HashMap::new() }
    }

    /// The latest revision handed out.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Judges a change that is about to be handed out, and notes it if it is new.
    pub(crate) fn judge(&mut self, change: &Change) -> Judgement {
        let (revision, key) = change.place();
        let held = self.keys.get(key).copied();
        if held.is_some_and(|held| revision <= held)
            || self.removed.get(key).is_some_and(|at| revision <= *at)
        {
            return Judgement::Known;
        }
        let is_put = matches!(change.update, ConfigUpdate::Put(_));
        if revision < self.revision {
            // The removal of what was never handed out, or was removed before, is no loss.
            return if is_put || held.is_some() { Judgement::Hole } else { Judgement::Known };
        }
        if change.previous.is_some_and(|previous| previous > self.floor && held != Some(previous)) {
            return Judgement::Hole;
        }
        self.revision = revision;
        if is_put {
            self.keys.insert(key.to_owned(), revision);
        } else {
            self.keys.remove(key);
            self.removed.insert(key.to_owned(), revision);
        }
        Judgement::New
    }

    /// Whether the store as listed can be the future of what was handed out. What the listing has beyond the latest
    /// revision handed out is still to come.
    pub(crate) fn leads_to(&self, listing: &Listing) -> bool {
        self.cluster == listing.cluster
            && self.revision <= listing.revision
            && listing
                .entries
                .iter()
                .filter(|entry| entry.revision.0 <= self.revision)
                .all(|entry| self.keys.get(&entry.key) == Some(&entry.revision.0))
    }

    /// A key of which the store as listed knows more than was handed out.
    pub(crate) fn lacks<'a>(&'a self, listing: &'a Listing) -> Option<&'a [u8]> {
        let behind = listing.entries.iter().find(|entry| {
            let known =
                |keys: &HashMap<Vec<u8>, u64>| keys.get(&entry.key).is_some_and(|at| *at >= entry.revision.0);
            !known(&self.keys) && !known(&self.removed)
        });
        if let Some(entry) = behind {
            return Some(&entry.key);
        }
        let listed: HashMap<&[u8], u64> =
            listing.entries.iter().map(|entry| (entry.key.as_slice(), entry.revision.0)).collect();
        let gone =
            |(key, at): &(&Vec<u8>, &u64)| **at <= listing.revision && !listed.contains_key(key.as_slice());
        self.keys.iter().find(gone).map(|(key, _)| key.as_slice())
    }

    /// Forgets which keys were removed; to be called between comparisons.
    pub(crate) fn forget_removed(&mut self) {
        self.removed.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cim_core::{ConfigEntry, Revision};

    fn entry(key: &str, revision: u64) -> ConfigEntry {
        ConfigEntry { key: key.into(), value: Vec::new().into(), revision: Revision(revision), lease: None }
    }

    fn put(key: &str, revision: u64, previous: Option<u64>) -> Change {
        Change { update: ConfigUpdate::Put(entry(key, revision)), previous }
    }

    fn delete(key: &str, revision: u64) -> Change {
        Change {
            update: ConfigUpdate::Delete { key: key.into(), revision: Revision(revision) },
            previous: None,
        }
    }

    fn listing(revision: u64, entries: &[(&str, u64)]) -> Listing {
        let entries = entries.iter().map(|(key, revision)| entry(key, *revision)).collect();
        Listing { revision, cluster: 1, entries }
    }

    #[test]
    fn what_comes_twice_is_handed_out_once() {
        let mut ledger = Ledger::full(&listing(10, &[("a", 9)]));
        assert_eq!(ledger.judge(&put("a", 9, None)), Judgement::Known, "it was in the listing");
        assert_eq!(ledger.judge(&put("a", 11, Some(9))), Judgement::New);
        assert_eq!(ledger.judge(&put("a", 11, Some(9))), Judgement::Known);
        assert_eq!(ledger.judge(&put("b", 11, None)), Judgement::New, "two keys of one transaction");
        assert_eq!(ledger.judge(&delete("a", 12)), Judgement::New);
        assert_eq!(ledger.judge(&delete("a", 12)), Judgement::Known);
        assert_eq!(ledger.judge(&put("a", 11, Some(9))), Judgement::Known);
        assert_eq!(ledger.judge(&put("a", 13, None)), Judgement::New);
        assert_eq!(ledger.judge(&put("a", 11, None)), Judgement::Known, "the same key, earlier");
    }

    #[test]
    fn what_comes_late_or_follows_on_something_unknown_is_a_hole() {
        let mut ledger = Ledger::full(&listing(10, &[("a", 9)]));
        assert_eq!(ledger.judge(&put("b", 12, None)), Judgement::New);
        assert_eq!(ledger.judge(&put("c", 11, None)), Judgement::Hole);
        assert_eq!(ledger.judge(&delete("a", 11)), Judgement::Hole);
        assert_eq!(ledger.judge(&delete("d", 11)), Judgement::Known, "nothing is lost");
        assert_eq!(ledger.judge(&put("b", 14, Some(13))), Judgement::Hole);
        assert_eq!(ledger.judge(&put("b", 14, Some(12))), Judgement::New);
    }

    #[test]
    fn a_resumed_watch_believes_what_is_older_than_its_start() {
        let mut ledger = Ledger::believed(&listing(12, &[("a", 9), ("b", 12)]), 10);
        assert_eq!(ledger.judge(&put("b", 12, Some(8))), Judgement::New, "b was at 8 when the watch began");
        assert_eq!(ledger.judge(&put("a", 13, Some(11))), Judgement::Hole);
    }

    #[test]
    fn a_store_that_was_set_back_is_no_future() {
        let ledger = Ledger::full(&listing(10, &[("a", 9)]));
        assert!(ledger.leads_to(&listing(10, &[("a", 9)])));
        assert!(ledger.leads_to(&listing(12, &[("a", 11), ("b", 12)])));
        assert!(!ledger.leads_to(&listing(9, &[("a", 9)])), "the revision went back");
        assert!(!ledger.leads_to(&listing(12, &[("a", 8)])), "another history of the key");
        assert!(!ledger.leads_to(&Listing { cluster: 2, ..listing(10, &[("a", 9)]) }));
    }

    #[test]
    fn a_comparison_finds_what_was_not_handed_out() {
        let mut ledger = Ledger::full(&listing(10, &[("a", 9)]));
        assert_eq!(ledger.lacks(&listing(10, &[("a", 9)])), None);
        assert_eq!(ledger.lacks(&listing(11, &[("a", 9), ("b", 11)])), Some(b"b".as_slice()), "a put");
        assert_eq!(ledger.lacks(&listing(11, &[])), Some(b"a".as_slice()), "a removal");
        assert_eq!(ledger.lacks(&listing(8, &[])), None, "the listing is older than the put");
        ledger.judge(&put("b", 11, None));
        ledger.judge(&delete("b", 12));
        assert_eq!(
            ledger.lacks(&listing(11, &[("a", 9), ("b", 11)])),
            None,
            "the watch is ahead of the listing"
        );
        ledger.forget_removed();
        assert_eq!(ledger.lacks(&listing(12, &[("a", 9)])), None);
    }
}
