//! Notifications that ask for an answer, from the reading of their record to their end.
//!
//! Owns who is sent when, how often, and what an answer or its absence leads to. Pure: time is given, nothing is sent or stored
//! here. Invariants: each notification ends once, by `settled` or as one of the `dead`; at most `max_pending` of a subscription
//! are out at a time, and they go out in the order of their coming, repetitions excepted; nobody's silence is counted that was not there to hear.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::answer::{Answer, Heard, Key};
use super::outlet::Request;
use super::tally::Tallies;
use crate::Pauses;

/// Pause after the first delivery that came to nothing; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// What the settings say of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long an answer is waited for.
    pub ack_wait: Duration,
    /// Deliveries before a notification is given up.
    pub max_deliver: u32,
    /// Notifications of one subscription that are out at a time.
    pub max_pending: usize,
}

/// Why a notification was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Why {
    /// The application said so, for that reason.
    Terminated(String),
    /// The application asked for it again, once too often.
    Refused,
    /// No answer came.
    Unanswered,
}

/// A notification that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Dead {
    pub(super) key: Key,
    pub(super) why: Why,
    pub(super) deliveries: u32,
    /// Number that its letter shows.
    pub(super) seq: u64,
    pub(super) value: Bytes,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// In the line of its subscription.
    Waiting,
    /// Given to the outlet.
    Away,
    /// An application has it.
    Out,
    /// To be sent again at its time.
    Pausing,
    /// Given up; its letter is being written.
    Dead,
}

#[derive(Debug)]
struct Pending {
    value: Bytes,
    seq: u64,
    /// How often an application had it.
    deliveries: u32,
    state: State,
    timer: Option<(Instant, u64)>,
}

/// Those of one subscription.
#[derive(Debug, Default)]
struct Line {
    /// How many are neither waiting nor ended.
    out: usize,
    waiting: VecDeque<Key>,
}

/// What is to be done now.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Due {
    pub(super) send: Vec<(Key, Request)>,
    pub(super) dead: Vec<Dead>,
    pub(super) settled: Vec<Key>,
}

/// All of them.
#[derive(Debug)]
pub(super) struct Settling {
    rules: Rules,
    tallies: Arc<Tallies>,
    pending: HashMap<Key, Pending>,
    lines: HashMap<Arc<str>, Line>,
    /// Lines that may have something to send.
    touched: Vec<Arc<str>>,
    timers: BTreeMap<(Instant, u64), Key>,
    next_timer: u64,
    bytes: usize,
    /// Lines in which something waits.
    backed_up: usize,
    due: Due,
}

impl Settling {
    pub(super) fn new(rules: Rules, tallies: Arc<Tallies>) -> Self {
        tallies.nothing_pending();
        Self {
            rules,
            tallies,
            pending: HashMap::new(),
            lines: HashMap::new(),
            touched: Vec::new(),
            timers: BTreeMap::new(),
            next_timer: 0,
            bytes: 0,
            backed_up: 0,
            due: Due::default(),
        }
    }

    /// Bytes of the values of those that have not ended; one that several subscriptions ask for counts for each.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether a subscription has more than may be out.
    pub(super) fn is_backed_up(&self) -> bool {
        self.backed_up > 0
    }

    /// Takes a notification; false when it is there already, because its record was read again.
    pub(super) fn add(&mut self, key: Key, seq: u64, value: Bytes) -> bool {
        if self.pending.contains_key(&key) {
            return false;
        }
        self.bytes += value.len();
        self.tallies.of(&key.subscription, |tally| tally.pending += 1);
        let line = self.lines.entry(Arc::clone(&key.subscription)).or_default();
        self.backed_up += usize::from(line.waiting.is_empty());
        line.waiting.push_back(key.clone());
        self.touched.push(Arc::clone(&key.subscription));
        self.pending.insert(key, Pending { value, seq, deliveries: 0, state: State::Waiting, timer: None });
        true
    }

    /// When to look again; `None`: not before something else happens.
    pub(super) fn next_look(&self) -> Option<Instant> {
        self.timers.first_key_value().map(|((at, _), _)| *at)
    }

    /// What is to be done now.
    pub(super) fn look(&mut self, now: Instant) -> Due {
        while let Some((&(at, number), _)) = self.timers.first_key_value()
            && at <= now
            && let Some(key) = self.timers.remove(&(at, number))
        {
            self.rang(&key, now);
        }
        for subscription in std::mem::take(&mut self.touched) {
            self.advance(&subscription);
        }
        std::mem::take(&mut self.due)
    }

    /// An application has that delivery.
    pub(super) fn taken(&mut self, key: &Key, delivery: u32, now: Instant) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        if pending.state == State::Away && pending.deliveries + 1 == delivery {
            pending.deliveries = delivery;
            pending.state = State::Out;
            self.ring(key, now + self.rules.ack_wait);
        }
    }

    /// An answer came. One to a delivery before the last counts if it ends the notification.
    pub(super) fn heard(&mut self, heard: Heard, now: Instant) {
        let Heard { key, delivery, answer } = heard;
        // Who answers has it, whatever the outlet has told.
        self.taken(&key, delivery, now);
        let Some(pending) = self.pending.get(&key) else { return };
        let is_last = pending.state == State::Out && pending.deliveries == delivery;
        match answer {
            _ if pending.state == State::Dead => {}
            Answer::Done => self.end(key),
            Answer::Never(reason) => self.give_up(&key, Why::Terminated(reason)),
            Answer::Working if is_last => self.ring(&key, now + self.rules.ack_wait),
            Answer::Again(pause) if is_last => self.failed(&key, Why::Refused, pause, now),
            Answer::Working | Answer::Again(_) => {}
        }
    }

    /// The letter of one of the dead is stored, or it was dropped.
    pub(super) fn buried(&mut self, key: Key) {
        if self.pending.get(&key).is_some_and(|pending| pending.state == State::Dead) {
            self.tallies.of(&key.subscription, |tally| tally.dead += 1);
            self.end(key);
        }
    }

    /// Ends those that fail the test, without a word.
    pub(super) fn retain(&mut self, is_wanted: impl Fn(&Key) -> bool) {
        let gone: Vec<Key> = self.pending.keys().filter(|key| !is_wanted(key)).cloned().collect();
        gone.into_iter().for_each(|key| self.end(key));
    }

    /// Whether it has not ended.
    #[cfg(test)]
    pub(super) fn is_pending(&self, key: &Key) -> bool {
        self.pending.contains_key(key)
    }

    fn rang(&mut self, key: &Key, now: Instant) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        pending.timer = None;
        match pending.state {
            State::Pausing => self.send(key.clone()),
            State::Out => self.failed(key, Why::Unanswered, None, now),
            State::Waiting | State::Away | State::Dead => {}
        }
    }

    fn advance(&mut self, subscription: &Arc<str>) {
        loop {
            let Some(line) = self.lines.get_mut(subscription) else { return };
            if line.out >= self.rules.max_pending {
                return;
            }
            let Some(key) = line.waiting.pop_front() else { return };
            line.out += 1;
            self.backed_up -= usize::from(line.waiting.is_empty());
            self.send(key);
        }
    }

    fn send(&mut self, key: Key) {
        let Some(pending) = self.pending.get_mut(&key) else { return };
        pending.state = State::Away;
        let delivery = pending.deliveries + 1;
        if delivery > 1 {
            self.tallies.of(&key.subscription, |tally| tally.redelivered += 1);
        }
        let request = Request {
            name: key.name(delivery),
            subscription: Arc::clone(&key.subscription),
            delivery,
            value: pending.value.clone(),
        };
        self.due.send.push((key, request));
    }

    fn failed(&mut self, key: &Key, why: Why, pause: Option<Duration>, now: Instant) {
        let Some(pending) = self.pending.get_mut(key) else { return };
        if pending.deliveries >= self.rules.max_deliver {
            return self.give_up(key, why);
        }
        pending.state = State::Pausing;
        let usual = Pauses::after(FIRST_PAUSE, LONGEST_PAUSE, pending.deliveries);
        self.ring(key, now + pause.unwrap_or(usual));
    }

    fn give_up(&mut self, key: &Key, why: Why) {
        self.silence(key);
        let Some(pending) = self.pending.get_mut(key) else { return };
        pending.state = State::Dead;
        self.due.dead.push(Dead {
            key: key.clone(),
            why,
            deliveries: pending.deliveries,
            seq: pending.seq,
            value: pending.value.clone(),
        });
    }

    fn end(&mut self, key: Key) {
        self.silence(&key);
        let Some(pending) = self.pending.remove(&key) else { return };
        self.bytes -= pending.value.len();
        self.tallies.of(&key.subscription, |tally| tally.pending = tally.pending.saturating_sub(1));
        if let Some(line) = self.lines.get_mut(&key.subscription) {
            if pending.state == State::Waiting {
                line.waiting.retain(|other| *other != key);
                self.backed_up -= usize::from(line.waiting.is_empty());
            } else {
                line.out -= 1;
            }
            if line.out == 0 && line.waiting.is_empty() {
                self.lines.remove(&key.subscription);
            } else {
                self.touched.push(Arc::clone(&key.subscription));
            }
        }
        self.due.settled.push(key);
    }

    fn ring(&mut self, key: &Key, at: Instant) {
        self.silence(key);
        let Some(pending) = self.pending.get_mut(key) else { return };
        let timer = (at, self.next_timer);
        self.next_timer += 1;
        pending.timer = Some(timer);
        self.timers.insert(timer, key.clone());
    }

    fn silence(&mut self, key: &Key) {
        if let Some(timer) = self.pending.get_mut(key).and_then(|pending| pending.timer.take()) {
            self.timers.remove(&timer);
        }
    }
}

#[cfg(test)]
mod tests;
