//! What the deliveries of a sink and the thread that serves its client have in common.
//!
//! Owns the ledgers of both classes, the place where a working client is found, and the orders for the thread. Left
//! out: the thread (`keeper`), deliveries (`delivery`). Invariant: records are given only to the client in the slot, and a
//! new one gets there only after the one before is gone with everything it held.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering as Memory};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_core::{Class, catalog};
use metrics::{counter, gauge};
use rdkafka::error::RDKafkaErrorCode;
use tokio::sync::{Notify, watch};

use crate::flush::Flusher;
use crate::ledger::Ledger;
use crate::link::Link;
use crate::openings::Openings;
use crate::reports::Client;
use crate::settings::KafkaSettings;
use crate::topic::Topic;

/// One class on its way.
#[derive(Debug)]
pub(crate) struct Lane {
    pub topic: Topic,
    ledger: Mutex<Ledger>,
    /// Held while records are given to the client: one delivery at a time, in the order they were called.
    pub press: tokio::sync::Mutex<Press>,
}

/// What giving records to the client needs.
#[derive(Debug, Default)]
pub(crate) struct Press {
    pub value: Vec<u8>,
    pub openings: Openings,
}

impl Lane {
    fn new(topic: Topic) -> Self {
        Self { topic, ledger: Mutex::default(), press: tokio::sync::Mutex::default() }
    }

    pub(crate) fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A client, and the number that tells it from those before.
#[derive(Clone)]
pub(crate) struct Live {
    pub client: Arc<Client>,
    pub life: u64,
}

/// The client of the moment.
#[derive(Clone)]
pub(crate) enum Slot {
    /// None; one is made when a delivery asks for it.
    Vacant,
    /// Ready to take records.
    Live(Live),
    /// It could not be made, and why.
    Broken(String),
}

/// How a client is to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// What is on its way may still be acknowledged.
    Drain,
    /// At once: nobody waits for what it holds.
    Purge,
}

/// Orders for the thread.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    pub wanted: bool,
    pub end: Option<End>,
    pub closed: bool,
}

/// What both sides share.
pub(crate) struct Shared {
    pub name: String,
    pub link: Link,
    pub flusher: Arc<Flusher>,
    /// Clients that ended so far.
    rebuilds: AtomicU64,
    /// Without a single report for so long the brokers do not answer, whatever the connection looks like.
    pub answer_time: Duration,
    logs: Lane,
    events: Lane,
    slot: watch::Sender<Slot>,
    /// The life of the client that may take records; 0 for none.
    door: Mutex<u64>,
    orders: Mutex<Orders>,
    bell: Condvar,
    closed: AtomicBool,
    /// The thread has ended.
    pub ended: Notify,
}

impl Shared {
    pub(crate) fn new(name: String, settings: &KafkaSettings) -> Self {
        let lane = |topic: &str| Lane::new(Topic::new(topic, settings.refresh()));
        Self {
            name,
            link: Link::new(settings.give_up_after.get()),
            flusher: Arc::default(),
            rebuilds: AtomicU64::new(0),
            answer_time: settings.answer_time(),
            logs: lane(&settings.logs_topic),
            events: lane(&settings.events_topic),
            slot: watch::Sender::new(Slot::Vacant),
            door: Mutex::new(0),
            orders: Mutex::default(),
            bell: Condvar::new(),
            closed: AtomicBool::new(false),
            ended: Notify::new(),
        }
    }

    pub(crate) fn lane(&self, class: Class) -> &Lane {
        match class {
            Class::Log => &self.logs,
            Class::Event => &self.events,
        }
    }

    pub(crate) fn lanes(&self) -> [&Lane; 2] {
        [&self.logs, &self.events]
    }

    /// Records that the client has and has not reported on.
    pub(crate) fn held(&self) -> usize {
        self.lanes().iter().map(|lane| lane.ledger().held()).sum()
    }

    pub(crate) fn slot(&self) -> watch::Receiver<Slot> {
        self.slot.subscribe()
    }

    /// Whether a client may take records now.
    pub(crate) fn is_live(&self) -> bool {
        matches!(*self.slot.borrow(), Slot::Live(_))
    }

    /// Fills the slot, or empties it. When this returns, the client that was there takes nothing any more.
    pub(crate) fn put(&self, slot: Slot) {
        let life = if let Slot::Live(live) = &slot { live.life } else { 0 };
        *self.door.lock().unwrap_or_else(PoisonError::into_inner) = life;
        let _ = self.slot.send_replace(slot);
    }

    /// Runs `give` while the client of that life may take records. `None`: it may not. Without this, a delivery that found
    /// the client before it began to give records back would put one behind those, and on the wire before them.
    pub(crate) fn while_open<T>(&self, life: u64, give: impl FnOnce() -> T) -> Option<T> {
        let open = self.door.lock().unwrap_or_else(PoisonError::into_inner);
        (*open == life).then(give)
    }

    /// Gives an order to the thread.
    pub(crate) fn order(&self, change: impl FnOnce(&mut Orders)) {
        change(&mut self.orders.lock().unwrap_or_else(PoisonError::into_inner));
        self.bell.notify_all();
    }

    /// Waits for an order that `pick` understands.
    pub(crate) fn wait_for<T>(&self, mut pick: impl FnMut(&mut Orders) -> Option<T>) -> T {
        let mut orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            if let Some(picked) = pick(&mut orders) {
                return picked;
            }
            orders = self.bell.wait(orders).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// How the client is to end, if it is.
    pub(crate) fn end(&self) -> Option<End> {
        let orders = self.orders.lock().unwrap_or_else(PoisonError::into_inner);
        if orders.closed { Some(End::Purge) } else { orders.end }
    }

    pub(crate) fn close(&self) {
        self.closed.store(true, Memory::Release);
        self.order(|orders| orders.closed = true);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Memory::Acquire)
    }

    /// Notes that the client gave a record back; `may_be_stored`, as far as it knows.
    pub(crate) fn failed(&self, class: Class, code: RDKafkaErrorCode, may_be_stored: bool) {
        // The library's own codes are negative; with one of the protocol, a broker has answered.
        if code as i32 > 0 {
            self.link.answered();
        }
        if may_be_stored || tells_nothing_of_what_is_stored(code) {
            self.may_be_doubled(1);
        }
        match code {
            RDKafkaErrorCode::TopicAuthorizationFailed
            | RDKafkaErrorCode::UnknownTopic
            | RDKafkaErrorCode::UnknownTopicOrPartition
            | RDKafkaErrorCode::UnknownPartition => self.lane(class).topic.doubt(),
            _ => {}
        }
    }

    // Counted where it happens, and not as a total: after a reload another sink has the same name.
    pub(crate) fn may_be_doubled(&self, records: u64) {
        counter!(catalog::KAFKA_POSSIBLE_DUPLICATES, "sink" => self.name.clone()).increment(records);
    }

    pub(crate) fn rebuilt(&self) {
        self.rebuilds.fetch_add(1, Memory::Relaxed);
        if self.is_closed() {
            // Nobody replaces that one.
            return;
        }
        counter!(catalog::KAFKA_REBUILDS, "sink" => self.name.clone()).increment(1);
    }

    /// Clients that ended so far.
    pub(crate) fn rebuilds(&self) -> u64 {
        self.rebuilds.load(Memory::Relaxed)
    }

    /// Shows how many brokers are connected, and the counters although nothing was counted.
    pub(crate) fn show(&self, connected: usize) {
        let connected = u32::try_from(connected).unwrap_or(u32::MAX);
        gauge!(catalog::KAFKA_BROKERS, "sink" => self.name.clone()).set(connected);
        counter!(catalog::KAFKA_REBUILDS, "sink" => self.name.clone()).increment(0);
        self.may_be_doubled(0);
    }
}

/// Whether a broker may have a record for which the client says that none has, because it was given back for that reason.
fn tells_nothing_of_what_is_stored(code: RDKafkaErrorCode) -> bool {
    use RDKafkaErrorCode as Code;
    matches!(
        code,
        Code::OutOfOrderSequenceNumber
            | Code::InvalidProducerEpoch
            | Code::ProducerFenced
            | Code::UnknownProducerId
            // An answer that ends too early.
            | Code::Underflow
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "test code: a failed step is the failure")]

    use cim_core::Identity;
    use rdkafka::config::FromClientConfigAndContext as _;

    use super::*;
    use crate::client_config::Recipe;
    use crate::reports::Reports;

    #[test]
    fn a_refusal_is_an_answer_of_a_broker_and_a_loss_is_none() {
        let settings = KafkaSettings::read(&serde_json::json!({ "brokers": ["a:1"] })).unwrap();
        for (code, is_up) in [
            (RDKafkaErrorCode::InvalidRecord, true),
            (RDKafkaErrorCode::MessageSizeTooLarge, true),
            (RDKafkaErrorCode::PurgeQueue, false),
            (RDKafkaErrorCode::MessageTimedOut, false),
        ] {
            let shared = Shared::new("broker".to_owned(), &settings);
            shared.link.begin();
            shared.failed(Class::Log, code, false);
            assert_eq!(shared.link.is_up(), is_up, "{code:?}");
        }
    }

    #[test]
    fn a_client_that_is_to_end_takes_nothing_any_more() {
        let settings = KafkaSettings::read(&serde_json::json!({ "brokers": ["127.0.0.1:1"] })).unwrap();
        let shared = Arc::new(Shared::new("broker".to_owned(), &settings));
        let config = Recipe::new(settings, &Identity::default()).client_config().unwrap();
        let reports = Reports::new(Arc::clone(&shared));
        let client = Arc::new(Client::from_config_and_context(&config, reports).unwrap());
        assert_eq!(shared.while_open(1, || ()), None, "there is none yet");
        shared.put(Slot::Live(Live { client, life: 1 }));
        assert_eq!(shared.while_open(1, || ()), Some(()));
        assert_eq!(shared.while_open(2, || ()), None, "another one");
        shared.put(Slot::Vacant);
        assert_eq!(shared.while_open(1, || ()), None);
    }
}
