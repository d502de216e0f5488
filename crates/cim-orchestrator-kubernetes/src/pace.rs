//! How fast the API server is called.
//!
//! Owns two limits: our own (a burst, then a steady rate), and the pause that the server asked for. Left out: the clock and
//! the waiting. Invariant: whatever callers do, the server sees at most [`BURST`] calls at once and [`STEP`] between calls
//! from then on.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Calls that may be made at once after a quiet time.
const BURST: u32 = 10;
/// Time between two calls after that.
const STEP: Duration = Duration::from_millis(200);
/// Longest pause that a server is believed.
const LONGEST: Duration = Duration::from_secs(300);

/// The two limits.
#[derive(Debug, Default)]
pub(crate) struct Pace(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    /// When a steady caller would make its next call.
    next: Option<Instant>,
    /// No call before.
    not_before: Option<Instant>,
}

impl Pace {
    /// Books a call: how long it must wait, or, without booking it, how long it would have to if that is more than
    /// `patience`.
    pub(crate) fn book(&self, now: Instant, patience: Duration) -> Result<Duration, Duration> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steady = state.next.unwrap_or(now).max(now);
        let burst = steady.checked_sub(STEP * (BURST - 1)).unwrap_or(now);
        let start = burst.max(state.not_before.unwrap_or(now)).max(now);
        let pause = start - now;
        if pause > patience {
            return Err(pause);
        }
        state.next = Some(steady + STEP);
        Ok(pause)
    }

    /// The server asked for a pause.
    pub(crate) fn hold(&self, now: Instant, pause: Duration) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let until = now + pause.min(LONGEST);
        state.not_before = Some(state.not_before.map_or(until, |earlier| earlier.max(until)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(3_600);

    #[test]
    fn a_burst_passes_and_then_one_call_in_each_step() {
        let (pace, now) = (Pace::default(), Instant::now());
        for _ in 0..BURST {
            assert_eq!(pace.book(now, LONG), Ok(Duration::ZERO));
        }
        assert_eq!(pace.book(now, LONG), Ok(STEP));
        assert_eq!(pace.book(now, LONG), Ok(STEP * 2));
        assert_eq!(pace.book(now + LONG, LONG), Ok(Duration::ZERO), "a quiet time gives the burst back");
    }

    #[test]
    fn a_call_that_would_wait_for_too_long_is_not_booked() {
        let (pace, now) = (Pace::default(), Instant::now());
        for _ in 0..BURST {
            assert!(pace.book(now, LONG).is_ok());
        }
        for _ in 0..100 {
            assert_eq!(pace.book(now, STEP / 2), Err(STEP));
        }
        assert_eq!(pace.book(now + STEP, Duration::ZERO), Ok(Duration::ZERO));
    }

    #[test]
    fn a_pause_that_the_server_asked_for_holds_every_call_and_has_a_limit() {
        let (pace, now) = (Pace::default(), Instant::now());
        pace.hold(now, Duration::from_secs(2));
        assert_eq!(pace.book(now, Duration::from_secs(1)), Err(Duration::from_secs(2)));
        assert_eq!(pace.book(now + Duration::from_secs(2), Duration::ZERO), Ok(Duration::ZERO));
        pace.hold(now, Duration::from_secs(1));
        assert_eq!(
            pace.book(now, LONG),
            Ok(Duration::from_secs(2)),
            "a shorter pause does not end a longer one"
        );
        pace.hold(now, Duration::MAX);
        assert_eq!(pace.book(now, LONG), Ok(LONGEST));
    }
}
