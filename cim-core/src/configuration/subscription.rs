//! The watch of a source, begun again whenever it ends.
//!
//! Owns the pauses between attempts and the revision to go on from. Left out: what the updates mean. Invariant: after any
//! cut the watch goes on with the change after the last one that was handed out.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, sleep_until};

use crate::Pauses;
use crate::contract::{ConfigScope, ConfigSource, ConfigStream, ConfigUpdate, Revision, SourceError};

const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// What a subscription has to tell.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Something changed.
    Update(ConfigUpdate),
    /// The watch ended; it is begun again after a pause.
    Cut(SourceError),
}

/// A watch that never ends.
pub(crate) struct Subscription {
    source: Arc<dyn ConfigSource>,
    scope: ConfigScope,
    resume: Option<Revision>,
    stream: Option<ConfigStream>,
    pauses: Pauses,
    not_before: Instant,
}

impl Subscription {
    pub(crate) fn new(source: Arc<dyn ConfigSource>, scope: ConfigScope) -> Self {
        let not_before = Instant::now();
        let pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        Self { source, scope, resume: None, stream: None, pauses, not_before }
    }

    /// The next thing to tell.
    ///
    /// # Cancel safety
    /// May be dropped and called again; nothing is lost.
    pub(crate) async fn next(&mut self) -> Heard {
        if self.stream.is_none() {
            sleep_until(self.not_before).await;
        }
        let (source, scope, resume) = (&self.source, &self.scope, self.resume);
        let stream = self.stream.get_or_insert_with(|| source.watch(scope, resume));
        match stream.next().await {
            Some(Ok(update)) => {
                self.note(&update);
                Heard::Update(update)
            }
            Some(Err(error)) => self.cut(error),
            None => self.cut(SourceError::new(crate::SourceErrorKind::Unavailable, "the watch ended")),
        }
    }

    /// Whether a watch is open, as far as is known here.
    pub(crate) fn is_at_work(&self) -> bool {
        self.stream.is_some()
    }

    /// What can be told without waiting.
    pub(crate) fn ready(&mut self) -> Option<Heard> {
        self.next().now_or_never()
    }

    fn note(&mut self, update: &ConfigUpdate) {
        self.pauses.reset();
        self.resume = Some(match update {
            // The store may have been set back: whatever was known of its history is void.
            ConfigUpdate::Reset { revision, .. } => *revision,
            ConfigUpdate::Put(entry) => self.resume.unwrap_or_default().max(entry.revision),
            ConfigUpdate::Delete { revision, .. } => self.resume.unwrap_or_default().max(*revision),
        });
    }

    fn cut(&mut self, error: SourceError) -> Heard {
        self.stream = None;
        self.not_before = Instant::now() + self.pauses.take();
        Heard::Cut(error)
    }
}
