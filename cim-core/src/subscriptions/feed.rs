//! The task that reads the source, keeps what was subscribed to, and hands it to the application.
//!
//! Owns the order of these steps and what follows a failure. Left out: how filters are asked (`index`), how much may wait
//! (`ahead`). Invariants: there is at most one reader; it reads only while somebody subscribed; nothing ends it but the end of the process.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt as _;
use metrics::counter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Current;
use super::ahead::{Ahead, Ledger, Parcel};
use super::answer::Key;
use super::desk::{Desk, Fittings};
use super::outlet::Taken;
use super::sieve::{Sieve, Verdicts};
use super::view::FeedState;
use crate::contract::{EventReader, EventSource, FeedBatch, RecordPlace, SourceError, Values};
use crate::{Pauses, catalog};

const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(10);
/// A reader that worked for so long was no failure from the start: the next pause is short again.
const STEADY: Duration = Duration::from_secs(30);

/// State and trouble of the feed.
pub(super) type Condition = (FeedState, Option<String>);

/// The feed at work.
#[derive(Clone)]
pub(super) struct Feed {
    pub(super) source: Arc<dyn EventSource>,
    pub(super) fittings: Fittings,
    pub(super) current: watch::Receiver<Arc<Current>>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) condition: watch::Sender<Condition>,
}

/// Why a reader was closed that had not failed.
enum Ended {
    /// Nobody is subscribed any more.
    Idle,
    /// The process ends.
    Stopped,
}

impl Feed {
    /// Reads for as long as the process lives.
    pub(super) async fn run(mut self) {
        let mut pauses = Pauses::new(FIRST_PAUSE, LONGEST_PAUSE);
        let mut stop = self.stop.clone();
        loop {
            if self.current.borrow().index.is_empty() {
                self.say(FeedState::Idle, None);
            }
            tokio::select! {
                () = until(&mut self.current, |current| !current.index.is_empty()) => {}
                () = until(&mut stop, |stop| *stop) => break,
            }
            let began = Instant::now();
            match self.read().await {
                Ok(Ended::Idle) => pauses.reset(),
                Ok(Ended::Stopped) => break,
                Err(error) => {
                    if began.elapsed() >= STEADY {
                        pauses.reset();
                    }
                    let pause = pauses.take();
                    self.failed(&error, pause);
                    tokio::select! {
                        () = sleep(pause) => {}
                        () = until(&mut stop, |stop| *stop) => break,
                    }
                }
            }
        }
        self.say(FeedState::Ended, None);
    }

    fn say(&self, state: FeedState, trouble: Option<String>) {
        self.condition.send_if_modified(|condition| {
            let next = (state, trouble);
            let is_new = *condition != next;
            *condition = next;
            is_new
        });
    }

    fn failed(&self, error: &SourceError, pause: Duration) {
        self.fittings.counts.failures.fetch_add(1, Relaxed);
        let trouble = crate::chain(error);
        // The same words again are no news.
        if self.condition.borrow().1.as_ref() != Some(&trouble) {
            tracing::warn!(source = self.source.name(), again_in = ?pause, "subscribed events cannot be read: {trouble}");
        }
        self.say(FeedState::Failed, Some(trouble));
    }

    /// One reader, from its opening to its end.
    async fn read(&mut self) -> Result<Ended, SourceError> {
        if self.condition.borrow().0 != FeedState::Failed {
            self.say(FeedState::Opening, None);
        }
        let source = Arc::clone(&self.source);
        let mut reader = tokio::select! {
            reader = source.open() => reader?,
            () = until(&mut self.stop, |stop| *stop) => return Ok(Ended::Stopped),
            () = until(&mut self.current, |current| current.index.is_empty()) => return Ok(Ended::Idle),
        };
        let mut ledger = Ledger::new();
        let ended = self.pump(reader.as_mut(), &mut ledger).await;
        self.fittings.counts.waiting_bytes.store(0, Relaxed);
        if ledger.deadline().is_some() {
            self.commit(reader.as_mut(), &mut ledger);
        }
        match ended {
            Ok(Ended::Stopped) => reader.finish().await,
            Ok(Ended::Idle) | Err(_) => reader.close().await,
        }
        ended
    }

    async fn pump(
        &mut self,
        reader: &mut dyn EventReader,
        ledger: &mut Ledger,
    ) -> Result<Ended, SourceError> {
        let mut ahead = Ahead::default();
        let mut desk = Desk::new(self.fittings.clone());
        let mut sieve = self.sieve();
        desk.look(ledger);
        loop {
            let rests = desk.is_full() | ahead.is_full();
            self.say(if rests { FeedState::Resting } else { FeedState::Reading }, None);
            self.fittings.counts.waiting_bytes.store((ahead.bytes() + desk.bytes()) as u64, Relaxed);
            let due = ledger.deadline();
            tokio::select! {
                biased;
                () = until(&mut self.stop, |stop| *stop) => {
                    // What the application took in this very moment is part of the last commit.
                    while let Some(Some(parcel)) = ahead.taken(ledger).now_or_never() {
                        self.count(&parcel);
                    }
                    return Ok(Ended::Stopped);
                }
                parcel = ahead.taken(ledger) => match parcel {
                    Some(parcel) => self.count(&parcel),
                    None => return Ok(Ended::Stopped),
                },
                () = Ledger::due(due) => self.commit(reader, ledger),
                changed = self.current.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                    let current = Arc::clone(&self.current.borrow());
                    if current.index.is_empty() {
                        return Ok(Ended::Idle);
                    }
                    desk.retain(|id| current.filters.contains_key(id), ledger);
                    sieve = self.sieve();
                }
                news = desk.news() => if !desk.follow(news, ledger) {
                    return Ok(Ended::Stopped);
                },
                batch = next(reader, rests, &mut sieve) => {
                    self.take(batch?, &mut sieve, &mut ahead, &mut desk, ledger);
                    // A feed that always has more must not keep the thread for itself.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    fn count(&self, taken: &Parcel) {
        self.fittings.counts.delivered.fetch_add(taken.values as u64, Relaxed);
    }

    fn sieve(&self) -> Sieve {
        Sieve::new(Arc::clone(&self.current.borrow()), self.fittings.outlet.most())
    }

    /// Hands what was kept to the outlet.
    fn take(
        &self,
        batch: FeedBatch,
        sieve: &mut Sieve,
        ahead: &mut Ahead,
        desk: &mut Desk,
        ledger: &mut Ledger,
    ) {
        sieve.count(&self.fittings.counts);
        let FeedBatch { kept, reached } = batch;
        let verdicts = sieve.verdicts();
        let plain = if verdicts.numbers.is_empty() {
            kept
        } else {
            let plain =
                sort(&kept, &verdicts, &sieve.current.asking, |key, value| desk.add(key, value, ledger));
            desk.look(ledger);
            plain
        };
        if plain.is_empty() {
            return ahead.skip(reached, ledger);
        }
        let (taken, hears) = Taken::channel();
        ahead.push(plain.len(), plain.bytes(), reached, hears);
        self.fittings.outlet.hand_over(plain, taken);
    }

    fn commit(&self, reader: &mut dyn EventReader, ledger: &mut Ledger) {
        let positions = ledger.positions();
        let done = reader.commit(&positions);
        if let Err(error) = &done {
            counter!(catalog::SUBSCRIPTION_COMMIT_FAILURES).increment(1);
            tracing::debug!(source = self.source.name(), "a commit was refused: {}", crate::chain(error));
        }
        ledger.attempted(&positions, done.is_ok());
    }
}

/// Gives `add` what asks for an answer, for each subscription that does; returns what plain subscriptions ask for.
fn sort(kept: &Values, verdicts: &Verdicts, ids: &[Arc<str>], mut add: impl FnMut(Key, Bytes)) -> Values {
    let mut plain = Values::default();
    for (value, verdict) in kept.iter().zip(&verdicts.each) {
        if verdict.plain {
            plain.push(value);
        }
        let RecordPlace { lane, record } = verdict.at;
        let numbers = verdicts.numbers.get(verdict.asking.clone()).unwrap_or_default();
        let shared = if numbers.is_empty() { Bytes::new() } else { Bytes::copy_from_slice(value) };
        for subscription in numbers.iter().filter_map(|number| ids.get(*number as usize)) {
            add(Key { subscription: Arc::clone(subscription), lane, record }, shared.clone());
        }
    }
    plain
}

/// Waits for a value; for ever once there will be no other.
async fn until<T>(watched: &mut watch::Receiver<T>, is_it: impl FnMut(&T) -> bool) {
    if watched.wait_for(is_it).await.is_err() {
        std::future::pending().await
    }
}

/// The next records, or none for as long as it is not dropped.
async fn next(
    reader: &mut dyn EventReader,
    rests: bool,
    sieve: &mut Sieve,
) -> Result<FeedBatch, SourceError> {
    if rests { Err(reader.rest().await) } else { reader.read(sieve).await }
}
