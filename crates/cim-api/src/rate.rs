//! How many requests a server takes in a second.
//!
//! Left out: which requests count, and what a refused one is told (`gate`). The invariant: within any time `t` at most
//! `per_second * (t + BURST)` requests pass, however they are spread over connections.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How much of the allowance may be used at once.
const BURST: Duration = Duration::from_secs(2);

/// The allowance of one server.
#[derive(Debug)]
pub(crate) struct Rate {
    /// Time that one request costs.
    cost: Duration,
    /// When everything taken so far is paid for.
    paid: Mutex<Instant>,
}

impl Rate {
    /// An allowance that is full.
    pub(crate) fn new(per_second: u32) -> Self {
        Self { cost: Duration::from_secs(1) / per_second.max(1), paid: Mutex::new(Instant::now()) }
    }

    /// Takes one request out of the allowance.
    ///
    /// # Errors
    /// The time until there is one.
    pub(crate) fn take(&self) -> Result<(), Duration> {
        let now = Instant::now();
        let mut paid = self.paid.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (*paid).max(now) + self.cost;
        match next.saturating_duration_since(now).checked_sub(BURST) {
            Some(wait) if wait > Duration::ZERO => Err(wait),
            _ => {
                *paid = next;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_burst_passes_then_the_rate_holds() {
        let rate = Rate::new(10);
        let passed = |rate: &Rate| (0..1000).take_while(|_| rate.take().is_ok()).count();
        assert_eq!(passed(&rate), 20);
        assert_eq!(rate.take(), Err(Duration::from_millis(100)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(passed(&rate), 10);
        tokio::time::advance(Duration::from_secs(3600)).await;
        assert_eq!(passed(&rate), 20, "what was not used in time is gone");
    }
}
