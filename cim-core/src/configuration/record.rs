//! Which changes of a document have a result.
//!
//! Pure. Left out: what becomes of the others (`lane`). The invariants: within one count of revisions nothing goes back; what an
//! earlier run settled binds no change of a new count. The config server counts from one again where it makes its map anew,
//! which shows only in this: the store got the lower revision later.

use crate::contract::ChangeStatus;

/// What is settled.
#[derive(Debug)]
pub(super) struct Record {
    /// Highest revision.
    settled: i32,
    /// The story of that one.
    last: Option<ChangeStatus>,
    /// An earlier run settled it.
    inherited: bool,
    /// Changes that the store got up to that revision are of an earlier count.
    count_after: Option<u64>,
    /// The next change with a result is the first of its count.
    is_new_count: bool,
}

impl Record {
    /// What an earlier run left.
    pub fn new(settled: i32, last: Option<ChangeStatus>) -> Self {
        let count_after = last.as_ref().and_then(|last| last.count_after);
        Self { settled, last, inherited: true, count_after, is_new_count: false }
    }

    /// What the store says of earlier runs, where that is later than what is known. Returns whether it is of a change that the
    /// last run did not remember: it was killed between storing a result and that.
    pub fn learn(&mut self, last: Option<ChangeStatus>) -> bool {
        let Some(last) = last.filter(|last| last.state.is_final()) else { return false };
        let mine = self.last.as_ref().and_then(|mine| mine.store_revision);
        let is_later = match (last.store_revision, mine) {
            (Some(theirs), Some(mine)) => theirs >= mine,
            _ => last.revision >= self.settled,
        };
        if !is_later {
            return false;
        }
        let told = |story: &ChangeStatus| (story.revision, story.store_revision, story.state);
        let is_forgotten = self.last.as_ref().map(told) != Some(told(&last));
        self.settled = last.revision;
        self.count_after = last.count_after;
        self.last = Some(last);
        is_forgotten
    }

    /// The store was set back, and counts its own changes from an earlier number: moments before that tell nothing any more.
    pub fn set_back(&mut self) {
        self.count_after = None;
        if let Some(last) = &mut self.last {
            (last.store_revision, last.count_after) = (None, None);
        }
    }

    /// Whether a change has no result yet, as far as is known.
    pub fn is_news(&mut self, change: &ChangeStatus) -> bool {
        if change.store_revision.zip(self.count_after).is_some_and(|(written, after)| written <= after) {
            return false;
        }
        if change.revision > self.settled {
            return true;
        }
        let last = self.last.as_ref().and_then(|last| last.store_revision).filter(|_| self.inherited);
        let is_new_count = change.store_revision.zip(last).is_some_and(|(written, last)| written > last);
        if is_new_count {
            tracing::info!(
                document = change.data_key,
                level = change.level,
                revision = change.revision,
                before = self.settled,
                "revisions count from the beginning again: the map of the config server was made anew"
            );
            self.settled = change.revision - 1;
            self.count_after = last;
            self.is_new_count = true;
        }
        is_new_count
    }

    /// Changes up to this revision have a result.
    pub fn skip_through(&mut self, revision: i32) {
        self.settled = self.settled.max(revision);
    }

    /// A change has its result. Returns whether it is the first of its count.
    pub fn settle(&mut self, story: &mut ChangeStatus) -> bool {
        story.count_after = self.count_after;
        self.skip_through(story.revision);
        self.inherited = false;
        self.last = Some(story.clone());
        std::mem::take(&mut self.is_new_count)
    }

    /// The story of the last change is another one.
    pub fn correct(&mut self, story: ChangeStatus) {
        self.last = Some(story);
    }

    /// Whether the next change with a result is the first of its count.
    pub fn is_new_count(&self) -> bool {
        self.is_new_count
    }

    /// Highest revision with a result; zero before the first.
    pub fn settled(&self) -> i32 {
        self.settled
    }

    /// Its story.
    pub fn last(&self) -> Option<&ChangeStatus> {
        self.last.as_ref()
    }
}
