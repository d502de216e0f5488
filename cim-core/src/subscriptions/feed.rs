//! The task that reads the source, keeps what was subscribed to, and hands it to the application.
//!
//! Owns the order of these steps and what follows a failure. Left out: how filters are asked (`index`), how much may wait
//! (`ahead`). Invariants: there is at most one reader; it reads only while somebody subscribed; nothing ends it but the end of the process.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use metrics::counter;
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use super::Current;
use super::ahead::{Ahead, Ledger};
use super::filter::Traits;
use super::outlet::{Outlet, Taken};
use super::view::{Counts, FeedState};
use crate::contract::{EventReader, EventSource, FeedBatch, Sift, SourceError};
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
    pub(super) outlet: Arc<dyn Outlet>,
    pub(super) current: watch::Receiver<Arc<Current>>,
    pub(super) stop: watch::Receiver<bool>,
    pub(super) counts: Arc<Counts>,
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
        self.counts.failures.fetch_add(1, Relaxed);
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
        self.counts.waiting_bytes.store(0, Relaxed);
        if ledger.deadline().is_some() {
            self.commit(reader.as_mut(), &mut ledger);
        }
        reader.close().await;
        ended
    }

    async fn pump(
        &mut self,
        reader: &mut dyn EventReader,
        ledger: &mut Ledger,
    ) -> Result<Ended, SourceError> {
        let mut ahead = Ahead::default();
        let mut sieve = Sieve::new(&self.current, self.outlet.most());
        loop {
            let rests = ahead.is_full();
            self.say(if rests { FeedState::Resting } else { FeedState::Reading }, None);
            self.counts.waiting_bytes.store(ahead.bytes() as u64, Relaxed);
            let due = ledger.deadline();
            tokio::select! {
                biased;
                () = until(&mut self.stop, |stop| *stop) => return Ok(Ended::Stopped),
                parcel = ahead.taken(ledger) => match parcel {
                    Some(parcel) => { self.counts.delivered.fetch_add(parcel.values as u64, Relaxed); }
                    None => return Ok(Ended::Stopped),
                },
                () = Ledger::due(due) => self.commit(reader, ledger),
                changed = self.current.changed() => {
                    if changed.is_err() {
                        return Ok(Ended::Stopped);
                    }
                    if self.current.borrow().index.is_empty() {
                        return Ok(Ended::Idle);
                    }
                    sieve = Sieve::new(&self.current, self.outlet.most());
                }
                batch = next(reader, rests, &mut sieve) => {
                    self.take(batch?, &mut sieve, &mut ahead, ledger);
                    // A feed that always has more must not keep the thread for itself.
                    tokio::task::yield_now().await;
                }
            }
        }
    }

    /// Hands what was kept to the outlet.
    fn take(&self, batch: FeedBatch, sieve: &mut Sieve, ahead: &mut Ahead, ledger: &mut Ledger) {
        sieve.count(&self.counts);
        let FeedBatch { kept, reached } = batch;
        if kept.is_empty() {
            return ahead.skip(reached, ledger);
        }
        let (taken, hears) = Taken::channel();
        ahead.push(kept.len(), kept.bytes(), reached, hears);
        self.outlet.hand_over(kept, taken);
    }

    fn commit(&self, reader: &mut dyn EventReader, ledger: &mut Ledger) {
        let done = reader.commit(&ledger.positions());
        if let Err(error) = &done {
            counter!(catalog::SUBSCRIPTION_COMMIT_FAILURES).increment(1);
            tracing::debug!(source = self.source.name(), "a commit was refused: {}", crate::chain(error));
        }
        ledger.attempted(done.is_ok());
    }
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

/// The filters of the moment, and what they made of the records since the last count.
struct Sieve {
    current: Arc<Current>,
    most: usize,
    scratch: Vec<u8>,
    read: u64,
    matched: u64,
    replayed: u64,
    too_large: u64,
}

impl Sieve {
    fn new(current: &watch::Receiver<Arc<Current>>, most: usize) -> Self {
        let current = Arc::clone(&current.borrow());
        Self { current, most, scratch: Vec::new(), read: 0, matched: 0, replayed: 0, too_large: 0 }
    }

    fn count(&mut self, counts: &Counts) {
        for (counter, count) in [
            (&counts.read, &mut self.read),
            (&counts.matched, &mut self.matched),
            (&counts.replayed, &mut self.replayed),
            (&counts.too_large, &mut self.too_large),
        ] {
            counter.fetch_add(std::mem::take(count), Relaxed);
        }
    }
}

impl Sift for Sieve {
    fn keeps<'h>(&mut self, headers: &mut dyn Iterator<Item = (&'h str, &'h [u8])>, bytes: usize) -> bool {
        self.read += 1;
        let traits = Traits::of(headers);
        if traits.is_replay {
            self.replayed += 1;
            return false;
        }
        if !self.current.index.matches(&traits, &mut self.scratch) {
            return false;
        }
        self.matched += 1;
        if bytes > self.most {
            self.too_large += 1;
            tracing::warn!(
                bytes,
                most = self.most,
                "a subscribed event is larger than a NATS message; it is left out"
            );
            return false;
        }
        true
    }
}
