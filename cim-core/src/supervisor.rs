//! Every task and thread of the process: its name, what happens when it panics, and how it is doing.
//!
//! The only place that spawns. Invariant: a part that was started is on the status page until the process ends.

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::watch;

/// What a panic of a part means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnPanic {
    /// It is started again, after a pause of one second.
    Restart,
    /// The process cannot do its work without it: it has to stop, with an error.
    Stop,
}

/// How a part is doing.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct PartStatus {
    /// Its name.
    pub name: String,
    /// `running`, `ended` or `panicked`.
    pub state: &'static str,
    /// How often it was started again.
    pub restarts: u64,
}

/// Starts parts and watches them. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Supervisor {
    runtime: Handle,
    parts: Arc<Mutex<Vec<PartStatus>>>,
    fatal: Arc<watch::Sender<Option<String>>>,
    running: Arc<watch::Sender<usize>>,
}

const RESTART_PAUSE: Duration = Duration::from_secs(1);

impl Supervisor {
    /// A supervisor on that runtime.
    #[must_use]
    pub fn new(runtime: Handle) -> Self {
        Self {
            runtime,
            parts: Arc::default(),
            fatal: Arc::new(watch::Sender::new(None)),
            running: Arc::new(watch::Sender::new(0)),
        }
    }

    /// Starts a task; `make` is called again after each panic if that is the policy.
    pub fn task<F, Fut>(&self, name: impl Into<String>, on_panic: OnPanic, make: F)
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let name = name.into();
        let at = self.begin(&name);
        let this = self.clone();
        self.runtime.spawn(async move {
            loop {
                if AssertUnwindSafe(make()).catch_unwind().await.is_ok() {
                    this.end(at, "ended");
                    return;
                }
                tracing::error!(task = %name, "a task panicked");
                if on_panic == OnPanic::Stop {
                    this.end(at, "panicked");
                    this.fail(format!("task `{name}` panicked"));
                    return;
                }
                this.restarted(at);
                tokio::time::sleep(RESTART_PAUSE).await;
            }
        });
    }

    /// Starts a thread. A panic in it stops the process.
    ///
    /// # Errors
    /// When the system has no thread to give.
    pub fn thread(
        &self,
        name: impl Into<String>,
        run: impl FnOnce() + Send + 'static,
    ) -> std::io::Result<()> {
        let name = name.into();
        let at = self.begin(&name);
        let this = self.clone();
        let label = name.clone();
        let spawned = std::thread::Builder::new().name(name).spawn(move || {
            if std::panic::catch_unwind(AssertUnwindSafe(run)).is_ok() {
                this.end(at, "ended");
            } else {
                tracing::error!(thread = %label, "a thread panicked");
                this.end(at, "panicked");
                this.fail(format!("thread `{label}` panicked"));
            }
        });
        spawned.map(drop).inspect_err(|_| self.end(at, "ended"))
    }

    /// How every part is doing.
    #[must_use]
    pub fn parts(&self) -> Vec<PartStatus> {
        self.lock().clone()
    }

    /// Waits until a part without which the process cannot work has died; returns what happened.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn failed(&self) -> String {
        let mut fatal = self.fatal.subscribe();
        match fatal.wait_for(Option::is_some).await {
            Ok(text) => text.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits until every part has ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn all_ended(&self) {
        let mut running = self.running.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let _ = running.wait_for(|running| *running == 0).await;
    }

    /// Waits until no part of that name runs.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub async fn ended(&self, name: &str) {
        let mut running = self.running.subscribe();
        // The sender lives in `self`, so the wait cannot fail.
        let is_over =
            |_: &usize| !self.lock().iter().any(|part| part.name == name && part.state == "running");
        let _ = running.wait_for(is_over).await;
    }

    /// Says that a part is lost without which the process cannot work; only the first such word counts.
    pub fn fail(&self, text: String) {
        self.fatal.send_if_modified(|fatal| {
            let first = fatal.is_none();
            if first {
                *fatal = Some(text);
            }
            first
        });
    }

    fn begin(&self, name: &str) -> usize {
        self.running.send_modify(|running| *running += 1);
        let mut parts = self.lock();
        parts.push(PartStatus { name: name.to_owned(), state: "running", restarts: 0 });
        parts.len() - 1
    }

    fn end(&self, at: usize, state: &'static str) {
        if let Some(part) = self.lock().get_mut(at) {
            part.state = state;
        }
        self.running.send_modify(|running| *running = running.saturating_sub(1));
    }

    fn restarted(&self, at: usize) {
        if let Some(part) = self.lock().get_mut(at) {
            part.restarts += 1;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<PartStatus>> {
        self.parts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[tokio::test(start_paused = true)]
    async fn a_task_that_panics_is_started_again_and_says_so() {
        let supervisor = Supervisor::new(Handle::current());
        let starts = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&starts);
        supervisor.task("flaky", OnPanic::Restart, move || {
            let first = seen.fetch_add(1, Ordering::SeqCst) == 0;
            async move { assert!(!first, "first start fails") }
        });
        supervisor.all_ended().await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
        let parts = supervisor.parts();
        assert_eq!((parts[0].state, parts[0].restarts), ("ended", 1));
    }

    #[tokio::test]
    async fn a_vital_part_that_dies_is_reported() {
        let supervisor = Supervisor::new(Handle::current());
        supervisor.thread("listener", || panic!("gone")).unwrap();
        assert_eq!(supervisor.failed().await, "thread `listener` panicked");
    }
}
