//! The desk at which notifications that ask for an answer are handed out and their answers come in.
//!
//! Owns what is asynchronous about them: the outlet, the answers, the clock. Left out: what follows from what (`settling`), and
//! letters (`clerk`). The invariant: a record is released only when its notification is settled.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use bytes::Bytes;
use metrics::counter;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep_until};

use super::ahead::{Ledger, MOST_WAITING};
use super::answer::{Answers, Heard, Key};
use super::clerk::{Clerk, Done};
use super::outlet::{Outlet, Request, Taken};
use super::settling::{Rules, Settling};
use super::tally::Tallies;
use super::view::Counts;
use crate::catalog;
use crate::deadletter::{Letter, Letters};

/// The lane of notifications that were put back. Lanes of a source are counted from 0.
const AGAIN: i32 = -1;
/// Bytes and messages that are handed out together.
const PARCEL: usize = 128 << 10;
const REQUESTS: usize = 256;

/// What does not change while the process lives.
#[derive(Clone)]
pub(super) struct Fittings {
    pub(super) rules: Rules,
    pub(super) outlet: Arc<dyn Outlet>,
    pub(super) answers: Arc<Answers>,
    /// `None`: there is no spool.
    pub(super) letters: Option<Letters>,
    pub(super) tallies: Arc<Tallies>,
    pub(super) counts: Arc<Counts>,
}

/// Deliveries that were handed out together.
struct Parcel {
    deliveries: Vec<(Key, u32)>,
    bytes: usize,
    taken: oneshot::Receiver<()>,
}

/// What happened at a desk.
pub(super) enum News {
    /// The first parcel is taken, or never will be.
    Taken(bool),
    /// These answers came.
    Heard(VecDeque<Heard>),
    /// The clerk is done with something.
    Stored(Done),
    /// It is time for something.
    Time,
}

/// The desk of one reader.
pub(super) struct Desk {
    fittings: Fittings,
    settling: Settling,
    clerk: Clerk,
    away: VecDeque<Parcel>,
    away_bytes: usize,
    is_full: bool,
}

impl Desk {
    pub(super) fn new(fittings: Fittings) -> Self {
        let tallies = || Arc::clone(&fittings.tallies);
        Self {
            settling: Settling::new(fittings.rules, tallies()),
            clerk: Clerk::new(fittings.letters.clone(), fittings.rules, tallies()),
            away: VecDeque::new(),
            away_bytes: 0,
            is_full: false,
            fittings,
        }
    }

    /// Bytes that wait for the application.
    pub(super) fn bytes(&self) -> usize {
        self.settling.bytes().max(self.away_bytes)
    }

    /// Whether reading has to rest: from the bound on, until half of it is free again.
    pub(super) fn is_full(&mut self) -> bool {
        let limit = if self.is_full { MOST_WAITING / 2 } else { MOST_WAITING };
        self.is_full = self.bytes() >= limit;
        self.is_full || self.settling.is_backed_up()
    }

    /// Takes a notification of a record that was read, and holds the record. [`Desk::look`] hands it out.
    pub(super) fn add(&mut self, key: Key, value: Bytes, ledger: &mut Ledger) {
        let (lane, record) = (key.lane, key.record);
        if self.settling.add(key, u64::try_from(record).unwrap_or(0), value) {
            ledger.hold(lane, record);
        }
    }

    /// Forgets what belongs to subscriptions that are no more, apart from what a person put back.
    pub(super) fn retain(&mut self, is_known: impl Fn(&str) -> bool, ledger: &mut Ledger) {
        self.settling.retain(|key| key.lane == AGAIN || is_known(&key.subscription));
        self.fittings.tallies.retain(is_known);
        self.look(ledger);
    }

    /// Does what is to be done now.
    pub(super) fn look(&mut self, ledger: &mut Ledger) {
        let due = self.settling.look(Instant::now());
        for key in due.settled {
            match key.lane {
                AGAIN => self.clerk.release(key.record),
                lane => ledger.release(lane, key.record),
            }
        }
        due.dead.into_iter().for_each(|dead| self.clerk.bury(dead));
        self.hand_out(due.send);
        let may_load = !self.is_full();
        self.clerk.work(may_load);
    }

    /// Waits until something happens. To be given to [`Desk::follow`].
    ///
    /// # Cancel safety
    /// May be dropped and called again.
    pub(super) async fn news(&mut self) -> News {
        let Self { fittings, settling, clerk, away, .. } = self;
        let taken = async {
            match away.front_mut() {
                Some(parcel) => (&mut parcel.taken).await.is_ok(),
                None => std::future::pending().await,
            }
        };
        let time = async {
            match settling.next_look() {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            is_taken = taken => News::Taken(is_taken),
            heard = fittings.answers.heard() => News::Heard(heard),
            done = clerk.news() => News::Stored(done),
            () = time => News::Time,
        }
    }

    /// Does what follows; false: the outlet has ended.
    pub(super) fn follow(&mut self, news: News, ledger: &mut Ledger) -> bool {
        match news {
            News::Taken(false) => return false,
            News::Taken(true) => self.taken(),
            News::Heard(heard) => {
                let now = Instant::now();
                heard.into_iter().for_each(|heard| self.settling.heard(heard, now));
            }
            News::Stored(Done::Buried(dead)) => self.settling.buried(dead.key),
            News::Stored(Done::Back(letters)) => self.put_back(letters),
            News::Stored(Done::Nothing) | News::Time => {}
        }
        self.look(ledger);
        true
    }

    fn taken(&mut self) {
        let Some(parcel) = self.away.pop_front() else { return };
        self.away_bytes -= parcel.bytes;
        self.fittings.counts.delivered.fetch_add(parcel.deliveries.len() as u64, Relaxed);
        let now = Instant::now();
        for (key, delivery) in &parcel.deliveries {
            self.settling.taken(key, *delivery, now);
        }
    }

    fn put_back(&mut self, letters: Vec<(u64, Letter)>) {
        for (number, letter) in letters {
            let record = i64::try_from(number).unwrap_or(i64::MAX);
            let key = Key { subscription: letter.route.as_str().into(), lane: AGAIN, record };
            self.settling.add(key, letter.seq, Bytes::copy_from_slice(letter.payload()));
        }
    }

    fn hand_out(&mut self, send: Vec<(Key, Request)>) {
        let (mut deliveries, mut requests, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (key, request) in send {
            if request.delivery > 1 {
                counter!(catalog::SUBSCRIPTION_REDELIVERED).increment(1);
            }
            bytes += request.value.len();
            deliveries.push((key, request.delivery));
            requests.push(request);
            if bytes >= PARCEL || requests.len() == REQUESTS {
                self.send(std::mem::take(&mut deliveries), std::mem::take(&mut requests), bytes);
                bytes = 0;
            }
        }
        if !requests.is_empty() {
            self.send(deliveries, requests, bytes);
        }
    }

    fn send(&mut self, deliveries: Vec<(Key, u32)>, requests: Vec<Request>, bytes: usize) {
        let (told, taken) = Taken::channel();
        self.away_bytes += bytes;
        self.away.push_back(Parcel { deliveries, bytes, taken });
        self.fittings.outlet.request(requests, told);
    }
}
