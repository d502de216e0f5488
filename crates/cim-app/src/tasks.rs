//! What HTTP/2 wants to run beside its connection, run by the connection's own future.
//!
//! Owns the list. Left out: a runtime: nothing is spawned, and what was given ends with the list.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use hyper::rt::Executor;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Takes tasks, for [`Tasks`] to run.
#[derive(Clone, Default)]
pub(crate) struct Inbox(Arc<Mutex<Vec<Task>>>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Inbox {
    fn execute(&self, task: F) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Box::pin(task));
    }
}

/// Runs what came into an inbox.
#[derive(Default)]
pub(crate) struct Tasks {
    inbox: Inbox,
    running: FuturesUnordered<Task>,
}

impl Tasks {
    pub(crate) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// Runs everything until it waits.
    pub(crate) fn poll(&mut self, context: &mut Context<'_>) {
        loop {
            let new = std::mem::take(&mut *self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner));
            let is_quiet = new.is_empty();
            self.running.extend(new);
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(context) {}
            if is_quiet {
                return;
            }
        }
    }
}
