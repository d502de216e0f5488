//! A task that runs on the thread which wakes it, where that is quicker than waking another one.
//!
//! For a single record the way to another thread takes longer than the delivery: the system wakes that thread, which finds its
//! memory cold. Owns the choice of the thread. Left out: when it is worth it (`intake::side`), what the task does. Invariants:
//! one thread at a time polls the task, each wake-up is followed by a poll, and a thread that helps polls it once.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::future::BoxFuture;
use futures_util::task::AtomicWaker;
use tokio::runtime::Handle;

thread_local! {
    /// The tasks that this thread has woken and polls next itself; `None` while nobody collects them.
    static KEPT: RefCell<Option<Vec<Arc<Task>>>> = const { RefCell::new(None) };
    /// This thread has other work and polls such a task beside it.
    static HELPS: Cell<bool> = const { Cell::new(false) };
}

enum State {
    Running(BoxFuture<'static, ()>),
    Panicked(Box<dyn Any + Send>),
    Ended,
}

struct Task {
    state: Mutex<State>,
    /// That of the task in the runtime.
    outer: AtomicWaker,
    runtime: Handle,
    may_run_here: bool,
}

/// The task as the runtime polls it: whatever nobody else polls.
pub(crate) struct InlineTask(Arc<Task>);

impl InlineTask {
    /// A task that polls `future`, also on other threads than the runtime's if it `may_run_here`. Has to be made within a runtime.
    pub(crate) fn new(future: impl Future<Output = ()> + Send + 'static, may_run_here: bool) -> Self {
        Self(Arc::new(Task {
            state: Mutex::new(State::Running(Box::pin(future))),
            outer: AtomicWaker::new(),
            runtime: Handle::current(),
            may_run_here,
        }))
    }
}

impl Drop for InlineTask {
    fn drop(&mut self) {
        // What the task waits for knows it, so that it would keep itself alive.
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = State::Ended;
    }
}

impl Future for InlineTask {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        self.0.outer.register(context.waker());
        // Held for one poll elsewhere at most.
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.0.poll(&mut state);
        match std::mem::replace(&mut *state, State::Ended) {
            State::Ended => Poll::Ready(()),
            State::Panicked(payload) => resume_unwind(payload),
            running @ State::Running(_) => {
                *state = running;
                Poll::Pending
            }
        }
    }
}

impl Task {
    fn poll(self: &Arc<Self>, state: &mut State) {
        let State::Running(future) = state else { return };
        let waker = Waker::from(Arc::clone(self));
        let mut context = Context::from_waker(&waker);
        match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(&mut context))) {
            Ok(Poll::Pending) => {}
            Ok(Poll::Ready(())) => *state = State::Ended,
            // It is the runtime's to hear of it, not that of a thread which only helped.
            Err(payload) => *state = State::Panicked(payload),
        }
    }

    /// Polls it on this thread, unless another one does.
    fn run(self: &Arc<Self>) {
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
            // Who polls it now may be past what it was woken for.
            Err(TryLockError::WouldBlock) => return self.outer.wake(),
        };
        let within = self.runtime.enter();
        HELPS.set(true);
        self.poll(&mut state);
        HELPS.set(false);
        drop(within);
        if !matches!(*state, State::Running(_)) {
            self.outer.wake();
        }
    }
}

impl Wake for Task {
    fn wake(self: Arc<Self>) {
        let kept = KEPT.with_borrow_mut(|kept| match kept {
            Some(tasks) if self.may_run_here => {
                tasks.push(Arc::clone(&self));
                true
            }
            _ => false,
        });
        if !kept {
            self.outer.wake();
        }
    }
}

/// Calls `wake`, and polls on this thread the tasks it has woken, once each: where more is to be done, the runtime does it.
pub(crate) fn here(wake: impl FnOnce()) {
    KEPT.set(Some(Vec::new()));
    wake();
    for task in KEPT.take().into_iter().flatten() {
        task.run();
    }
}

/// Goes on in the runtime: what follows would keep a thread that has other work.
///
/// # Cancel safety
/// May be dropped at any await point.
pub(crate) async fn in_runtime() {
    std::future::poll_fn(|context| {
        if !HELPS.get() {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

#[cfg(test)]
mod tests;
