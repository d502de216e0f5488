//! The deliveries of one route member that are under way at the same time.
//!
//! Owns their order. Left out: what is delivered, and what follows from a failure. Invariants: they begin in the order of their
//! launch and land in it; once one has failed, none that has not begun yet begins, so nothing overtakes what is to be repeated.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures_util::StreamExt;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesOrdered;

use super::outlet::Attempt;

/// What became of a launch; `None`: it has not begun, because of a failure before it.
type Flight<S> = Option<(S, Attempt)>;

/// The window; `S` is what an attempt is made with.
pub(super) struct Window<S> {
    flights: FuturesOrdered<BoxFuture<'static, Flight<S>>>,
    /// Landed, and not looked at yet.
    landed: Option<Flight<S>>,
    failed: Arc<AtomicBool>,
}

impl<S: Send + 'static> Window<S> {
    pub(super) fn new() -> Self {
        Self { flights: FuturesOrdered::new(), landed: None, failed: Arc::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.flights.len() + usize::from(self.landed.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.landed.is_none() && self.flights.is_empty()
    }

    /// Adds a delivery, which begins when the window is polled next.
    pub(super) fn launch(&mut self, work: impl Future<Output = (S, Attempt)> + Send + 'static) {
        let failed = Arc::clone(&self.failed);
        self.flights.push_back(Box::pin(async move {
            // The failure before may not have been looked at yet: both may be polled in one go.
            if failed.load(Ordering::Acquire) {
                return None;
            }
            let (span, attempt) = work.await;
            failed.fetch_or(!attempt.is_clean(), Ordering::AcqRel);
            Some((span, attempt))
        }));
    }

    /// The next one that has landed. `None`: the window is empty.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(super) async fn next(&mut self) -> Option<Flight<S>> {
        match self.landed.take() {
            Some(landed) => Some(landed),
            None => self.flights.next().await,
        }
    }

    /// Flies on until one has landed, which [`next`](Self::next) then gives, or the window is empty.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub(super) async fn fly(&mut self) {
        if self.landed.is_none() {
            self.landed = self.flights.next().await;
        }
    }

    /// Waits for all that are under way. Those that had not begun are not among them. After that others may begin.
    ///
    /// # Cancel safety
    /// When dropped, what has landed meanwhile is forgotten.
    pub(super) async fn drain(&mut self) -> Vec<(S, Attempt)> {
        let mut landed = Vec::new();
        while let Some(flight) = self.next().await {
            landed.extend(flight);
        }
        self.failed = Arc::default();
        landed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::{DeliveryError, DeliveryErrorKind};
    use tokio::sync::oneshot;

    fn attempt(clean: bool) -> Attempt {
        let error = || (DeliveryError::new(DeliveryErrorKind::Unavailable, "away"), vec![1]);
        Attempt { broken: Vec::new(), failed: (!clean).then(error) }
    }

    #[tokio::test]
    async fn nothing_begins_behind_a_failure_that_nobody_has_looked_at_yet() {
        let mut window = Window::new();
        let (fail, failing) = oneshot::channel::<()>();
        window.launch(async move {
            let _ = failing.await;
            (1, attempt(false))
        });
        assert!(futures_util::FutureExt::now_or_never(window.next()).is_none(), "it has begun");
        fail.send(()).unwrap();
        window.launch(async { (2, attempt(true)) });
        let first = window.next().await.unwrap().unwrap();
        assert_eq!((first.0, first.1.is_clean()), (1, false));
        assert!(window.drain().await.is_empty(), "the second one has not begun");
        window.launch(async { (2, attempt(true)) });
        assert_eq!(window.next().await.unwrap().unwrap().0, 2);
    }
}
