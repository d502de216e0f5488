//! Calls that are dropped before they end.
//!
//! Owns how a future is stopped at its await points. Left out: what must hold after it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

/// A call that is not woken for so long is at an await point that depends on the other side.
const QUIET: Duration = Duration::from_millis(50);

/// Polls the future so many times, or until it is quiet, and drops it.
pub(crate) async fn dropped_after<F: Future>(polls: usize, future: F) {
    let limited = Limited { future: Box::pin(future), left: polls };
    // Quiet or finished: both are fine, the future is dropped here either way.
    let _ = tokio::time::timeout(QUIET, limited).await;
}

struct Limited<F: Future> {
    future: Pin<Box<F>>,
    left: usize,
}

impl<F: Future> Future for Limited<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.left == 0 {
            return Poll::Ready(());
        }
        self.left -= 1;
        let poll = self.future.as_mut().poll(context).map(drop);
        if self.left == 0 { Poll::Ready(()) } else { poll }
    }
}
