//! What to do about a failed delivery: one pure function, so that every backend is treated alike.

use std::time::Duration;

use crate::contract::{DeliveryError, DeliveryErrorKind};

/// The engine's next step for the records that are not delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Wait that long, then try the same records again.
    Retry(Duration),
    /// Wait that long, then try again; somebody has to change something first.
    Suspend(Duration),
    /// Try each half by itself, or the only record without any other on its way.
    Split,
    /// A single record that no attempt will deliver: it goes to the dead letters.
    DeadLetter,
}

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
const SUSPENDED_PAUSE: Duration = Duration::from_secs(15);

/// Decides. `alone`: the answer is to a single record, with none beside it that may be the reason; `attempt` counts the
/// failures in a row, from 1; `jitter` is a random number in 0..=1.
pub(crate) fn decide(error: &DeliveryError, alone: bool, attempt: u32, jitter: f64) -> Decision {
    match error.kind() {
        DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected if alone => Decision::DeadLetter,
        DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected => Decision::Split,
        DeliveryErrorKind::Unauthorized | DeliveryErrorKind::Misconfigured => Decision::Suspend(
            pause(attempt, jitter).max(error.pause().unwrap_or_default()).min(SUSPENDED_PAUSE),
        ),
        DeliveryErrorKind::Unavailable | DeliveryErrorKind::Throttled | DeliveryErrorKind::Closed => {
            Decision::Retry(error.pause().unwrap_or_else(|| pause(attempt, jitter)))
        }
    }
}

/// Exponential from 50 ms to 10 s, with the upper half of it left to chance.
fn pause(attempt: u32, jitter: f64) -> Duration {
    let doubled = FIRST_PAUSE.saturating_mul(1_u32 << attempt.saturating_sub(1).min(10));
    doubled.min(LONGEST_PAUSE).mul_f64(0.5 + 0.5 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use DeliveryErrorKind::{
        Closed, Misconfigured, Rejected, Throttled, TooLarge, Unauthorized, Unavailable,
    };

    fn decision(kind: DeliveryErrorKind, alone: bool) -> Decision {
        decide(&DeliveryError::new(kind, "test"), alone, 1, 1.0)
    }

    #[test]
    fn every_kind_has_its_reaction() {
        let first = Duration::from_millis(50);
        assert_eq!(decision(Unavailable, false), Decision::Retry(first));
        assert_eq!(decision(Throttled, false), Decision::Retry(first));
        assert_eq!(decision(Closed, false), Decision::Retry(first));
        assert_eq!(decision(TooLarge, false), Decision::Split);
        assert_eq!(decision(Rejected, false), Decision::Split);
        assert_eq!(decision(TooLarge, true), Decision::DeadLetter);
        assert_eq!(decision(Rejected, true), Decision::DeadLetter);
        assert_eq!(decision(Unauthorized, false), Decision::Suspend(first));
        assert_eq!(decision(Misconfigured, true), Decision::Suspend(first));
    }

    #[test]
    fn the_pause_the_other_side_asks_for_is_kept() {
        let asked = DeliveryError::new(Throttled, "slow down").retry_after(Duration::from_secs(30));
        assert_eq!(decide(&asked, true, 1, 0.0), Decision::Retry(Duration::from_secs(30)));
    }

    #[test]
    fn pauses_grow_to_ten_seconds_and_never_beyond() {
        let at = |attempt| pause(attempt, 1.0);
        assert!(at(1) < at(2) && at(2) < at(5));
        assert_eq!(at(40), LONGEST_PAUSE);
        assert!(pause(40, 0.0) >= LONGEST_PAUSE / 2);
    }
}
