//! Which batches are on their way at the same time, and which of them may go on.
//!
//! Owns the rule that keeps the order: when one fails, those behind it fail as well, until none is left and the engine
//! begins again with the first. Left out: sending. Invariant: a batch whose call was dropped counts as failed.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use cim_core::{DeliveryError, DeliveryErrorKind};

use crate::wire::Wire;

/// The batches of one lane.
#[derive(Debug, Default)]
pub(crate) struct Flights(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    under_way: usize,
    /// One of them has failed: what comes after it must not overtake it.
    broken: bool,
    closed: bool,
}

/// A batch on its way.
#[derive(Debug)]
pub(crate) struct Flight<'f> {
    flights: &'f Flights,
    /// None was under way when it began.
    is_first: bool,
    wire: Option<Arc<Wire>>,
    landed: bool,
}

impl Flights {
    /// Begins a batch. To be called in the order of the batches.
    pub(crate) fn begin(&self) -> Flight<'_> {
        let mut state = self.lock();
        if state.under_way == 0 {
            state.broken = false;
        }
        state.under_way += 1;
        Flight { flights: self, is_first: state.under_way == 1, wire: None, landed: false }
    }

    /// Lets none go any more.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Flight<'_> {
    /// Whether the batch may be sent now.
    ///
    /// # Errors
    /// One before it has failed, or the sink was closed.
    pub(crate) fn may_go(&self) -> Result<(), DeliveryError> {
        let state = self.flights.lock();
        if state.closed {
            return Err(DeliveryError::new(DeliveryErrorKind::Closed, "the TCP sink is closed"));
        }
        if state.broken {
            let what = "an earlier batch has failed; this one must not overtake it";
            return Err(DeliveryError::new(DeliveryErrorKind::Unavailable, what));
        }
        Ok(())
    }

    /// Whether none was under way when it began: whoever sent one before knows what became of it.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// Where it is sent, which is broken off unless it lands.
    pub(crate) fn over(&mut self, wire: &Arc<Wire>) {
        self.wire = Some(Arc::clone(wire));
    }

    /// The whole batch is where it should be.
    pub(crate) fn landed(mut self) {
        self.landed = true;
    }
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        if let Some(wire) = self.wire.as_ref().filter(|_| !self.landed) {
            wire.break_off();
        }
        let mut state = self.flights.lock();
        state.under_way -= 1;
        state.broken |= !self.landed;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn those_behind_a_failed_one_fail_until_none_is_left() {
        let flights = Flights::default();
        let (first, second, third) = (flights.begin(), flights.begin(), flights.begin());
        assert!(first.may_go().is_ok());
        first.landed();
        assert!(second.may_go().is_ok());
        drop(second);
        assert!(third.may_go().is_err());
        let fourth = flights.begin();
        assert!(fourth.may_go().is_err(), "the engine has not begun again");
        drop((third, fourth));
        assert!(flights.begin().may_go().is_ok());
    }

    #[test]
    fn a_closed_sink_lets_none_go() {
        let flights = Flights::default();
        let flight = flights.begin();
        flights.close();
        assert_eq!(flight.may_go().unwrap_err().kind(), DeliveryErrorKind::Closed);
    }
}
