//! One delivery: what of its batch the client does not hold yet is given to it, and then its reports are waited for.
//!
//! Owns the wait and its limits, and the answer to the engine. Left out: how a record looks (`outgoing`). Invariant: the
//! answer names exactly the records that are not acknowledged, and a delivery never takes anything back from the client:
//! asked again, it goes on waiting.

use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_core::{DeliveryError, DeliveryErrorKind};
use rdkafka::error::RDKafkaErrorCode;
use rdkafka::producer::Producer as _;
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::error_table;
use crate::ledger::Fate;
use crate::shared::{Lane, Live, Shared};
use crate::topic::Topic;

/// How often a wait looks at the connection.
const TICK: Duration = Duration::from_millis(250);

/// A delivery under way. Dropped before its end, it leaves what it gave to the client to the next one.
pub(crate) struct Delivery<'s> {
    shared: &'s Shared,
    pub lane: &'s Lane,
    pub call: u64,
    epoch: u64,
    settled: Arc<Notify>,
    /// The client held records that nobody waits for any more: some of its own may be in one request with them.
    among_others: bool,
    answered: bool,
}

/// How long the client has reported nothing of a lane.
pub(crate) struct Quiet {
    reports: u64,
    since: Instant,
}

impl<'s> Delivery<'s> {
    /// Begins a delivery of records of that epoch, the lowest of which has the number `first`.
    pub(crate) fn begin(shared: &'s Shared, lane: &'s Lane, epoch: u64, first: u64) -> Self {
        let (call, settled) = lane.ledger().enter(epoch, first);
        Self { shared, lane, call, epoch, settled, among_others: false, answered: false }
    }

    /// Claims the records the client holds already; returns the positions of the others.
    ///
    /// # Errors
    /// It holds some of another epoch, or others may not be given to it now.
    pub(crate) fn claim(&mut self, seqs: &[u64]) -> Result<Vec<usize>, DeliveryError> {
        let mut ledger = self.lane.ledger();
        if !ledger.takes(self.epoch) {
            // Their numbers say nothing about these.
            return Err(unavailable("records of another epoch are still on their way"));
        }
        let new: Vec<usize> =
            (0..).zip(seqs).filter(|(_, seq)| !ledger.claim(self.call, **seq)).map(|(at, _)| at).collect();
        self.among_others |= ledger.holds_for_nobody();
        drop(ledger);
        if new.is_empty() {
            return Ok(new);
        }
        self.check_order()?;
        Ok(new)
    }

    /// Whether records of it may be given to the client: nothing that stands before them has been given back.
    pub(crate) fn check_order(&self) -> Result<(), DeliveryError> {
        if self.lane.ledger().broken() {
            return Err(unavailable("a record before these was given back; they must not overtake it"));
        }
        Ok(())
    }

    /// Waits until no record of the delivery is held any more.
    ///
    /// # Errors
    /// There is no hope for the moment; the client goes on trying.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(crate) async fn settled(&self) -> Result<(), DeliveryError> {
        let mut quiet = self.quiet();
        while self.lane.ledger().open(self.call) > 0 {
            if timeout(TICK, self.settled.notified()).await.is_err() {
                self.hope(&mut quiet)?;
            }
        }
        Ok(())
    }

    /// Waits until a record is reported.
    ///
    /// # Errors
    /// There is no hope for the moment, or no broker answers.
    pub(crate) async fn reported(&self, seq: u64) -> Result<(), DeliveryError> {
        let mut since = Instant::now();
        loop {
            let reported = {
                let mut ledger = self.lane.ledger();
                if ledger.fate(seq) != Some(Fate::Held) {
                    return Ok(());
                }
                ledger.watch(seq)
            };
            if timeout(TICK, reported.notified()).await.is_err() {
                self.still_hope(&mut since)?;
            }
        }
    }

    /// Begins to count how long nothing is reported.
    pub(crate) fn quiet(&self) -> Quiet {
        Quiet { reports: self.lane.ledger().reports(), since: Instant::now() }
    }

    /// Whether waiting makes sense, given since when nothing was reported.
    pub(crate) fn hope(&self, quiet: &mut Quiet) -> Result<(), DeliveryError> {
        let now = self.quiet();
        if now.reports != quiet.reports {
            *quiet = now;
        }
        self.still_hope(&mut quiet.since)
    }

    /// Whether waiting makes sense for an answer that has not come since then. Without a connection there is nobody who could
    /// give it: `give_up_after` alone decides, and the wait begins anew.
    fn still_hope(&self, since: &mut Instant) -> Result<(), DeliveryError> {
        self.check()?;
        if !self.shared.link.is_up() {
            *since = Instant::now();
        } else if since.elapsed() >= self.shared.answer_time {
            return Err(self.silence());
        }
        Ok(())
    }

    fn silence(&self) -> DeliveryError {
        let seconds = self.shared.answer_time.as_secs();
        unavailable(&format!("no broker has acknowledged anything for {seconds} s"))
    }

    /// Whether waiting makes sense.
    pub(crate) fn check(&self) -> Result<(), DeliveryError> {
        if self.shared.is_closed() {
            return Err(closed());
        }
        self.shared.link.hopeless().map_or(Ok(()), Err)
    }

    /// The answer to the engine, given what stopped the delivery, if anything did.
    pub(crate) fn answer(
        mut self,
        seqs: &[u64],
        too_large: &[usize],
        stopped: Option<DeliveryError>,
    ) -> Result<(), DeliveryError> {
        self.answered = true;
        let mut ledger = self.lane.ledger();
        let mut undelivered = Vec::new();
        let mut cause: Option<RDKafkaErrorCode> = None;
        for (position, seq) in seqs.iter().enumerate() {
            match ledger.fate(*seq) {
                Some(Fate::Delivered) => continue,
                Some(Fate::Failed(code))
                    if cause.is_none_or(|cause| error_table::explains_more(code, cause)) =>
                {
                    cause = Some(code);
                }
                _ => {}
            }
            undelivered.push(position);
        }
        ledger.leave(self.call, undelivered.is_empty());
        if undelivered.is_empty() {
            return Ok(());
        }
        // Only records that are too large for the client itself: every other one is delivered.
        if undelivered == too_large {
            return Err(failure(RDKafkaErrorCode::MessageSizeTooLarge).only(undelivered));
        }
        ledger.break_off();
        let blamed = |code| match error_table::kind(code) {
            // A broker may refuse a request as a whole: which of its records it meant is seen when they go without the others.
            DeliveryErrorKind::TooLarge | DeliveryErrorKind::Rejected if self.among_others => {
                unavailable(&format!("not taken by the broker, perhaps for a record beside these: {code}"))
            }
            _ => failure(code),
        };
        let error = cause.map(blamed).or(stopped);
        Err(error.unwrap_or_else(|| unavailable("the client gave records back")).only(undelivered))
    }
}

impl Drop for Delivery<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.lane.ledger().desert(self.call);
        }
    }
}

/// The client takes no records for that topic, for a reason that a later one may not have.
pub(crate) fn not_taken(live: &Live, topic: &Topic, code: RDKafkaErrorCode) -> DeliveryError {
    let code = live.client.context().cause(code);
    topic.doubt();
    DeliveryError::new(error_table::kind(code), format!("the client takes no records: {code}"))
}

pub(crate) fn failure(code: RDKafkaErrorCode) -> DeliveryError {
    // The library's text is the broker's reason, in words.
    DeliveryError::new(error_table::kind(code), format!("not taken by the broker: {code}"))
}

pub(crate) fn unavailable(what: &str) -> DeliveryError {
    DeliveryError::new(DeliveryErrorKind::Unavailable, what)
}

pub(crate) fn closed() -> DeliveryError {
    DeliveryError::new(DeliveryErrorKind::Closed, "the kafka sink is closed")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use cim_core::Class;

    use super::*;
    use crate::settings::KafkaSettings;

    #[test]
    fn what_stands_behind_a_record_that_was_given_back_waits_for_it() {
        let settings = KafkaSettings::read(&serde_json::json!({ "brokers": ["a:1"] })).unwrap();
        let shared = Shared::new("broker".to_owned(), &settings);
        let lane = shared.lane(Class::Log);
        let mut before = Delivery::begin(&shared, lane, 7, 1);
        assert_eq!(before.claim(&[1, 2]).unwrap(), [0, 1]);
        lane.ledger().add(before.call, 2);
        drop(before);
        let mut again = Delivery::begin(&shared, lane, 7, 1);
        assert_eq!(again.claim(&[1, 2, 3]).unwrap(), [0, 2], "the client holds the second");
        again.check_order().unwrap();
        lane.ledger().lose_all(RDKafkaErrorCode::PurgeQueue);
        again.check_order().unwrap_err();
    }
}
