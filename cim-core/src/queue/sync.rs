//! Group fdatasync: one thread per queue whose level is `synced`.
//!
//! While one sync runs, the next group gathers; when nothing was written, the thread sleeps. The lock of the queue is
//! held only before and after, never during, the system call.

use std::sync::{Condvar, Mutex, PoisonError};

use super::ClassQueue;

/// Wakes the sync thread.
#[derive(Debug, Default)]
pub(crate) struct SyncSignal {
    state: Mutex<Signal>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct Signal {
    wanted: bool,
    stopped: bool,
}

impl SyncSignal {
    pub(crate) fn request(&self) {
        self.set(|signal| signal.wanted = true);
    }

    pub(crate) fn stop(&self) {
        self.set(|signal| signal.stopped = true);
    }

    fn set(&self, change: impl FnOnce(&mut Signal)) {
        change(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner));
        self.changed.notify_one();
    }

    /// Waits for a request; false once stopped.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self
            .changed
            .wait_while(state, |signal| !signal.wanted && !signal.stopped)
            .unwrap_or_else(PoisonError::into_inner);
        state.wanted = false;
        !state.stopped
    }
}

impl ClassQueue {
    /// Syncs whenever something was written, until [`ClassQueue::stop_sync`].
    pub(crate) fn run_sync(&self) {
        while self.sync.wait() {
            self.sync_once();
        }
    }

    pub(crate) fn stop_sync(&self) {
        self.sync.stop();
    }

    /// One group: everything written before the call is on the device afterwards, or the fault is noted.
    pub(crate) fn sync_once(&self) {
        let Some(mut job) = self.lock().begin_sync() else {
            return;
        };
        let result = job.run();
        let safe = self.lock().finish_sync(job, result);
        if self.rules.level == crate::contract::Level::Synced {
            self.accept_through(safe);
        }
    }
}
