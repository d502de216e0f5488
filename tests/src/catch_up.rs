//! How long the program takes for a backlog once its broker is back.
//!
//! Owns the measurement, by the books of the program, and the law that it is judged by. Left out: how the backlog came about.
//! Invariant: a rate begins with the first delivery, so no wait for a connection makes a capacity small.

use std::time::{Duration, Instant};

use crate::Daemon;

/// What a catch-up may take before it is at full speed: 10 s until the library connects again (`reconnect.backoff.max.ms`), 2 s for
/// a broker that has just started.
const START: Duration = Duration::from_secs(12);
/// Longest wait for the end of a backlog, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(600);
/// A backlog of fewer records is none: live traffic has so many on their way.
const NOTHING: f64 = 20_000.0;
/// S7: what a catch-up may take beyond what capacity and live traffic leave for it.
const ALLOWANCE: f64 = 1.1;

/// How a backlog was worked off.
#[derive(Debug, Clone, Copy)]
pub struct CatchUp {
    /// From the return of the broker to the first delivery.
    waited: Duration,
    /// From the first delivery until nothing but live traffic was held.
    took: Duration,
    /// Records by which the backlog became smaller.
    backlog: f64,
    /// Records delivered meanwhile: these and those that came.
    delivered: f64,
}

impl CatchUp {
    /// Lets `back` bring the broker back, and waits until the backlog is gone.
    #[must_use]
    pub fn after(daemon: &Daemon, back: impl FnOnce()) -> Self {
        let held = || daemon.metric("cim_records_held");
        let delivered = || daemon.metric("cim_records_delivered_total");
        // Nothing is delivered until it is back.
        let before = delivered();
        back();
        let returned = Instant::now();
        cim_services::until("the first delivery", PATIENCE, || delivered() > before);
        let (began, at_first, backlog) = (Instant::now(), delivered(), held());
        cim_services::until("the backlog to be gone", PATIENCE, || held() < NOTHING);
        let (took, left) = (began.elapsed(), held());
        Self { waited: began - returned, took, backlog: backlog - left, delivered: delivered() - at_first }
    }

    /// Records delivered each second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.delivered / self.took.as_secs_f64()
    }

    /// Records that came each second.
    #[must_use]
    pub fn live(&self) -> f64 {
        (self.delivered - self.backlog) / self.took.as_secs_f64()
    }

    /// S7, with that capacity: records that the program delivers each second of a backlog while nothing comes.
    pub fn assert_within(&self, capacity: f64) {
        let Self { waited, took, backlog, .. } = *self;
        let (live, rate, whole) = (self.live(), self.rate(), waited + took);
        eprintln!(
            "{backlog:.0} records, and {live:.0} a second that came meanwhile, took {took:.1?}: {rate:.0} a second, of \
             {capacity:.0} that can be delivered; the first one came after {waited:.1?}"
        );
        assert!(capacity > live, "{live:.0} records came each second, {capacity:.0} can be delivered");
        let limit = START + Duration::from_secs_f64(ALLOWANCE * backlog / (capacity - live));
        assert!(whole <= limit, "the catch-up took {whole:.1?}, not {limit:.1?}");
    }
}
