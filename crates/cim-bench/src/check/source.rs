//! What arrived from one producer, compared with what it sent.

use cim_verify::Sequence;

use super::findings::SourceFindings;
use crate::ledger::Ledger;

/// First lost numbers to name.
const EXAMPLES: usize = 8;

pub(super) fn compare(arrived: &Sequence, ledger: &Ledger) -> SourceFindings {
    let mut lost = 0u64;
    let mut first_lost = Vec::new();
    for span in &ledger.accepted {
        for seq in span.numbers().filter(|seq| !arrived.holds(*seq)) {
            lost = lost.saturating_add(1);
            if first_lost.len() < EXAMPLES {
                first_lost.push(seq);
            }
        }
    }
    let own = arrived.repeats().iter().filter(|seq| ledger.is_resent(**seq)).count() as u64;
    SourceFindings {
        producer: ledger.producer,
        sent: ledger.sent,
        accepted: ledger.accepted_count(),
        received: arrived.received(),
        lost,
        first_lost,
        duplicates: arrived.duplicates().saturating_sub(own),
        resent_duplicates: own,
        inversions: arrived.inversions(),
        rewinds: arrived.rewinds(),
        deepest_rewind: arrived.deepest_rewind(),
        never_sent: u64::from(arrived.highest() > ledger.sent),
    }
}
