//! How far one lane is done with.
//!
//! Owns the low-water mark. The invariant: the position is never behind a record that is held, nor behind one that was not reached.

use std::collections::BTreeMap;

/// One lane.
#[derive(Debug, Default)]
pub(super) struct Lane {
    /// Everything before it is done with, apart from what is held.
    reached: Option<i64>,
    /// Records that are not done with, and by how many each is held.
    held: BTreeMap<i64, usize>,
    /// The position that was noted last.
    noted: Option<i64>,
}

impl Lane {
    /// A record is not done with.
    pub(super) fn hold(&mut self, record: i64) {
        *self.held.entry(record).or_default() += 1;
    }

    /// One of those who hold a record is done with it.
    pub(super) fn release(&mut self, record: i64) {
        if let Some(count) = self.held.get_mut(&record) {
            *count -= 1;
            if *count == 0 {
                self.held.remove(&record);
            }
        }
    }

    /// Everything before `next` is done with, apart from what is held.
    pub(super) fn reach(&mut self, next: i64) {
        self.reached = Some(next);
    }

    /// The first record that is not done with.
    pub(super) fn position(&self) -> Option<i64> {
        let lowest = self.held.first_key_value().map(|(record, _)| *record);
        self.reached.map(|reached| lowest.map_or(reached, |lowest| lowest.min(reached)))
    }

    /// The position, if it is another one than that noted last.
    pub(super) fn news(&self) -> Option<i64> {
        self.position().filter(|position| self.noted != Some(*position))
    }

    /// That position was noted.
    pub(super) fn noted(&mut self, position: i64) {
        self.noted = Some(position);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Debug, Clone)]
    enum Step {
        /// The next record is read; so many hold it.
        Read(usize),
        /// What was read is reached.
        Reach,
        /// One holder of one of the records that are held lets go.
        Release(usize),
        Note,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            3 => (0_usize..4).prop_map(Step::Read),
            2 => Just(Step::Reach),
            4 => any::<usize>().prop_map(Step::Release),
            1 => Just(Step::Note),
        ]
    }

    proptest! {
        #[test]
        fn the_position_is_the_lowest_record_not_done_with(steps in prop::collection::vec(step(), 1..80)) {
            let mut lane = Lane::default();
            let (mut next, mut reached) = (0_i64, None);
            let mut holders: Vec<i64> = Vec::new();
            for step in steps {
                match step {
                    Step::Read(count) => {
                        holders.extend(std::iter::repeat_n(next, count));
                        (0..count).for_each(|_| lane.hold(next));
                        next += 1;
                    }
                    Step::Reach => {
                        lane.reach(next);
                        reached = Some(next);
                    }
                    Step::Release(at) => if !holders.is_empty() {
                        lane.release(holders.swap_remove(at % holders.len()));
                    },
                    Step::Note => if let Some(position) = lane.news() {
                        lane.noted(position);
                        prop_assert_eq!(lane.news(), None);
                    },
                }
                let lowest = holders.iter().min().copied();
                prop_assert_eq!(lane.position(), reached.map(|reached: i64| lowest.map_or(reached, |low| low.min(reached))));
            }
        }
    }
}
