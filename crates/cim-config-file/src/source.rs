//! The directory as the engine sees it.
//!
//! Owns what all watches and reports share. Left out: files (`census`, `results`) and waiting (`watch`). Invariant: reports
//! are stored one after the other in the order in which they were made, and no file is touched on the runtime's own threads.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::{
    CloseError, Component, ConfigOutcome, ConfigScope, ConfigSource, ConfigStream, Health, Reported,
    Revision, SourceError, SourceErrorKind, async_trait,
};
use tokio::sync::watch;

use crate::settings::FileSettings;
use crate::watch::Watch;
use crate::{census, results};

/// What every watch of a source knows.
#[derive(Debug)]
pub(crate) struct Shared {
    pub dir: PathBuf,
    pub poll_interval: Duration,
    /// Whether the kernel's notices are used.
    pub uses_notices: bool,
    /// Becomes true once, at the end.
    pub closed: watch::Sender<bool>,
    revision: AtomicU64,
    /// What a person should look after.
    trouble: Mutex<Option<String>>,
}

impl Shared {
    /// The moment of a change that is told now.
    pub(crate) fn next_revision(&self) -> Revision {
        Revision(self.revision.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// The moment of the last change that was told.
    pub(crate) fn revision(&self) -> Revision {
        Revision(self.revision.load(Ordering::Relaxed))
    }

    pub(crate) fn set_trouble(&self, trouble: Option<String>) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = trouble;
    }

    fn check(&self) -> Result<(), SourceError> {
        if *self.closed.borrow() { Err(closed()) } else { Ok(()) }
    }
}

/// The error of a source that was closed.
pub(crate) fn closed() -> SourceError {
    SourceError::new(SourceErrorKind::Closed, "the source was closed")
}

/// Does something with files on a thread that may wait for them.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, SourceError> + Send + 'static,
) -> Result<T, SourceError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| {
        Err(SourceError::new(SourceErrorKind::Unavailable, "work on files was broken off").with_source(error))
    })
}

/// A directory of configuration.
#[derive(Debug)]
pub struct FileSource {
    name: String,
    shared: Arc<Shared>,
    /// Taken in order, and held until a report is stored, even by one that nobody waits for any more.
    storing: Arc<tokio::sync::Mutex<()>>,
}

impl FileSource {
    /// A source of that name. Nothing is opened before it is used.
    #[must_use]
    pub fn new(name: impl Into<String>, settings: &FileSettings) -> Self {
        Self::with_notices(name, settings, true)
    }

    /// A source that only looks at intervals, for file systems whose changes the kernel does not tell.
    #[must_use]
    pub fn by_polling(name: impl Into<String>, settings: &FileSettings) -> Self {
        Self::with_notices(name, settings, false)
    }

    fn with_notices(name: impl Into<String>, settings: &FileSettings, uses_notices: bool) -> Self {
        let shared = Shared {
            dir: settings.dir.clone(),
            poll_interval: settings.poll_interval.get(),
            uses_notices,
            closed: watch::Sender::new(false),
            revision: AtomicU64::new(0),
            trouble: Mutex::new(None),
        };
        Self { name: name.into(), shared: Arc::new(shared), storing: Arc::default() }
    }

    /// Writes into the directory, when it is its turn.
    async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, SourceError> + Send + 'static,
    ) -> Result<T, SourceError> {
        self.shared.check()?;
        let turn = Arc::clone(&self.storing).lock_owned().await;
        let dir = self.shared.dir.clone();
        blocking(move || {
            let written = work(&dir);
            drop(turn);
            written
        })
        .await
    }
}

#[async_trait]
impl Component for FileSource {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        match &*self.shared.trouble.lock().unwrap_or_else(PoisonError::into_inner) {
            Some(trouble) => Health::Degraded(trouble.clone()),
            None => Health::Ready,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.shared.closed.send_replace(true);
        Ok(())
    }
}

#[async_trait]
impl ConfigSource for FileSource {
    /// Begins with a reset whatever `resume` says: a directory has no history.
    fn watch(&self, scope: &ConfigScope, _resume: Option<Revision>) -> ConfigStream {
        Watch::new(Arc::clone(&self.shared), scope.clone()).into_stream()
    }

    async fn report(&self, outcome: &ConfigOutcome) -> Result<Reported, SourceError> {
        let outcome = outcome.clone();
        self.write(move |dir| results::store(dir, &outcome)).await
    }

    async fn swap(&self, key: &str, old: Option<&[u8]>, new: &[u8]) -> Result<bool, SourceError> {
        let (key, old, new) = (key.to_owned(), old.map(<[u8]>::to_vec), new.to_vec());
        self.write(move |dir| results::swap(dir, &key, old.as_deref(), &new)).await
    }

    async fn read(&self, key: &str) -> Result<Option<Vec<u8>>, SourceError> {
        self.shared.check()?;
        let (dir, key) = (self.shared.dir.clone(), key.to_owned());
        blocking(move || census::value(&dir, &key)).await
    }
}
