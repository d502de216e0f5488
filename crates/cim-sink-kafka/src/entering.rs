//! Records on their way into the client.
//!
//! They are in the ledger before the first of them is given to the client, because its report may come before the call
//! returns, and all at once, because the thread that takes the reports needs the same lock. Owns which of them were not
//! given yet. Left out: giving. Invariant: what was not given leaves the ledger again, also when the delivery is dropped.

use crate::shared::Lane;

/// Records that a delivery is giving to the client, in order.
pub(crate) struct Entering<'l> {
    lane: &'l Lane,
    /// Those not given yet.
    rest: std::vec::IntoIter<u64>,
}

impl<'l> Entering<'l> {
    /// Notes the records as held by the client, for that delivery.
    pub(crate) fn begin(lane: &'l Lane, call: u64, seqs: Vec<u64>) -> Self {
        let mut ledger = lane.ledger();
        for seq in &seqs {
            ledger.add(call, *seq);
        }
        drop(ledger);
        Self { lane, rest: seqs.into_iter() }
    }

    /// The client has the next record.
    pub(crate) fn given(&mut self) {
        let _ = self.rest.next();
    }

    /// The client does not take the next record.
    pub(crate) fn refused(&mut self) {
        let refused = self.rest.next();
        self.retract(refused);
    }

    fn retract(&self, seqs: impl IntoIterator<Item = u64>) {
        let mut ledger = self.lane.ledger();
        seqs.into_iter().for_each(|seq| ledger.retract(seq));
    }
}

impl Drop for Entering<'_> {
    fn drop(&mut self) {
        if self.rest.len() > 0 {
            self.retract(self.rest.clone());
        }
    }
}
