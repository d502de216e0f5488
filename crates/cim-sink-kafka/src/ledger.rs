//! What the client library holds of one class, and what became of it.
//!
//! Owns the recognition of a record that is offered again while the client still holds it, and the count of records
//! each delivery waits for. Left out: producing and waiting. Invariant: a sequence number is in the client at most
//! once, so an outage of any length makes no duplicate.

use std::collections::VecDeque;
use std::sync::Arc;

use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::Notify;

/// Where a record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// In the client, unacknowledged.
    Held,
    /// Acknowledged by the broker.
    Delivered,
    /// Given back by the client; it will not reach the broker any more.
    Failed(RDKafkaErrorCode),
}

/// Nobody waits for the record.
const NOBODY: u64 = 0;
/// Told as delivered while an earlier record was open: the engine may end before it has settled it.
const TOLD: u64 = u64::MAX;

#[derive(Debug)]
struct Entry {
    seq: u64,
    fate: Fate,
    /// The delivery that waits for it.
    call: u64,
}

/// One delivery that is under way.
#[derive(Debug)]
struct Call {
    id: u64,
    /// Lowest of its records.
    first: u64,
    /// Records it waits for.
    open: usize,
    settled: Arc<Notify>,
}

/// The records of one class in the client, by sequence number.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    epoch: u64,
    entries: VecDeque<Entry>,
    calls: Vec<Call>,
    calls_made: u64,
    held: usize,
    /// Reports of the client so far: standing still means that no broker answers.
    reports: u64,
    /// A record whose report somebody waits for.
    watched: Option<(u64, Arc<Notify>)>,
    /// Something of the deliveries under way has failed: what comes after it must not overtake it.
    broken: bool,
}

impl Ledger {
    /// Begins a delivery. The notification is sent once nothing it waits for is held any more.
    pub(crate) fn enter(&mut self, epoch: u64, first: u64) -> (u64, Arc<Notify>) {
        if self.calls.is_empty() {
            self.broken = false;
            // The engine has gone past these: nobody will ask for them again.
            self.entries.retain(|entry| entry.fate == Fate::Held || entry.seq >= first);
        }
        if self.epoch != epoch && self.held == 0 {
            self.entries.clear();
            self.epoch = epoch;
        }
        self.calls_made += 1;
        let settled = Arc::new(Notify::new());
        self.calls.push(Call { id: self.calls_made, first, open: 0, settled: Arc::clone(&settled) });
        (self.calls_made, settled)
    }

    /// Whether records of that epoch may be claimed or added: two epochs never mix in the client.
    pub(crate) fn takes(&self, epoch: u64) -> bool {
        self.epoch == epoch
    }

    /// Lets a delivery wait for a record. False: the client does not have it.
    pub(crate) fn claim(&mut self, call: u64, seq: u64) -> bool {
        let Ok(at) = self.find(seq) else { return false };
        let Some(entry) = self.entries.get_mut(at) else { return false };
        if let Fate::Failed(_) = entry.fate {
            self.entries.remove(at);
            return false;
        }
        let held = entry.fate == Fate::Held;
        let before = std::mem::replace(&mut entry.call, call);
        if held {
            self.waits(before, -1);
            self.waits(call, 1);
        }
        true
    }

    /// Notes a record that is about to be given to the client.
    pub(crate) fn add(&mut self, call: u64, seq: u64) {
        let entry = Entry { seq, fate: Fate::Held, call };
        match self.find(seq) {
            Ok(_) => return,
            Err(at) => self.entries.insert(at, entry),
        }
        self.held += 1;
        self.waits(call, 1);
    }

    /// The client did not take the record after all.
    pub(crate) fn retract(&mut self, seq: u64) {
        let Some(entry) = self.find(seq).ok().and_then(|at| self.entries.remove(at)) else { return };
        if entry.fate == Fate::Held {
            self.held -= 1;
            self.waits(entry.call, -1);
        }
    }

    /// The client reports what became of a record.
    pub(crate) fn report(&mut self, seq: u64, failure: Option<RDKafkaErrorCode>) {
        self.reports += 1;
        let Ok(at) = self.find(seq) else { return };
        let Some(entry) = self.entries.get_mut(at).filter(|entry| entry.fate == Fate::Held) else { return };
        let call = entry.call;
        entry.fate = failure.map_or(Fate::Delivered, Fate::Failed);
        self.held -= 1;
        if let Some((_, reported)) = self.watched.take_if(|(watched, _)| *watched == seq) {
            reported.notify_one();
        }
        if failure.is_some() {
            self.broken = true;
            if call == NOBODY {
                self.entries.remove(at);
            }
        }
        self.waits(call, -1);
    }

    /// The notification is sent when a record that is held is reported.
    pub(crate) fn watch(&mut self, seq: u64) -> Arc<Notify> {
        let reported = Arc::new(Notify::new());
        self.watched = Some((seq, Arc::clone(&reported)));
        reported
    }

    /// The client is gone: everything it held fails. Returns how many records that were.
    pub(crate) fn lose_all(&mut self, why: RDKafkaErrorCode) -> usize {
        let held = self.entries.iter().filter(|entry| entry.fate == Fate::Held);
        let held: Vec<_> = held.map(|entry| entry.seq).collect();
        for seq in &held {
            self.report(*seq, Some(why));
        }
        held.len()
    }

    /// Records that are acknowledged and that the engine may not have settled: whoever delivers them next repeats them.
    pub(crate) fn unsettled(&self) -> usize {
        let unsettled = |entry: &&Entry| entry.fate == Fate::Delivered && matches!(entry.call, NOBODY | TOLD);
        self.entries.iter().filter(unsettled).count()
    }

    /// Forgets what is acknowledged without the engine having been told. Returns how many records that were.
    pub(crate) fn forget_untold(&mut self) -> usize {
        let before = self.entries.len();
        self.entries.retain(|entry| (entry.fate, entry.call) != (Fate::Delivered, NOBODY));
        before - self.entries.len()
    }

    /// Where a record of a delivery stands; `None` when the client was never given it.
    pub(crate) fn fate(&self, seq: u64) -> Option<Fate> {
        self.find(seq).ok().and_then(|at| self.entries.get(at)).map(|entry| entry.fate)
    }

    /// Ends a delivery whose caller was told the fates; what the client still holds stays. `all` of it is delivered, or not.
    pub(crate) fn leave(&mut self, call: u64, all: bool) {
        self.calls.retain(|known| known.id != call);
        // The engine settles in order. With nothing open before it, what was told is settled as far as the next call.
        let in_turn = all && !self.broken && self.calls.iter().all(|known| known.id > call);
        let next = self.calls.iter().map(|known| known.first).min().unwrap_or(u64::MAX);
        let settled_before = if in_turn { next } else { 0 };
        self.entries.retain_mut(|entry| {
            if entry.call == call {
                entry.call = match entry.fate {
                    Fate::Held => NOBODY,
                    Fate::Delivered => TOLD,
                    Fate::Failed(_) => return false,
                };
            }
            entry.call != TOLD || entry.seq >= settled_before
        });
    }

    /// Ends a delivery whose caller went away: it will ask again, also for what has been delivered.
    pub(crate) fn desert(&mut self, call: u64) {
        self.calls.retain(|known| known.id != call);
        self.entries.retain_mut(|entry| {
            if entry.call != call {
                return true;
            }
            entry.call = NOBODY;
            !matches!(entry.fate, Fate::Failed(_))
        });
    }

    /// Records the delivery still waits for.
    pub(crate) fn open(&self, call: u64) -> usize {
        self.calls.iter().find(|known| known.id == call).map_or(0, |known| known.open)
    }

    /// Nothing after what failed may be given to the client before the failed delivery was repeated.
    pub(crate) fn break_off(&mut self) {
        self.broken = true;
    }

    pub(crate) fn broken(&self) -> bool {
        self.broken
    }

    /// Whether the client holds records of deliveries that ended, while a single one is under way.
    pub(crate) fn holds_for_nobody(&self) -> bool {
        matches!(self.calls.as_slice(), [only] if self.held > only.open)
    }

    /// Records in the client.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn reports(&self) -> u64 {
        self.reports
    }

    fn waits(&mut self, call: u64, change: isize) {
        let Some(call) = self.calls.iter_mut().find(|known| known.id == call) else { return };
        call.open = call.open.saturating_add_signed(change);
        if call.open == 0 && change < 0 {
            call.settled.notify_one();
        }
    }

    /// Place of a sequence number, or where it belongs. Numbers are dense nearly always: the guess is right then.
    fn find(&self, seq: u64) -> Result<usize, usize> {
        let first = self.entries.front().map_or(seq, |entry| entry.seq);
        if let Some(guess) = seq.checked_sub(first).and_then(|distance| usize::try_from(distance).ok()) {
            match self.entries.get(guess) {
                Some(entry) if entry.seq == seq => return Ok(guess),
                None if self.entries.back().is_none_or(|last| last.seq < seq) => {
                    return Err(self.entries.len());
                }
                _ => {}
            }
        }
        self.entries.binary_search_by_key(&seq, |entry| entry.seq)
    }
}

#[cfg(test)]
mod tests;
