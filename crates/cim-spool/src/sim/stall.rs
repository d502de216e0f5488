//! A file of the simulated disk that does not answer for a while.
//!
//! Owns who waits for it. Leaves out which calls come here. Invariant: what waits has changed nothing yet.

use std::{
    path::{Path, PathBuf},
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
};

#[derive(Default)]
pub(super) struct Stall {
    state: Mutex<Stalled>,
    changed: Condvar,
}

#[derive(Default)]
struct Stalled {
    path: Option<PathBuf>,
    waiting: usize,
}

impl Stall {
    pub(super) fn set(&self, path: Option<&Path>) {
        self.lock().path = path.map(Path::to_owned);
        self.changed.notify_all();
    }

    pub(super) fn waiting(&self) -> usize {
        self.lock().waiting
    }

    /// Waits while that file is stalled.
    pub(super) fn pass(&self, path: &Path) {
        let stalled = |state: &mut Stalled| state.path.as_deref() == Some(path);
        let mut state = self.lock();
        if !stalled(&mut state) {
            return;
        }
        state.waiting += 1;
        let waited = self.changed.wait_while(state, stalled);
        waited.unwrap_or_else(PoisonError::into_inner).waiting -= 1;
    }

    fn lock(&self) -> MutexGuard<'_, Stalled> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
