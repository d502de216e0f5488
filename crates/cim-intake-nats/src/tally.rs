//! How many messages of plain subscriptions were lost for want of room, exactly.
//!
//! The client library tells of each loss by an event, of which a bounded number waits, so most of a burst would go untold. Owns the
//! count instead: what came over the connection, less what was taken, at a moment when every subscription is empty. Left out:
//! telling it. Invariant: what still waits to be taken never counts as lost.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use async_nats::{Message, Statistics, Subscriber};
use futures_util::{Stream, StreamExt};
use tokio::task::coop::has_budget_remaining;
use tokio::time::{Interval, interval};

/// Subscriptions of one connection.
const SUBSCRIPTIONS: usize = 3;
/// How often one to which nothing comes says that it is empty.
const EVERY: Duration = Duration::from_millis(500);

/// What is known of the messages of one connection that has plain subscriptions and nothing else.
#[derive(Debug)]
pub(crate) struct Tally {
    statistics: Arc<Statistics>,
    taken: AtomicU64,
    /// For each subscription how many messages had come over the connection when it was last empty.
    empty_at: [AtomicU64; SUBSCRIPTIONS],
    lost: AtomicU64,
}

impl Tally {
    pub fn new(statistics: Arc<Statistics>) -> Self {
        Self { statistics, taken: AtomicU64::new(0), empty_at: Default::default(), lost: AtomicU64::new(0) }
    }

    /// Messages that were lost so far; those of a burst are known once everything before them is taken.
    pub fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    fn took(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    /// That subscription was empty after so many messages had come.
    fn is_empty(&self, place: usize, came: u64) {
        if let Some(empty_at) = self.empty_at.get(place) {
            empty_at.store(came, Ordering::Relaxed);
        }
        // Up to there nothing waits any more: it was taken, or is gone. More may be taken already, so this is too little rather than
        // too much.
        let settled = self.empty_at.iter().map(|empty_at| empty_at.load(Ordering::Relaxed)).min();
        let lost = settled.unwrap_or_default().saturating_sub(self.taken.load(Ordering::Relaxed));
        self.lost.fetch_max(lost, Ordering::Relaxed);
    }
}

/// Messages of a subscription, each counted as it is taken.
pub(crate) struct Counted {
    messages: Subscriber,
    /// Its tally, and which of the subscriptions it is.
    count: Option<(Arc<Tally>, usize)>,
    look: Interval,
}

impl Counted {
    pub fn new(messages: Subscriber, count: Option<(Arc<Tally>, usize)>) -> Self {
        Self { messages, count, look: interval(EVERY) }
    }

    /// Asks for no more; the stream ends after what has come.
    ///
    /// # Cancel safety
    /// When dropped, more may come.
    pub async fn leave(&mut self) {
        // The client is gone otherwise, and with it the stream.
        let _ = self.messages.drain().await;
    }
}

impl Stream for Counted {
    type Item = Message;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Message>> {
        let Self { messages, count, look } = self.get_mut();
        let Some((tally, place)) = count else { return messages.poll_next_unpin(context) };
        while look.poll_tick(context).is_ready() {}
        // A task that has used up its turn is told that there is nothing, whatever waits.
        let is_told_the_truth = has_budget_remaining();
        let came = tally.statistics.in_messages.load(Ordering::Relaxed);
        let polled = messages.poll_next_unpin(context);
        match &polled {
            Poll::Ready(Some(_)) => tally.took(),
            Poll::Pending if is_told_the_truth => tally.is_empty(*place, came),
            Poll::Ready(None) | Poll::Pending => {}
        }
        polled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_and_was_not_taken_is_lost_once_every_subscription_is_empty() {
        let tally = Tally::new(Arc::default());
        tally.is_empty(0, 0);
        (0..50).for_each(|_| tally.took());
        tally.is_empty(0, 800);
        assert_eq!(tally.lost(), 0, "the others may hold the rest");
        tally.is_empty(1, 800);
        tally.is_empty(2, 790);
        assert_eq!(tally.lost(), 740, "ten may wait there");
        tally.is_empty(2, 800);
        assert_eq!(tally.lost(), 750);
        (0..5).for_each(|_| tally.took());
        tally.is_empty(0, 805);
        assert_eq!(tally.lost(), 750, "never less");
        tally.is_empty(1, 805);
        tally.is_empty(2, 805);
        assert_eq!(tally.lost(), 750);
    }
}
