//! The kernel's notices that something in the directory may have changed.
//!
//! Owns the watcher. Left out: what changed, which looking tells. Invariant: a notice is a hint only; without any, and where
//! there are none, looking at intervals finds everything.

use std::path::Path;
use std::sync::Arc;

use notify::event::{AccessKind, AccessMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher as _};
use tokio::sync::Notify;

/// Rings when something may have changed.
#[derive(Debug)]
pub(crate) struct Alarm {
    bell: Arc<Notify>,
    _watcher: RecommendedWatcher,
}

impl Alarm {
    /// Watches the directory and everything below it, but nothing that a link leads to. Blocks for a while per thousand
    /// directories. `None` when the directory is not there, which looking says better.
    pub(crate) fn set(dir: &Path) -> notify::Result<Option<Self>> {
        if !dir.is_dir() {
            return Ok(None);
        }
        let bell = Arc::new(Notify::new());
        let rung = Arc::clone(&bell);
        let handler = move |event: notify::Result<Event>| {
            if event.is_ok_and(|event| is_noise(event.kind)) {
                return;
            }
            rung.notify_one();
        };
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(handler, config)?;
        watcher.watch(dir, RecursiveMode::Recursive)?;
        Ok(Some(Self { bell, _watcher: watcher }))
    }

    /// Waits for the next notice; at once if there was one since the last wait.
    ///
    /// # Cancel safety
    /// May be dropped; a notice is not lost.
    pub(crate) async fn rings(&self) {
        self.bell.notified().await;
    }
}

/// Whether nothing was written: looking opens files, and must not be its own reason to look again.
fn is_noise(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
