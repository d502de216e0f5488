//! How long things may take, and what time it is.

use std::time::Duration;

use crate::Pauses;

/// A moment, on both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Time since the engine started; never goes back.
    pub mono: Duration,
    /// Milliseconds since the Unix epoch, for people.
    pub wall_ms: u64,
}

impl Now {
    /// What the wall clock will show at that moment.
    #[must_use]
    pub fn wall(self, at: Duration) -> u64 {
        let ahead = at.saturating_sub(self.mono);
        self.wall_ms.saturating_add(u64::try_from(ahead.as_millis()).unwrap_or(u64::MAX))
    }
}

/// How long things may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// For a change without a lease: how long the application has in all.
    pub patience: Duration,
    /// How long a result on CONFIG is waited for after a call that was answered with success.
    pub result_within: Duration,
    /// Pause before the second call; doubles with every further one.
    pub first_pause: Duration,
    /// Longest pause between calls.
    pub longest_pause: Duration,
    /// How long it takes to see whether the application is well with a change; `None`: nobody looks.
    pub confirm: Option<Duration>,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            patience: Duration::from_secs(180),
            result_within: Duration::from_secs(20),
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(10),
            confirm: None,
        }
    }
}

/// Most of a lease that is kept for storing the result.
const MARGIN: Duration = Duration::from_secs(5);
/// Stores tell the rest of a lease in whole seconds.
const GRAIN: Duration = Duration::from_secs(1);

impl Rules {
    /// The part of a lease in which the application may work: the rest is for the commit, which has to arrive in time.
    pub(crate) fn usable(&self, time_left: Option<Duration>) -> Duration {
        let whole = time_left.unwrap_or(self.patience);
        whole - (whole / 10).min(MARGIN)
    }

    /// Whether so little is left of a lease that the application gets no more of it; `kept`: what is kept for the commit.
    pub(crate) fn is_last(time_left: Duration, kept: Option<Duration>) -> bool {
        time_left <= kept.unwrap_or(MARGIN) + GRAIN
    }

    /// How long a result may be on its way to the store.
    pub(crate) fn commit_within(time_left: Duration) -> Duration {
        time_left - (time_left / 50).min(Duration::from_millis(500))
    }

    /// The pause after that many calls.
    pub(crate) fn pause(&self, attempts: u32) -> Duration {
        Pauses::after(self.first_pause, self.longest_pause, attempts)
    }
}
