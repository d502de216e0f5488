//! One watch on one connection to one member.
//!
//! Owns the stream of the server, its signs of life and the insurance. Left out: what is handed out ([`crate::watch`]).
//! Invariant: it ends by an error within the time that [`Pace`] allows when the member is gone, frozen or cut off.

use std::sync::Arc;
use std::time::Duration;

use cim_core::{ConfigUpdate, Revision, SourceError, SourceErrorKind};
use etcd_client::{
    Client, Event, EventType, WatchOptions, WatchRequestSender, WatchResponse, WatchResponseStream,
};
use futures_util::FutureExt as _;
use tokio::time::{Instant, sleep_until};

use crate::audit::{Audit, Verdict};
use crate::endpoint::Endpoint;
use crate::failure::{self, Failure, within};
use crate::ledger::{Change, Ledger};
use crate::listing::{self, Detail, LARGEST, Listing, list};
use crate::pace::Pace;
use crate::pulse::{Pulse, Silence};
use crate::ranges::Range;
use crate::settling::Settling;

/// The watcher that answers to questions for progress name: none.
const NO_WATCHER: i64 = -1;

/// What a session has to tell.
#[derive(Debug)]
pub(crate) enum Heard {
    /// Changes, in order.
    Changes(Vec<Change>),
    /// What is known of the store is void or incomplete: everything has to be read again.
    Void(String),
    /// The token is not valid any more: another one is needed to go on.
    LoggedOut,
}

/// Where a session runs.
#[derive(Clone)]
pub(crate) struct Place {
    pub(crate) client: Client,
    pub(crate) member: Endpoint,
    pub(crate) ranges: Arc<[Range]>,
    pub(crate) pace: Pace,
    /// Longest wait for an answer.
    pub(crate) limit: Duration,
}

impl Place {
    /// Reads everything.
    pub(crate) async fn list(&self, detail: Detail) -> Result<Listing, SourceError> {
        let doing = format!("read the configuration from {}", self.member);
        list(&self.client, &self.ranges, detail, self.limit)
            .await
            .map_err(|failure| failure.into_error(&doing))
    }
}

/// A running watch.
pub(crate) struct Session {
    place: Place,
    questions: WatchRequestSender,
    answers: WatchResponseStream,
    settling: Settling,
    pulse: Pulse,
    audit: Audit,
    ask_at: Instant,
}

impl Session {
    /// Begins to watch after that revision. `known`: a reading of the keys that the watch is to be compared with.
    pub(crate) async fn open(place: Place, after: u64, known: Option<Listing>) -> Result<Self, SourceError> {
        let start = after + 1;
        let doing = format!("watch the configuration at {}", place.member);
        let mut watch = place.client.watch_client().max_decoding_message_size(LARGEST);
        let (first, others) =
            place.ranges.split_first().ok_or_else(|| failure::of_cancelled(&doing, "no range"))?;
        let options = |range: &Range| {
            let options = WatchOptions::new().with_start_revision(i64::try_from(start).unwrap_or(i64::MAX));
            Some(range.watch(options.with_prev_key().with_progress_notify().with_fragment()))
        };
        let opened = within(place.limit, &doing, async {
            let (mut questions, answers) = watch.watch(first.from.clone(), options(first)).await?.split();
            for other in others {
                questions.watch(other.from.clone(), options(other)).await?;
            }
            Ok((questions, answers))
        });
        let (questions, answers) = opened.await.map_err(|failure| failure.into_error(&doing))?;
        let (now, pace) = (Instant::now(), place.pace);
        let audit = match known {
            Some(listing) => Audit::Waiting(listing, now + pace.patience),
            None => Audit::Due(now + pace.audit),
        };
        let settling = Settling::new(start, place.ranges.len(), pace.settle, now);
        let pulse = Pulse::new(pace.silence);
        Ok(Self { place, questions, answers, settling, pulse, audit, ask_at: now + pace.progress })
    }

    /// The next thing to tell.
    pub(crate) async fn next(&mut self, ledger: &mut Ledger) -> Result<Heard, SourceError> {
        loop {
            let wakes = [self.pulse.deadline(), self.settling.wake(), self.audit.wake()];
            let wake = wakes.into_iter().flatten().fold(self.ask_at, Instant::min);
            let mut idle = false;
            // What has come already goes before what the clock says: this process may have slept for long.
            let heard = tokio::select! {
                biased;
                answer = self.answers.message() => self.answer(answer, ledger)?,
                listing = self.audit.read() => self.listed(listing)?,
                () = sleep_until(wake) => { idle = true; None }
            };
            if let Some(heard) = heard {
                return Ok(heard);
            }
            let now = Instant::now();
            let mut ready = Vec::new();
            self.settling.flush(now, &mut ready);
            if !ready.is_empty() {
                return Ok(Heard::Changes(ready));
            }
            if let Some(reason) = self.compare(ledger, now, idle) {
                return Ok(Heard::Void(reason));
            }
            self.keep_up(now, ledger)?;
        }
    }

    /// Looks whether the watch has missed something.
    fn compare(&mut self, ledger: &mut Ledger, now: Instant, idle: bool) -> Option<String> {
        match self.audit.verdict(ledger, now, idle)? {
            Verdict::Open => None,
            Verdict::Complete => {
                ledger.forget_removed();
                self.audit = Audit::Due(now + self.place.pace.audit);
                None
            }
            Verdict::Missed(key) => {
                Some(format!("the watch missed a change of {}", String::from_utf8_lossy(&key)))
            }
        }
    }

    /// Asks what is due, and judges the silence.
    fn keep_up(&mut self, now: Instant, ledger: &Ledger) -> Result<(), SourceError> {
        match self.pulse.silence(now) {
            Some(Silence::Dead) => return Err(failure::late(&self.doing(), self.place.pace.silence)),
            // The reading has a time limit of its own, and ends the watch when it fails.
            Some(Silence::Unclear) => {
                self.pulse.heard();
                self.begin_audit(ledger);
            }
            None => {}
        }
        if now >= self.ask_at {
            self.ask_at = now + self.place.pace.progress;
            self.pulse.asking(now);
            // Never waited for: where questions pile up, the silence ends the watch.
            let _ = self.questions.request_progress().now_or_never();
        }
        if matches!(self.audit, Audit::Due(at) if now >= at) {
            self.begin_audit(ledger);
        }
        Ok(())
    }

    fn begin_audit(&mut self, ledger: &Ledger) {
        if !matches!(self.audit, Audit::Reading(..)) {
            let place = self.place.clone();
            let reading = async move { list(&place.client, &place.ranges, Detail::Keys, place.limit).await };
            self.audit = Audit::Reading(Box::pin(reading), ledger.revision());
        }
    }

    fn listed(&mut self, listing: Result<Listing, Failure>) -> Result<Option<Heard>, SourceError> {
        let listing = listing.map_err(|failure| failure.into_error(&self.doing()))?;
        self.pulse.heard();
        let revision = listing.revision;
        let follows = self.audit.take_in(listing, Instant::now() + self.place.pace.patience);
        Ok((!follows).then(|| Heard::Void(format!("the store was set back to revision {revision}"))))
    }

    /// Takes in what the server sent.
    fn answer(
        &mut self,
        answer: Result<Option<WatchResponse>, etcd_client::Error>,
        ledger: &Ledger,
    ) -> Result<Option<Heard>, SourceError> {
        let doing = self.doing();
        let answer = match answer {
            Ok(Some(answer)) => answer,
            Ok(None) => return Err(failure::of_cancelled(&doing, "")),
            Err(error) => return Err(failure::of(&doing, error).into_error(&doing)),
        };
        let now = Instant::now();
        self.pulse.heard();
        if answer.canceled() {
            return match (answer.compact_revision(), answer.cancel_reason()) {
                (0, reason) if failure::is_logged_out(reason) => Ok(Some(Heard::LoggedOut)),
                (0, reason) => Err(failure::of_cancelled(&doing, reason)),
                (at, _) => Ok(Some(Heard::Void(format!("the history before revision {at} was compacted")))),
            };
        }
        let (cluster, revision) = answer
            .header()
            .map(|header| (header.cluster_id(), header.revision().unsigned_abs()))
            .unwrap_or_default();
        if cluster != ledger.cluster {
            return Ok(Some(Heard::Void("another cluster answers".to_owned())));
        }
        if answer.created() {
            self.settling.created(answer.watch_id(), revision, now);
        } else if answer.events().is_empty() {
            if answer.watch_id() == NO_WATCHER {
                self.pulse.answered();
            }
        } else {
            return self.changes(&answer, now);
        }
        if revision < ledger.revision() {
            // Written before changes that went past it on their way, or the store was set back: a reading tells.
            self.begin_audit(ledger);
        }
        Ok(None)
    }

    fn changes(&mut self, answer: &WatchResponse, now: Instant) -> Result<Option<Heard>, SourceError> {
        let changes: Option<Vec<Change>> = answer.events().iter().map(change).collect();
        let changes = changes.ok_or_else(|| {
            SourceError::new(
                SourceErrorKind::Unavailable,
                format!("cannot {}: an event without a key", self.doing()),
            )
        })?;
        self.audit.delivered(now, self.place.pace.patience);
        let mut ready = Vec::new();
        self.settling.take(answer.watch_id(), changes, answer.0.fragment, now, &mut ready);
        Ok((!ready.is_empty()).then_some(Heard::Changes(ready)))
    }

    fn doing(&self) -> String {
        format!("watch the configuration at {}", self.place.member)
    }
}

fn change(event: &Event) -> Option<Change> {
    let kv = event.kv()?;
    let update = match event.event_type() {
        EventType::Put => ConfigUpdate::Put(listing::entry(kv.clone())),
        EventType::Delete => ConfigUpdate::Delete {
            key: kv.key().to_owned(),
            revision: Revision(kv.mod_revision().unsigned_abs()),
        },
    };
    Some(Change { update, previous: event.prev_kv().map(|kv| kv.mod_revision().unsigned_abs()) })
}
