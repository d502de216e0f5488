//! How many batches of a sink are under way at a time.
//!
//! One on its way and one behind it keep a sink at work that keeps up. All it can take it gets when it has been behind for a
//! while: only then do more bring more, and what is under way is in memory several times. A moment without an answer thus
//! fills no memory. Left out: what is behind (`feed`). Invariant: at least one, and never more than the sink allows.

use std::time::{Duration, Instant};

/// Batches under way while the sink keeps up.
const KEEPING_UP: usize = 2;
/// A sink that was behind for so long without a break gets all it can take.
const PATIENCE: Duration = Duration::from_millis(200);

/// The breadth of one route member.
#[derive(Debug, Default)]
pub(super) struct Breadth {
    behind_since: Option<Instant>,
}

impl Breadth {
    /// How many may be under way now, of at most `most`. `behind`: a whole batch waits.
    pub(super) fn at(&mut self, now: Instant, behind: bool, most: usize) -> usize {
        self.behind_since = behind.then(|| self.behind_since.unwrap_or(now));
        let patient = self.behind_since.is_none_or(|since| now.duration_since(since) < PATIENCE);
        if patient { most.clamp(1, KEEPING_UP) } else { most.max(1) }
    }

    /// When there will be more than now if the sink stays behind; `None`: there will not.
    pub(super) fn grows_at(&self, now: Instant, most: usize) -> Option<Instant> {
        let due = self.behind_since.filter(|_| most > KEEPING_UP)? + PATIENCE;
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sink_that_stays_behind_gets_all_it_can_take_until_it_has_caught_up() {
        let (mut breadth, start) = (Breadth::default(), Instant::now());
        let mut at = |ms, behind| breadth.at(start + Duration::from_millis(ms), behind, 5);
        assert_eq!([at(0, true), at(199, true), at(200, true), at(9_000, true)], [2, 2, 5, 5]);
        assert_eq!([at(9_001, false), at(9_002, true), at(9_201, true)], [2, 2, 2]);
        assert_eq!(at(9_202, true), 5);
    }

    #[test]
    fn who_waits_knows_when_there_will_be_more() {
        let (mut breadth, start) = (Breadth::default(), Instant::now());
        assert_eq!(breadth.grows_at(start, 5), None, "nothing waits");
        breadth.at(start, true, 5);
        assert_eq!(breadth.grows_at(start, 5), Some(start + PATIENCE));
        assert_eq!(breadth.grows_at(start, KEEPING_UP), None, "never more than that");
        assert_eq!(breadth.grows_at(start + PATIENCE, 5), None, "it is there");
    }

    #[test]
    fn a_sink_gets_no_more_than_it_allows() {
        let now = Instant::now();
        for most in [0, 1] {
            let mut breadth = Breadth::default();
            assert_eq!([breadth.at(now, true, most), breadth.at(now + PATIENCE, true, most)], [1, 1]);
        }
    }
}
