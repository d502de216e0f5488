//! The first record of each partition under a new client goes alone.
//!
//! A broker refuses a request whose number does not follow the one before: that is what keeps the order behind a refused
//! request. Of a producer it has never seen it takes any number. So nothing else is sent to a partition before its first
//! record is acknowledged. Owns which partitions are open. Left out: waiting.

use std::collections::BTreeMap;

use rdkafka::error::RDKafkaErrorCode;

use crate::ledger::Fate;

/// Where a partition stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Opening {
    Closed,
    /// This record is on its way, alone.
    First(u64),
    Open,
}

/// What may be sent to a partition.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// Anything.
    Open,
    /// One record; [`Openings::sent`] must follow.
    Alone,
    /// Nothing before this record has been reported.
    Wait(u64),
    /// The first record was given back.
    Failed(RDKafkaErrorCode),
}

/// The partitions of a topic under one client.
#[derive(Debug, Default)]
pub(crate) struct Openings {
    life: (u64, u64),
    partitions: BTreeMap<i32, Opening>,
}

impl Openings {
    /// Begins anew when the client or the topic is another one.
    pub(crate) fn under(&mut self, life: (u64, u64)) {
        if self.life != life {
            self.life = life;
            self.partitions.clear();
        }
    }

    /// What record `seq` is to wait for before it is sent to the partition; `fate` is asked for its first record while that is alone.
    pub(crate) fn enter(
        &mut self,
        partition: i32,
        seq: u64,
        fate: impl FnOnce(u64) -> Option<Fate>,
    ) -> Entry {
        let opening = self.at(partition);
        match *opening {
            Opening::Open => Entry::Open,
            Opening::Closed => Entry::Alone,
            // It was given back when nobody waited for it, and is offered again: what the ledger holds of it now is not on its
            // way, but stands behind this very record or is it.
            Opening::First(first) if first >= seq => Entry::Alone,
            Opening::First(first) => match fate(first) {
                Some(Fate::Held) => Entry::Wait(first),
                Some(Fate::Failed(code)) => {
                    *opening = Opening::Closed;
                    Entry::Failed(code)
                }
                // Told and forgotten: had it failed, this client would be gone.
                Some(Fate::Delivered) | None => {
                    *opening = Opening::Open;
                    Entry::Open
                }
            },
        }
    }

    /// The first record of the partition was given to the client.
    pub(crate) fn sent(&mut self, partition: i32, seq: u64) {
        *self.at(partition) = Opening::First(seq);
    }

    fn at(&mut self, partition: i32) -> &mut Opening {
        self.partitions.entry(partition).or_insert(Opening::Closed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Ledger;

    #[test]
    fn a_partition_opens_with_the_acknowledgement_of_its_first_record() {
        let (mut openings, mut ledger) = (Openings::default(), Ledger::default());
        openings.under((1, 0));
        let (call, _) = ledger.enter(7, 1);
        assert_eq!(openings.enter(3, 2, |seq| ledger.fate(seq)), Entry::Alone);
        ledger.add(call, 1);
        openings.sent(3, 1);
        assert_eq!(openings.enter(3, 2, |seq| ledger.fate(seq)), Entry::Wait(1));
        assert_eq!(openings.enter(2, 2, |seq| ledger.fate(seq)), Entry::Alone);
        ledger.report(1, None);
        assert_eq!(openings.enter(3, 2, |seq| ledger.fate(seq)), Entry::Open);
        openings.under((2, 0));
        assert_eq!(openings.enter(3, 2, |seq| ledger.fate(seq)), Entry::Alone);
    }

    #[test]
    fn a_refused_first_record_leaves_the_partition_closed() {
        let (mut openings, mut ledger) = (Openings::default(), Ledger::default());
        let (call, _) = ledger.enter(7, 1);
        ledger.add(call, 1);
        openings.sent(0, 1);
        ledger.report(1, Some(RDKafkaErrorCode::InvalidRecord));
        assert_eq!(
            openings.enter(0, 2, |seq| ledger.fate(seq)),
            Entry::Failed(RDKafkaErrorCode::InvalidRecord)
        );
        assert_eq!(openings.enter(0, 2, |seq| ledger.fate(seq)), Entry::Alone);
    }

    #[test]
    fn a_first_record_that_is_offered_again_does_not_wait_for_itself() {
        let (mut openings, mut ledger) = (Openings::default(), Ledger::default());
        let (call, _) = ledger.enter(7, 1);
        ledger.add(call, 1);
        openings.sent(0, 1);
        ledger.leave(call, false);
        ledger.report(1, Some(RDKafkaErrorCode::InvalidRecord));
        let (again, _) = ledger.enter(7, 1);
        ledger.add(again, 1);
        assert_eq!(openings.enter(0, 1, |seq| ledger.fate(seq)), Entry::Alone);
        openings.sent(0, 1);
        assert_eq!(openings.enter(0, 2, |seq| ledger.fate(seq)), Entry::Wait(1));
    }
}
