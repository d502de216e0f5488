//! One sink of a route: how far it is, and its books.

use crate::books::{Books, DropReason};

/// What became of a run of records.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settlement {
    /// First sequence of the run.
    pub first: u64,
    /// First sequence after the run.
    pub end: u64,
    /// Sequences put into the dead-letter store, in order.
    pub dead: Vec<u64>,
    /// Sequences refused for good that no dead-letter store can hold, in order.
    pub rejected: Vec<u64>,
    /// The sink never acknowledges.
    pub unacknowledged: bool,
    /// Sequences that the fallback took.
    pub fallback: Vec<u64>,
    /// The fallback never acknowledges.
    pub fallback_unacknowledged: bool,
}

#[derive(Debug)]
pub(crate) struct Member {
    pub name: String,
    /// First sequence not settled.
    pub next: u64,
    pub books: Books,
}

impl Member {
    /// Books a run. What was shed meanwhile is booked already: only the part from `next` on counts. What has an end
    /// behind the run, whose own end is then an open record, is still held.
    pub(crate) fn settle(&mut self, run: &Settlement) {
        let from = self.next.max(run.first);
        let records = run.end.saturating_sub(from);
        let open = |seqs: &[u64]| seqs.iter().filter(|seq| (from..run.end).contains(seq)).count() as u64;
        let (dead, rejected) = (open(&run.dead), open(&run.rejected));
        let delivered = records.saturating_sub(dead + rejected);
        self.books.delivered += delivered;
        self.books.dead_lettered += dead;
        self.books.drop_records(DropReason::Rejected, rejected);
        let to_fallback = open(&run.fallback);
        self.books.to_fallback += to_fallback;
        if run.unacknowledged {
            self.books.unacknowledged += delivered.saturating_sub(to_fallback);
        }
        if run.fallback_unacknowledged {
            self.books.unacknowledged += to_fallback;
        }
        self.next = self.next.max(run.end);
    }

    /// Books everything before `through` that is still open as given up.
    pub(crate) fn lose(&mut self, through: u64, reason: DropReason) {
        let records = through.saturating_sub(self.next);
        self.books.drop_records(reason, records);
        self.next = self.next.max(through);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn member(next: u64, accepted: u64) -> Member {
        Member { name: "m".into(), next, books: Books { accepted, ..Books::default() } }
    }

    #[test]
    fn records_shed_while_in_flight_are_booked_once() {
        let mut member = member(1, 10);
        member.lose(4, DropReason::ShedOldest);
        member.settle(&Settlement { first: 1, end: 11, dead: vec![2, 5], ..Settlement::default() });
        assert_eq!(member.books.dropped_total(), 3);
        assert_eq!(member.books.dead_lettered, 1);
        assert_eq!(member.books.delivered, 6);
        assert!(member.books.balanced());
    }

    #[test]
    fn what_has_an_end_behind_an_open_record_is_still_held() {
        let mut member = member(1, 10);
        let run =
            Settlement { first: 1, end: 4, dead: vec![2, 5], fallback: vec![3, 6], ..Settlement::default() };
        member.settle(&run);
        assert_eq!((member.books.dead_lettered, member.books.to_fallback, member.books.delivered), (1, 1, 2));
        assert_eq!(member.next, 4);
        assert!(Books { held: 7, ..member.books }.balanced());
    }

    #[test]
    fn each_part_of_a_run_is_acknowledged_as_its_own_sink_does() {
        let run = Settlement { first: 1, end: 11, fallback: vec![1, 2, 3], ..Settlement::default() };
        let unacknowledged = |of_sink, of_fallback| {
            let mut member = member(1, 10);
            member.settle(&Settlement {
                unacknowledged: of_sink,
                fallback_unacknowledged: of_fallback,
                ..run.clone()
            });
            (member.books.to_fallback, member.books.unacknowledged)
        };
        assert_eq!(unacknowledged(false, true), (3, 3));
        assert_eq!(unacknowledged(true, false), (3, 7));
        assert_eq!(unacknowledged(true, true), (3, 10));
    }

    #[test]
    fn a_run_settled_twice_counts_once() {
        let mut member = member(1, 5);
        let run = Settlement { first: 1, end: 6, ..Settlement::default() };
        member.settle(&run);
        member.settle(&run);
        assert_eq!(member.books.delivered, 5);
        assert!(member.books.balanced());
    }
}
