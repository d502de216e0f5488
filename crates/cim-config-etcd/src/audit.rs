//! The insurance: the keys of the store, compared with what the watch delivered.
//!
//! A watch can lose changes without an error: bugs of servers and middleboxes. So the keys are read now and then, and a
//! difference that does not go away makes the watch begin anew. Owns when and how it is compared. Left out: what follows.
//! Invariant: a difference counts when the watch has passed the revision of the reading, or had time to.

use std::pin::Pin;
use std::time::Duration;

use tokio::time::Instant;

use crate::failure::Failure;
use crate::ledger::Ledger;
use crate::listing::Listing;

/// A listing that is being read.
pub(crate) type Reading = Pin<Box<dyn Future<Output = Result<Listing, Failure>> + Send>>;

/// Where the insurance stands.
pub(crate) enum Audit {
    /// The next reading is due then.
    Due(Instant),
    /// The keys are being read. What was handed out before that went as far as this revision.
    Reading(Reading, u64),
    /// The watch lacks something, and has until then to deliver it.
    Waiting(Listing, Instant),
}

/// What came of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing is missing.
    Complete,
    /// It may still come.
    Open,
    /// This key was missed.
    Missed(Vec<u8>),
}

impl Audit {
    /// When something is to be done without a reading having ended.
    pub(crate) fn wake(&self) -> Option<Instant> {
        match self {
            Self::Due(at) | Self::Waiting(_, at) => Some(*at),
            Self::Reading(..) => None,
        }
    }

    /// Waits for the reading; for ever when there is none.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn read(&mut self) -> Result<Listing, Failure> {
        match self {
            Self::Reading(reading, _) => reading.await,
            Self::Due(_) | Self::Waiting(..) => std::future::pending().await,
        }
    }

    /// Takes in what was read; the watch has until then to deliver what it lacks. False: the store is behind what it had told
    /// before it was asked, so it was set back.
    pub(crate) fn take_in(&mut self, listing: Listing, until: Instant) -> bool {
        let follows = !matches!(self, Self::Reading(_, told) if listing.revision < *told);
        *self = Self::Waiting(listing, until);
        follows
    }

    /// The watch delivered something: what it lacks may be on its way.
    pub(crate) fn delivered(&mut self, now: Instant, patience: Duration) {
        if let Self::Waiting(_, until) = self {
            *until = now + patience;
        }
    }

    /// Compares, where there is something to be compared. `idle`: nothing that the watch delivered waits to be looked at.
    pub(crate) fn verdict(&self, ledger: &Ledger, now: Instant, idle: bool) -> Option<Verdict> {
        let Self::Waiting(listing, until) = self else { return None };
        let Some(key) = ledger.lacks(listing) else { return Some(Verdict::Complete) };
        let had_its_time = ledger.revision() > listing.revision || (idle && now >= *until);
        Some(if had_its_time { Verdict::Missed(key.to_owned()) } else { Verdict::Open })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Change;
    use cim_core::{ConfigEntry, ConfigUpdate, Revision};

    const PATIENCE: Duration = Duration::from_secs(5);

    fn entry(key: &str, revision: u64) -> ConfigEntry {
        ConfigEntry { key: key.into(), value: Vec::new().into(), revision: Revision(revision), lease: None }
    }

    #[test]
    fn a_difference_counts_once_the_watch_had_its_time() {
        let now = Instant::now();
        let mut ledger = Ledger::full(&Listing { revision: 10, cluster: 1, entries: Vec::new() });
        let listing = Listing { revision: 12, cluster: 1, entries: vec![entry("a", 11)] };
        let mut audit = Audit::Waiting(listing, now + PATIENCE);
        let missed = Some(Verdict::Missed(b"a".to_vec()));
        assert_eq!(audit.verdict(&ledger, now, true), Some(Verdict::Open));
        assert_eq!(audit.verdict(&ledger, now + PATIENCE, true), missed);
        assert_eq!(audit.verdict(&ledger, now + PATIENCE, false), Some(Verdict::Open));
        audit.delivered(now + PATIENCE, PATIENCE);
        assert_eq!(audit.verdict(&ledger, now + PATIENCE, true), Some(Verdict::Open));
        ledger.judge(&Change { update: ConfigUpdate::Put(entry("b", 13)), previous: None });
        assert_eq!(audit.verdict(&ledger, now, true), missed, "the watch has passed it");
        let due = Audit::Due(now);
        assert_eq!((due.verdict(&ledger, now, true), due.wake()), (None, Some(now)));
    }

    #[test]
    fn nothing_counts_when_everything_was_delivered() {
        let now = Instant::now();
        let listing = || Listing { revision: 12, cluster: 1, entries: vec![entry("a", 11)] };
        let audit = Audit::Waiting(listing(), now);
        assert_eq!(audit.verdict(&Ledger::full(&listing()), now, true), Some(Verdict::Complete));
    }

    #[test]
    fn a_reading_behind_what_was_told_before_it_shows_that_the_store_was_set_back() {
        let now = Instant::now();
        for (told, follows) in [(11, true), (12, true), (13, false)] {
            let mut audit = Audit::Reading(Box::pin(std::future::pending()), told);
            let listing = Listing { revision: 12, cluster: 1, entries: Vec::new() };
            assert_eq!(audit.take_in(listing, now), follows, "{told}");
            assert_eq!(audit.wake(), Some(now));
        }
    }
}
