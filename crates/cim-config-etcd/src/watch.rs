//! A watch as the engine sees it: a stream of updates that ends at its first error.
//!
//! Owns where it begins, when everything is read again, and what is handed out. Left out: how a watch is kept alive
//! ([`crate::session`]); beginning again after an error, which is the engine's. Invariant: what is handed out is what the
//! ledger says.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cim_core::{ConfigScope, ConfigStream, ConfigUpdate, Revision, SourceError, SourceErrorKind};
use futures_util::StreamExt as _;
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use crate::ledger::{Change, Judgement, Ledger};
use crate::listing::{Detail, Listing};
use crate::ranges::Range;
use crate::session::{Heard, Place, Session};
use crate::shared::Shared;

/// A watch is begun anew within its stream at most that often, whatever the store does.
const BETWEEN_BEGINNINGS: Duration = Duration::from_secs(1);

/// A watch.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    scope: ConfigScope,
    ranges: Arc<[Range]>,
    resume: Option<Revision>,
    place: Option<Place>,
    session: Option<Session>,
    ledger: Option<Ledger>,
    queue: VecDeque<Change>,
    last_beginning: Option<Instant>,
    ended: bool,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, scope: &ConfigScope, resume: Option<Revision>) -> Self {
        let ranges = Range::of(scope).into();
        let (scope, queue) = (scope.clone(), VecDeque::new());
        Self {
            shared,
            scope,
            ranges,
            resume,
            place: None,
            session: None,
            ledger: None,
            queue,
            last_beginning: None,
            ended: false,
        }
    }

    /// Nothing happens before it is polled.
    pub(crate) fn stream(self) -> ConfigStream {
        let items = unfold(self, |mut watch| async move {
            let item = watch.item().await?;
            Some((item, watch))
        });
        Box::pin(items.fuse())
    }

    async fn item(&mut self) -> Option<Result<ConfigUpdate, SourceError>> {
        if self.ended {
            return None;
        }
        let shared = Arc::clone(&self.shared);
        let outcome = shared.unless_closed(self.next()).await;
        if let Err(error) = &outcome {
            shared.condition.watching(Err(error));
            if let Some(place) = &self.place {
                shared.watched.failed(&place.member);
            }
            self.end();
        }
        Some(outcome)
    }

    async fn next(&mut self) -> Result<ConfigUpdate, SourceError> {
        if self.place.is_none()
            && let Some(update) = self.begin().await?
        {
            return Ok(update);
        }
        loop {
            while let Some(change) = self.queue.pop_front() {
                match self.ledger.as_mut().map(|ledger| ledger.judge(&change)) {
                    Some(Judgement::New) => return Ok(change.update),
                    Some(Judgement::Known) => {}
                    Some(Judgement::Hole) | None => return self.reset("a change came too late").await,
                }
            }
            let (Some(session), Some(ledger)) = (&mut self.session, &mut self.ledger) else {
                self.watch(None).await?;
                continue;
            };
            match session.next(ledger).await? {
                Heard::Changes(changes) => self.queue.extend(changes),
                Heard::Void(reason) => return self.reset(&reason).await,
                Heard::LoggedOut => {
                    if let Some(update) = self.log_in().await? {
                        return Ok(update);
                    }
                }
            }
        }
    }

    /// Connects, and finds out whether the watch can go on where an earlier one ended.
    async fn begin(&mut self) -> Result<Option<ConfigUpdate>, SourceError> {
        let shared = Arc::clone(&self.shared);
        let member = shared.watched.current().cloned();
        let member =
            member.ok_or_else(|| SourceError::new(SourceErrorKind::Misconfigured, "there is no endpoint"))?;
        let connected = shared.connector.connect(&member).await;
        let client = connected.inspect_err(|_| shared.watched.failed(&member))?;
        let (ranges, pace, limit) = (Arc::clone(&self.ranges), shared.pace, shared.connector.limit());
        let place = Place { client, member, ranges, pace, limit };
        self.place = Some(place.clone());
        let Some(Revision(resume)) = self.resume else { return self.reset("a new watch").await.map(Some) };
        let listing = place.list(Detail::Keys).await?;
        let ledger = shared.recall(&self.scope, resume).unwrap_or_else(|| Ledger::believed(&listing, resume));
        if !ledger.leads_to(&listing) {
            return self
                .reset("the store is not the one that was watched, or a change was missed")
                .await
                .map(Some);
        }
        self.ledger = Some(ledger);
        self.watch(Some(listing)).await?;
        Ok(None)
    }

    /// Goes on with a fresh token.
    async fn log_in(&mut self) -> Result<Option<ConfigUpdate>, SourceError> {
        self.resume = self.ledger.as_ref().map(|ledger| Revision(ledger.revision()));
        self.lay_down();
        self.moderate().await;
        self.begin().await
    }

    /// Begins to watch after what was handed out.
    async fn watch(&mut self, known: Option<Listing>) -> Result<(), SourceError> {
        let (Some(place), Some(ledger)) = (&self.place, &self.ledger) else {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "the watch has no beginning"));
        };
        self.session = Some(Session::open(place.clone(), ledger.revision(), known).await?);
        self.shared.condition.watching(Ok(()));
        Ok(())
    }

    /// Reads everything.
    async fn reset(&mut self, reason: &str) -> Result<ConfigUpdate, SourceError> {
        let Some(place) = &self.place else {
            return Err(SourceError::new(SourceErrorKind::Unavailable, "the watch has no connection"));
        };
        let place = place.clone();
        self.session = None;
        self.queue.clear();
        self.moderate().await;
        let mut listing = place.list(Detail::Values).await?;
        tracing::info!(source = %self.shared.name, member = %place.member, reason, revision = listing.revision,
            keys = listing.entries.len(), "the configuration was read");
        self.ledger = Some(Ledger::full(&listing));
        Ok(ConfigUpdate::Reset {
            revision: Revision(listing.revision),
            entries: std::mem::take(&mut listing.entries),
        })
    }

    /// Waits where the watch was begun anew just before.
    async fn moderate(&mut self) {
        if let Some(last) = self.last_beginning {
            sleep_until(last + BETWEEN_BEGINNINGS).await;
        }
        self.last_beginning = Some(Instant::now());
    }

    fn end(&mut self) {
        self.ended = true;
        self.lay_down();
    }

    /// Gives up the connection, and leaves what was handed out to the next one.
    fn lay_down(&mut self) {
        self.session = None;
        self.place = None;
        if let Some(ledger) = self.ledger.take() {
            self.shared.remember(&self.scope, ledger);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.end();
    }
}
