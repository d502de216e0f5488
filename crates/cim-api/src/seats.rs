//! Who has a connection, and who gives way when there are too many.
//!
//! A connection is busy while a request of it is answered, and idle otherwise; when all seats are taken, the one that has
//! been idle longest leaves for a new one. Left out: sockets. The invariant: a connection that is being answered keeps its
//! seat, and as long as one is idle a new client is served at once, however many hold connections open.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

/// All seats of one listener.
#[derive(Debug, Default)]
pub(crate) struct Seats {
    taken: Vec<Weak<Seat>>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Counts what happens, to tell what was earlier.
    moments: AtomicU64,
    idle: Notify,
}

impl Shared {
    fn moment(&self) -> u64 {
        self.moments.fetch_add(1, Ordering::Relaxed)
    }
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Seat {
    requests: AtomicUsize,
    idle_since: AtomicU64,
    leave: Notify,
    shared: Arc<Shared>,
}

impl Seats {
    /// Takes a seat, idle at first. It is given back by being dropped.
    pub(crate) fn take(&mut self) -> Arc<Seat> {
        let seat = Arc::new(Seat {
            requests: AtomicUsize::new(0),
            idle_since: AtomicU64::new(self.shared.moment()),
            leave: Notify::new(),
            shared: Arc::clone(&self.shared),
        });
        self.taken.retain(|seat| seat.strong_count() > 0);
        self.taken.push(Arc::downgrade(&seat));
        seat
    }

    /// Whether somebody could give way.
    pub(crate) fn has_idle(&self) -> bool {
        self.longest_idle().is_some()
    }

    /// Asks the one who has been idle longest to leave. `false`: all are busy.
    pub(crate) fn make_room(&mut self) -> bool {
        let Some(seat) = self.longest_idle() else { return false };
        seat.leave.notify_one();
        self.taken.retain(|taken| !std::ptr::eq(taken.as_ptr(), Arc::as_ptr(&seat)));
        true
    }

    fn longest_idle(&self) -> Option<Arc<Seat>> {
        let seats = self.taken.iter().filter_map(Weak::upgrade);
        let idle = seats.filter(|seat| seat.requests.load(Ordering::Relaxed) == 0);
        idle.min_by_key(|seat| seat.idle_since.load(Ordering::Relaxed))
    }

    /// Waits until a request has been answered.
    ///
    /// # Cancel safety
    /// May be dropped; one answer may go unnoticed then, unless it came before.
    pub(crate) async fn answered(&self) {
        self.shared.idle.notified().await;
    }
}

impl Seat {
    /// A request begins; it ends when this is dropped.
    pub(crate) fn begin(self: &Arc<Self>) -> Busy {
        self.requests.fetch_add(1, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    /// Waits until somebody else needs the seat.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(crate) async fn wanted(&self) {
        self.leave.notified().await;
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(crate) struct Busy(Arc<Seat>);

impl Drop for Busy {
    fn drop(&mut self) {
        let seat = &self.0;
        seat.idle_since.store(seat.shared.moment(), Ordering::Relaxed);
        if seat.requests.fetch_sub(1, Ordering::Relaxed) == 1 {
            seat.shared.idle.notify_one();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[test]
    fn the_one_who_has_been_idle_longest_gives_way() {
        let mut seats = Seats::default();
        let (first, second) = (seats.take(), seats.take());
        drop(first.begin());
        assert!(seats.make_room());
        assert!(second.wanted().now_or_never().is_some() && first.wanted().now_or_never().is_none());
        assert!(seats.make_room());
        assert!(first.wanted().now_or_never().is_some());
        assert!(!seats.make_room(), "both were asked already");
    }

    #[test]
    fn who_is_being_answered_stays_and_an_answer_is_noticed() {
        let mut seats = Seats::default();
        let seat = seats.take();
        let (one, other) = (seat.begin(), seat.begin());
        assert!(!seats.has_idle() && !seats.make_room());
        drop(one);
        assert!(!seats.has_idle() && seats.answered().now_or_never().is_none());
        drop(other);
        assert!(seats.has_idle() && seats.answered().now_or_never().is_some());
        drop(seat);
        assert!(!seats.has_idle(), "it has left by itself");
    }
}
