//! One watch: looks at the directory when there is a reason, and tells what is different.
//!
//! Owns the reasons and the pauses between two looks. Left out: looking (`census`). Invariant: looking takes a twentieth of
//! the time at most while nothing happens, and a fifth while something does.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use cim_core::{ConfigEntry, ConfigScope, ConfigStream, ConfigUpdate, SourceError};
use futures_util::stream;
use tokio::time::{Instant, sleep, sleep_until};

use crate::alarm::Alarm;
use crate::census::{Census, Change, Round, SETTLE};
use crate::folder::shown;
use crate::source::{Shared, blocking, closed};

/// Changes come in groups: a short pause after a notice, and one look for all of them.
const GROUP: Duration = Duration::from_millis(20);
/// The first answer waits for files that are still being written, but no longer than this.
const FIRST: Duration = Duration::from_secs(1);

/// One watch of a directory.
pub(crate) struct Watch {
    shared: Arc<Shared>,
    scope: ConfigScope,
    census: Census,
    /// `None` before the first look; inside, when the kernel tells nothing.
    alarm: Option<Option<Alarm>>,
    /// Which directory stood there at the last look.
    place: Option<(u64, u64)>,
    /// Told, but not taken yet.
    ready: VecDeque<ConfigUpdate>,
    /// The last look; `None` before the first.
    last: Option<Look>,
    /// Everything there was has been told once.
    has_begun: bool,
    /// What was said of files that hold no key.
    said: BTreeMap<Vec<u8>, String>,
}

#[derive(Debug, Clone, Copy)]
struct Look {
    at: Instant,
    cost: Duration,
    is_unsettled: bool,
}

impl Watch {
    pub(crate) fn new(shared: Arc<Shared>, scope: ConfigScope) -> Self {
        Self {
            shared,
            scope,
            census: Census::default(),
            alarm: None,
            place: None,
            ready: VecDeque::new(),
            last: None,
            has_begun: false,
            said: BTreeMap::new(),
        }
    }

    pub(crate) fn into_stream(self) -> ConfigStream {
        Box::pin(stream::unfold(Some(self), |watch| async {
            let mut watch = watch?;
            let item = watch.next().await;
            let rest = item.is_ok().then_some(watch);
            Some((item, rest))
        }))
    }

    async fn next(&mut self) -> Result<ConfigUpdate, SourceError> {
        let shared = Arc::clone(&self.shared);
        let mut end = shared.closed.subscribe();
        tokio::select! {
            biased;
            _ = end.wait_for(|closed| *closed) => Err(closed()),
            update = self.look_until_different() => update,
        }
    }

    async fn look_until_different(&mut self) -> Result<ConfigUpdate, SourceError> {
        loop {
            if let Some(update) = self.ready.pop_front() {
                return Ok(update);
            }
            self.wait().await;
            let round = self.look().await?;
            if self.has_begun {
                self.tell(round.changes);
            } else {
                self.begin(round).await?;
            }
        }
    }

    /// Waits for a reason to look.
    async fn wait(&self) {
        let Some(last) = self.last else { return };
        let alarm = self.alarm.as_ref().and_then(Option::as_ref);
        let pause = if last.is_unsettled { SETTLE } else { self.shared.poll_interval };
        let pause = pause.max(last.cost * if last.is_unsettled { 4 } else { 20 });
        match alarm {
            Some(alarm) => tokio::select! {
                () = sleep_until(last.at + pause) => {}
                () = alarm.rings() => sleep(GROUP.max(last.cost * 4)).await,
            },
            None => sleep_until(last.at + pause).await,
        }
    }

    /// Looks at the directory.
    async fn look(&mut self) -> Result<Round, SourceError> {
        // The alarm is set first, so that what changes during the look rings.
        if self.alarm.is_none() {
            self.set_alarm().await?;
        }
        let (shared, scope) = (Arc::clone(&self.shared), self.scope.clone());
        let mut census = std::mem::take(&mut self.census);
        let (census, round) = blocking(move || {
            let round = census.take(&shared.dir, &scope)?;
            Ok((census, round))
        })
        .await
        .inspect_err(|error| self.shared.set_trouble(Some(error.to_string())))?;
        self.census = census;
        self.last = Some(Look { at: Instant::now(), cost: round.cost, is_unsettled: round.is_unsettled });
        if self.place.replace(round.place).is_some_and(|place| place != round.place) {
            self.set_alarm().await?;
        }
        self.say(&round.skipped);
        Ok(round)
    }

    /// Has the kernel tell of changes in the directory that stands there now.
    async fn set_alarm(&mut self) -> Result<(), SourceError> {
        let shared = Arc::clone(&self.shared);
        let alarm =
            if shared.uses_notices { blocking(move || Ok(Alarm::set(&shared.dir))).await? } else { Ok(None) };
        self.alarm = Some(alarm.unwrap_or_else(|error| {
            let dir = self.shared.dir.display();
            tracing::warn!(%dir, %error, "the kernel tells of no changes of configuration; they are looked for at intervals");
            None
        }));
        Ok(())
    }

    /// Tells everything there is, once it is there whole.
    async fn begin(&mut self, first: Round) -> Result<(), SourceError> {
        let until = Instant::now() + FIRST;
        let (mut changes, mut is_unsettled) = (first.changes, first.is_unsettled);
        while is_unsettled && Instant::now() < until {
            sleep(SETTLE).await;
            let round = self.look().await?;
            is_unsettled = round.is_unsettled;
            changes.extend(round.changes);
        }
        self.has_begun = true;
        // A key may have come and gone meanwhile.
        let mut entries: Vec<ConfigEntry> = Vec::new();
        for change in changes {
            let gone = match &change {
                Change::Put { key, .. } | Change::Delete { key } => key,
            };
            entries.retain(|entry| entry.key != *gone);
            if let Some(ConfigUpdate::Put(entry)) = self.update(change) {
                entries.push(entry);
            }
        }
        let revision = self.shared.revision();
        self.ready.push_back(ConfigUpdate::Reset { revision, entries });
        Ok(())
    }

    fn tell(&mut self, changes: Vec<Change>) {
        for change in changes {
            let update = self.update(change);
            self.ready.extend(update);
        }
    }

    fn update(&self, change: Change) -> Option<ConfigUpdate> {
        let revision = self.shared.next_revision();
        Some(match change {
            Change::Put { key, value } => {
                ConfigUpdate::Put(ConfigEntry { key, value: value.into(), revision, lease: None })
            }
            Change::Delete { key } => ConfigUpdate::Delete { key, revision },
        })
    }

    /// Says which files hold no key, each once per reason.
    fn say(&mut self, skipped: &BTreeMap<Vec<u8>, String>) {
        for (path, why) in skipped {
            if self.said.get(path) != Some(why) {
                let path = shown(&self.shared.dir, path);
                tracing::warn!(path = %path.display(), %why, "a file is no configuration");
            }
        }
        self.said.clone_from(skipped);
        self.shared.set_trouble(skipped.iter().next().map(|(path, why)| {
            let path = shown(&self.shared.dir, path);
            format!("{} files are left out, among them {}, which {why}", skipped.len(), path.display())
        }));
    }
}
