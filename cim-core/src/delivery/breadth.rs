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
    /// How many may be under way now, of at most `most`.
    pub(super) fn now(&self, now: Instant, most: usize) -> usize {
        let is_behind = self.behind_since.is_some_and(|since| now.duration_since(since) >= PATIENCE);
        if is_behind { most.max(1) } else { most.clamp(1, KEEPING_UP) }
    }

    /// Notes whether a whole batch waits beside those under way. Returns when there may be more of these if that stays so;
    /// `None`: there will not.
    pub(super) fn note(&mut self, now: Instant, behind: bool, most: usize) -> Option<Instant> {
        self.behind_since = behind.then(|| self.behind_since.unwrap_or(now));
        let due = self.behind_since.filter(|_| most > KEEPING_UP)? + PATIENCE;
        (due > now).then_some(due)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOST: usize = 5;

    #[test]
    fn a_sink_that_stays_behind_gets_all_it_can_take_until_it_has_caught_up() {
        let (mut breadth, start) = (Breadth::default(), Instant::now());
        let mut at = |ms, behind| {
            let now = start + Duration::from_millis(ms);
            let breadth_then = breadth.now(now, MOST);
            (breadth_then, breadth.note(now, behind, MOST).map(|due| (due - start).as_millis()))
        };
        assert_eq!([at(0, true), at(199, true)], [(2, Some(200)), (2, Some(200))]);
        assert_eq!([at(200, true), at(9_000, true), at(9_001, false)], [(5, None), (5, None), (5, None)]);
        assert_eq!([at(9_002, true), at(9_201, true)], [(2, Some(9_202)), (2, Some(9_202))]);
        assert_eq!(at(9_202, true), (5, None));
    }

    #[test]
    fn a_sink_gets_no_more_than_it_allows() {
        let now = Instant::now();
        for (most, least) in [(0, 1), (1, 1), (2, 2)] {
            let mut breadth = Breadth::default();
            assert_eq!(breadth.note(now, true, most), None, "never more than that");
            assert_eq!([breadth.now(now, most), breadth.now(now + PATIENCE, most)], [least, least]);
        }
    }
}
