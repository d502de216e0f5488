//! What the client says of itself once a second.
//!
//! Owns the part of it that is looked at, and the count of its producer epochs. Left out: what follows. Invariant: an epoch that
//! began without an order of the sink is noticed, with an upper bound of what may be in a topic twice.
//!
//! A client that gets an answer of "out of order" because the request before it failed begins a new epoch by itself and sends
//! what is unanswered again. Was that first request stored after all, then its records are there twice.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::Deserialize;

/// One report of the client.
#[derive(Debug, Deserialize)]
pub(crate) struct Statistics<'j> {
    #[serde(borrow)]
    brokers: HashMap<Cow<'j, str>, Broker<'j>>,
    /// Records the client holds.
    #[serde(default)]
    msg_cnt: u64,
    /// Records sent since the client was made; one that is sent again counts again.
    #[serde(default)]
    txmsgs: u64,
    /// Only producers with sequence numbers have it.
    eos: Option<Numbering>,
}

#[derive(Debug, Deserialize)]
struct Broker<'j> {
    #[serde(borrow)]
    state: Cow<'j, str>,
}

#[derive(Debug, Deserialize)]
struct Numbering {
    /// Producer ids and epochs that were assigned since the client was made.
    epoch_cnt: u64,
}

impl<'j> Statistics<'j> {
    /// Reads a report; `None` when it is none.
    pub(crate) fn parse(json: &'j [u8]) -> Option<Self> {
        serde_json::from_slice(json).ok()
    }

    /// How many brokers are connected.
    pub(crate) fn connected(&self) -> usize {
        self.brokers.values().filter(|broker| matches!(&*broker.state, "UP" | "UPDATE")).count()
    }
}

/// The epochs of one client.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    assigned: u64,
    held: u64,
    sent: u64,
}

impl Epochs {
    /// Takes in a report: how many records at most were on their way when an epoch ended since the report before.
    pub(crate) fn doubtful(&mut self, report: &Statistics<'_>) -> u64 {
        let assigned = report.eos.as_ref().map_or(0, |numbering| numbering.epoch_cnt);
        // The first one is no change.
        let changed = assigned > self.assigned.max(1);
        let on_their_way = self.held + report.txmsgs.saturating_sub(self.sent);
        *self = Self { assigned, held: report.msg_cnt, sent: report.txmsgs };
        if changed { on_their_way } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use super::*;

    fn report(held: u64, sent: u64, epochs: u64) -> String {
        format!(
            r#"{{"brokers":{{"a:1/1":{{"state":"UP","rtt":{{}}}},"b:1/2":{{"state":"INIT"}}}},"msg_cnt":{held},"txmsgs":{sent},
            "eos":{{"epoch_cnt":{epochs}}}}}"#
        )
    }

    #[test]
    fn connected_brokers_are_counted_and_what_is_no_report_is_nothing() {
        assert_eq!(Statistics::parse(report(0, 0, 1).as_bytes()).unwrap().connected(), 1);
        let consumer = br#"{"brokers":{}}"#;
        assert_eq!(Epochs::default().doubtful(&Statistics::parse(consumer).unwrap()), 0);
        assert!(Statistics::parse(b"[]").is_none());
    }

    #[test]
    fn an_epoch_that_follows_another_makes_what_was_on_its_way_doubtful() {
        let mut epochs = Epochs::default();
        let mut doubtful = |held, sent, assigned| {
            epochs.doubtful(&Statistics::parse(report(held, sent, assigned).as_bytes()).unwrap())
        };
        assert_eq!(doubtful(5, 0, 0), 0, "not connected yet");
        assert_eq!(doubtful(5, 100, 1), 0, "the first one");
        assert_eq!(doubtful(7, 150, 1), 0);
        assert_eq!(doubtful(0, 210, 2), 7 + 60);
        assert_eq!(doubtful(0, 250, 2), 0, "told once");
    }
}
