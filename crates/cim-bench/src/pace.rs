//! Open-loop publishing: a fixed arrival schedule, whatever the server does.
//!
//! Messages that are due within the same millisecond go out in one write; each carries the time it was due, so waiting
//! is visible in the stamp. While a server is away the schedule goes on, and what fell due is sent when it is back. A
//! surge leaves the schedule: blocks without pause, until it is over.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::clock;
use crate::error::Result;
use crate::producer::Producer;

/// Granularity of the schedule.
const TICK: Duration = Duration::from_millis(1);

/// A schedule.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// Messages per second.
    pub rate: u64,
    /// Time between two PINGs.
    pub barrier_every: Duration,
}

impl Pace {
    /// Publishes until `stop` is set, then waits for a last barrier.
    ///
    /// # Errors
    /// The connection broke and could not be restored.
    pub fn run(&self, producer: &mut Producer, stop: &AtomicBool) -> Result<()> {
        self.run_with_surges(producer, stop, &AtomicBool::new(false))
    }

    /// As [`Pace::run`]; while `surge` is set, publishes as fast as the server reads, besides the schedule.
    ///
    /// # Errors
    /// As [`Pace::run`].
    pub fn run_with_surges(
        &self,
        producer: &mut Producer,
        stop: &AtomicBool,
        surge: &AtomicBool,
    ) -> Result<()> {
        let start = Instant::now();
        let mut sent = 0u64;
        let mut next_barrier = self.barrier_every;
        while !stop.load(Ordering::Relaxed) {
            let elapsed = start.elapsed();
            let due = self.due(elapsed);
            if due > sent {
                producer.send_due(due.saturating_sub(sent), clock::now_ns())?;
                sent = due;
            }
            if elapsed >= next_barrier {
                producer.ping()?;
                next_barrier = elapsed.saturating_add(self.barrier_every);
            }
            producer.poll()?;
            if surge.load(Ordering::Relaxed) {
                producer.send(producer.block())?;
            } else {
                std::thread::sleep(TICK);
            }
        }
        producer.barrier().map(|_| ())
    }

    fn due(&self, elapsed: Duration) -> u64 {
        let due = elapsed.as_nanos().saturating_mul(u128::from(self.rate)) / 1_000_000_000;
        u64::try_from(due).unwrap_or(u64::MAX)
    }
}
