//! The requests of one HTTP/2 connection, each a future beside that of the connection.
//!
//! hyper wants to hand them to somebody; here they stay inside the connection, so that nothing is spawned and dropping the
//! connection drops its requests. The invariant: a stream whose answer is not taken within its time is reset.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;
use tokio::time::timeout;

type Request = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes requests that begin. Only ever called while the connection is polled.
#[derive(Clone)]
pub(crate) struct Streams {
    begun: Arc<Mutex<Vec<Request>>>,
    limit: Duration,
}

impl Streams {
    /// Each request may take that long, from its head to the last byte of its answer.
    pub(crate) fn new(limit: Duration) -> Self {
        Self { begun: Arc::default(), limit }
    }

    /// The connection and its requests as one future.
    pub(crate) fn beside<C>(self, connection: C) -> Beside<C> {
        Beside { connection: Box::pin(connection), streams: self, open: FuturesUnordered::new() }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, request: F) {
        let request = timeout(self.limit, request);
        let request = Box::pin(async move {
            let _ = request.await;
        });
        self.begun.lock().unwrap_or_else(PoisonError::into_inner).push(request);
    }
}

/// A connection with its requests.
pub(crate) struct Beside<C> {
    connection: Pin<Box<C>>,
    streams: Streams,
    open: FuturesUnordered<Request>,
}

impl<C> Beside<C> {
    /// The connection itself.
    pub(crate) fn connection(&mut self) -> Pin<&mut C> {
        self.connection.as_mut()
    }
}

impl<C: Future> Future for Beside<C> {
    type Output = C::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<C::Output> {
        let this = &mut *self;
        let ended = this.connection.as_mut().poll(cx);
        let begun = std::mem::take(&mut *this.streams.begun.lock().unwrap_or_else(PoisonError::into_inner));
        this.open.extend(begun);
        // What a request sends wakes the connection, which is this same task.
        while let Poll::Ready(Some(())) = this.open.poll_next_unpin(cx) {}
        ended
    }
}
