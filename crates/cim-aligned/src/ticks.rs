//! When pages are read: at exact multiples of the interval, by the wall clock.
//!
//! The time is milliseconds since the Unix epoch, and it may jump. Left out: waiting. Invariants: every tick is a multiple of the
//! interval; one that cannot be read near its time is counted as missed, never stamped on what was read later; a clock that steps back
//! by less than an interval repeats none.

use std::time::Duration;

use crate::plan::Interval;

/// How far after a tick a page may be read and still be that tick's.
const LATE: u64 = 5_000;

/// What is to be done now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Nothing for that long; look again in between, because the clock may jump.
    Wait(Duration),
    /// Read the pages; they are those of that moment.
    Tick(u64),
}

/// The ticks of one interval.
#[derive(Debug, Clone)]
pub struct Ticks {
    interval: u64,
    next: u64,
    missed: u64,
}

impl Ticks {
    /// The first tick is the next multiple after `now`.
    #[must_use]
    pub fn new(interval: Interval, now: u64) -> Self {
        let mut ticks = Self { interval: interval.ms(), next: 0, missed: 0 };
        ticks.next = ticks.multiple(now).saturating_add(ticks.interval);
        ticks
    }

    /// What is to be done at that moment.
    pub fn look(&mut self, now: u64) -> Look {
        if now >= self.next {
            let latest = self.multiple(now);
            let passed = (latest - self.next) / self.interval;
            self.next = latest.saturating_add(self.interval);
            if now - latest <= LATE.min(self.interval / 2) {
                self.missed += passed;
                return Look::Tick(latest);
            }
            self.missed += passed + 1;
        } else if self.next - now > 2 * self.interval {
            // The clock was set back: what comes now is the next tick of the new time.
            self.next = self.multiple(now).saturating_add(self.interval);
        }
        Look::Wait(Duration::from_millis(self.next - now))
    }

    /// Ticks at which nothing was read, because the clock jumped or the process stood still.
    #[must_use]
    pub fn missed(&self) -> u64 {
        self.missed
    }

    fn multiple(&self, now: u64) -> u64 {
        now - now % self.interval
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ticks(seconds: u64, now: u64) -> Ticks {
        Ticks::new(Interval::new(Duration::from_secs(seconds)).unwrap(), now)
    }

    #[test]
    fn ticks_are_exact_multiples_whatever_the_interval() {
        // Seven seconds: the original rounded to five.
        let mut seven = ticks(7, 1_000_000_003);
        let mut found = Vec::new();
        for now in (1_000_000_003..1_000_030_000).step_by(100) {
            if let Look::Tick(at) = seven.look(now) {
                found.push(at);
                assert!(now - at < 100);
            }
        }
        assert_eq!(found, [1_000_006_000, 1_000_013_000, 1_000_020_000, 1_000_027_000]);
        assert_eq!(seven.missed(), 0);
    }

    #[test]
    fn the_first_tick_is_the_next_multiple_even_on_a_multiple() {
        assert_eq!(ticks(15, 30_000).look(30_000), Look::Wait(Duration::from_secs(15)));
        assert_eq!(ticks(15, 29_999).look(29_999), Look::Wait(Duration::from_millis(1)));
    }

    #[test]
    fn a_clock_that_jumps_forward_misses_ticks_and_counts_them() {
        let mut clock = ticks(15, 0);
        assert_eq!(clock.look(60_200), Look::Tick(60_000), "near a multiple: it is that tick");
        assert_eq!(clock.missed(), 3);
        assert_eq!(clock.look(127_000), Look::Wait(Duration::from_secs(8)), "far from one: it waits");
        assert_eq!(clock.missed(), 7);
        assert_eq!(clock.look(135_001), Look::Tick(135_000));
    }

    #[test]
    fn a_small_step_back_repeats_no_tick_and_a_large_one_goes_on_with_the_new_time() {
        let mut clock = ticks(15, 0);
        assert_eq!(clock.look(15_000), Look::Tick(15_000));
        assert_eq!(clock.look(14_000), Look::Wait(Duration::from_secs(16)));
        assert_eq!(clock.look(15_000), Look::Wait(Duration::from_secs(15)), "not a second time");
        assert_eq!(clock.look(30_000), Look::Tick(30_000));
        let mut clock = ticks(15, 86_400_000);
        assert_eq!(clock.look(1_000), Look::Wait(Duration::from_secs(14)));
        assert_eq!(clock.look(15_000), Look::Tick(15_000));
        assert_eq!(clock.missed(), 0);
    }

    proptest! {
        #[test]
        fn whatever_the_clock_does_ticks_are_multiples_near_their_time(
            seconds in 1u64..100_000, start in 0u64..u64::MAX / 2, steps in prop::collection::vec(-200_000i64..400_000, 1..60)
        ) {
            let seconds = seconds.min(86_400);
            let mut now = start;
            let mut clock = ticks(seconds, now);
            for step in steps {
                now = now.saturating_add_signed(step);
                match clock.look(now) {
                    Look::Tick(at) => {
                        prop_assert_eq!(at % (seconds * 1000), 0);
                        prop_assert!(at <= now && now - at <= LATE);
                    }
                    Look::Wait(wait) => prop_assert!(wait <= 2 * Duration::from_secs(seconds)),
                }
            }
        }
    }
}
