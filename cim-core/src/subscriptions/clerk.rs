//! The letters of notifications that were given up, and of those that a person put back.
//!
//! Owns the work on both stores: one job at a time, beside the runtime, again after a pause when a store fails. Left out: who is
//! given up and what is done with what comes back (`desk`). Invariants: a dead one is told to be buried only when its letter is
//! stored (or there is no store at all, which is said); one that was put back is forgotten only when all before it are settled.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use metrics::counter;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};

use super::lane::Lane;
use super::settling::{Dead, Rules, Why};
use super::tally::Tallies;
use crate::catalog;
use crate::deadletter::{Letter, Letters, NotPut, Place};

/// Bytes of letters that are taken back together.
const LOAD: usize = 256 << 10;
/// Rest after a store failed.
const PAUSE: Duration = Duration::from_secs(1);

type Numbered = Vec<(u64, Letter)>;

/// What a job does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Job {
    /// The first grave becomes a letter.
    Bury,
    /// The first grave is larger than the whole store.
    Drop,
    /// What was put back before that number is forgotten.
    Forget(u64),
    /// More of what was put back is read.
    Load,
}

/// What a job came to.
#[derive(Debug)]
pub(super) enum Done {
    /// The letter is stored.
    Buried(Dead),
    /// These were put back.
    Back(Numbered),
    /// Nothing for the desk.
    Nothing,
}

/// The clerk of one desk.
#[derive(Debug)]
pub(super) struct Clerk {
    letters: Option<Letters>,
    rules: Rules,
    tallies: Arc<Tallies>,
    graves: VecDeque<Dead>,
    /// Where the letter of the first grave is, while the disk has not taken it for sure.
    place: Option<Place>,
    job: Option<(Job, JoinHandle<Result<Numbered, NotPut>>)>,
    /// No job before that.
    rests_until: Option<Instant>,
    /// How far what was put back is settled.
    settled: Lane,
    /// Number of the next letter that was put back, and whether there may be one.
    next: u64,
    has_more: bool,
    may_load: bool,
}

impl Clerk {
    pub(super) fn new(letters: Option<Letters>, rules: Rules, tallies: Arc<Tallies>) -> Self {
        tallies.set_trouble(None);
        Self {
            has_more: letters.is_some(),
            letters,
            rules,
            tallies,
            graves: VecDeque::new(),
            place: None,
            job: None,
            rests_until: None,
            settled: Lane::default(),
            next: 0,
            may_load: true,
        }
    }

    /// Takes one that was given up.
    pub(super) fn bury(&mut self, dead: Dead) {
        self.graves.push_back(dead);
    }

    /// One of those that were put back is settled.
    pub(super) fn release(&mut self, record: i64) {
        self.settled.release(record);
    }

    /// Begins what may be begun. `may_load`: there is room for what was put back.
    pub(super) fn work(&mut self, may_load: bool) {
        self.may_load = may_load;
        let Some(letters) = self.letters.clone().filter(|_| self.job.is_none() && self.rests_until.is_none())
        else {
            return;
        };
        if let Some(dead) = self.graves.front() {
            let (letter, place) = (self.letter(dead), self.place);
            if letters.dead.can_hold(&letter) {
                self.begin(Job::Bury, move || letters.dead.put(&letter, place).map(|()| Vec::new()));
            } else {
                self.begin(Job::Drop, || Ok(Vec::new()));
            }
        } else if let Some(next) = self.settled.news().and_then(|next| u64::try_from(next).ok()) {
            let forget = move || match next.checked_sub(1) {
                Some(last) => Ok(letters.again.forget_through(last).map(|_| Vec::new())?),
                None => Ok(Vec::new()),
            };
            self.begin(Job::Forget(next), forget);
        } else if self.has_more && may_load {
            let next = self.next;
            self.begin(Job::Load, move || Ok(letters.again.some_from(next, LOAD)?));
        }
    }

    fn begin(&mut self, job: Job, work: impl FnOnce() -> Result<Numbered, NotPut> + Send + 'static) {
        self.job = Some((job, spawn_blocking(work)));
    }

    /// Waits until a job is done, or another may begin.
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn news(&mut self) -> Done {
        let Some(letters) = &self.letters else { return self.without_store().await };
        let job = async {
            match self.job.as_mut() {
                Some((_, job)) => job.await,
                None => std::future::pending().await,
            }
        };
        let rest = async {
            match self.rests_until {
                Some(until) => sleep_until(until).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            result = job => self.ended(result.unwrap_or_else(|panic| Err(io::Error::other(panic).into()))),
            () = letters.again.is_new() => {
                self.has_more = true;
                Done::Nothing
            }
            () = rest => {
                self.rests_until = None;
                Done::Nothing
            }
        }
    }

    /// Without a store what was given up is lost.
    async fn without_store(&mut self) -> Done {
        let Some(dead) = self.graves.pop_front() else { return std::future::pending().await };
        self.dropped(dead, "no dead-letter store")
    }

    fn dropped(&self, dead: Dead, why: &'static str) -> Done {
        let (reason, error) = self.reason(&dead);
        tracing::error!(
            subscription = %dead.key.subscription, seq = dead.seq, reason, error,
            "notification dropped: {why}"
        );
        Done::Buried(dead)
    }

    fn ended(&mut self, result: Result<Numbered, NotPut>) -> Done {
        let Some((job, _)) = self.job.take() else { return Done::Nothing };
        let found = match result {
            Ok(found) => found,
            Err(error) => {
                if job == Job::Bury {
                    self.place = error.place.or(self.place);
                }
                self.rests_until = Some(Instant::now() + PAUSE);
                let trouble =
                    format!("the store of dead letters cannot be used; again in {PAUSE:?}: {error}");
                tracing::error!("{trouble}");
                self.tallies.set_trouble(Some(trouble));
                return Done::Nothing;
            }
        };
        self.tallies.set_trouble(None);
        match job {
            Job::Bury => {
                self.place = None;
                self.graves.pop_front().map_or(Done::Nothing, |dead| self.told(dead))
            }
            Job::Drop => match self.graves.pop_front() {
                Some(dead) => self.dropped(dead, "larger than the whole dead-letter store"),
                None => Done::Nothing,
            },
            Job::Forget(next) => {
                self.settled.noted(i64::try_from(next).unwrap_or(i64::MAX));
                Done::Nothing
            }
            Job::Load => self.loaded(found),
        }
    }

    fn loaded(&mut self, found: Numbered) -> Done {
        let Some((last, _)) = found.last() else {
            self.has_more = false;
            return Done::Nothing;
        };
        self.next = last + 1;
        let record = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        found.iter().for_each(|(number, _)| self.settled.hold(record(*number)));
        self.settled.reach(record(self.next));
        Done::Back(found)
    }

    fn told(&self, dead: Dead) -> Done {
        let (reason, error) = self.reason(&dead);
        counter!(catalog::SUBSCRIPTION_DEAD_LETTERS, "reason" => reason).increment(1);
        tracing::warn!(
            subscription = %dead.key.subscription, seq = dead.seq, reason, error,
            "notification moved to the dead letters"
        );
        Done::Buried(dead)
    }

    fn letter(&self, dead: &Dead) -> Letter {
        let (reason, error) = self.reason(dead);
        Letter::notification(&dead.key.subscription, dead.seq, reason, &error, &dead.value)
    }

    /// Kind and text of why it was given up.
    fn reason(&self, dead: &Dead) -> (&'static str, String) {
        let deliveries = dead.deliveries;
        match &dead.why {
            Why::Terminated(reason) if reason.is_empty() => {
                ("terminated", format!("the application gave it up at delivery {deliveries}"))
            }
            Why::Terminated(reason) => {
                ("terminated", format!("the application gave it up at delivery {deliveries}: {reason}"))
            }
            Why::Refused => {
                ("refused", format!("the application asked for it again at delivery {deliveries}"))
            }
            Why::Unanswered => {
                let wait = self.rules.ack_wait;
                ("not_answered", format!("no answer to delivery {deliveries} within {wait:?}"))
            }
        }
    }
}

#[cfg(test)]
mod tests;
