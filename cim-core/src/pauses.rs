//! Pauses between attempts, each twice as long as the one before.
//!
//! Owns how long the next one is. Left out: what is tried, and whether it is tried again. The invariant: none is shorter than the
//! first, nor longer than the longest.

use std::time::Duration;

/// A row of pauses.
#[derive(Debug, Clone)]
pub struct Pauses {
    first: Duration,
    longest: Duration,
    next: Duration,
}

impl Pauses {
    /// A row that begins with `first`.
    #[must_use]
    pub const fn new(first: Duration, longest: Duration) -> Self {
        Self { first, longest, next: first }
    }

    /// How long to pause now.
    pub fn take(&mut self) -> Duration {
        let pause = self.next;
        self.next = pause.saturating_mul(2).min(self.longest);
        pause
    }

    /// The pause after that many attempts, counted from one, for who keeps the count himself.
    #[must_use]
    pub fn after(first: Duration, longest: Duration, attempts: u32) -> Duration {
        first.saturating_mul(1 << attempts.saturating_sub(1).min(16)).min(longest)
    }

    /// It worked: the row begins anew.
    pub fn reset(&mut self) {
        self.next = self.first;
    }

    /// Sleeps that long.
    ///
    /// # Cancel safety
    /// When dropped, the pause counts as taken.
    pub async fn wait(&mut self) {
        tokio::time::sleep(self.take()).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_doubles_up_to_the_longest_and_begins_anew() {
        let mut pauses = Pauses::new(Duration::from_secs(1), Duration::from_secs(3));
        let mut taken = || pauses.take().as_secs();
        assert_eq!([taken(), taken(), taken(), taken()], [1, 2, 3, 3]);
        pauses.reset();
        assert_eq!(pauses.take().as_secs(), 1);
        let after =
            |attempts| Pauses::after(Duration::from_secs(1), Duration::from_secs(3), attempts).as_secs();
        assert_eq!([after(0), after(1), after(2), after(3), after(u32::MAX)], [1, 1, 2, 3, 3]);
    }
}
