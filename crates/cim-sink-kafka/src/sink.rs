//! The sink: gives batches to the client, in the order they come.
//!
//! Owns the hand-over. Left out: waiting and answering (`delivery`), the client's life (`keeper`). Invariant: records of
//! a class enter the client in the order of the calls, and a call that cannot enter fails those behind it.

use std::sync::atomic::{AtomicBool, Ordering as Memory};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::{
    Batch, Class, CloseError, Component, DeliveryError, DeliveryErrorKind, Durability, Event, EventSink,
    Health, LogRecord, LogSink, Ordering, SinkContext, SinkProfile, async_trait,
};
use rdkafka::error::RDKafkaErrorCode;
use tokio::time::timeout;

use crate::client_config::Recipe;
use crate::delivery::{Delivery, closed, failure, not_taken, unavailable};
use crate::destination::{Destination, Outbound};
use crate::entering::Entering;
use crate::headers::Headers;
use crate::keeper;
use crate::openings::Entry;
use crate::outgoing::{Encoders, Outgoing};
use crate::partition::{self, Key, Partitioning};
use crate::reports::ticket;
use crate::settings::KafkaSettings;
use crate::shared::{End, Lane, Live, Press, Shared, Slot};
use crate::topic::ANSWER_TIME;

/// A full client frees room as acknowledgements come; it does not say when.
const ROOM_PAUSE: Duration = Duration::from_millis(2);
/// Bytes of an encoded value that are kept for the next batch: a long one does not cost its memory for good.
const KEPT_BYTES: usize = 64 << 10;
/// Time for the client to end when the sink is closed.
const CLOSE_TIME: Duration = Duration::from_millis(1_500);

/// What became of a record that was offered to the client.
enum Given {
    Taken,
    /// The client itself does not take it.
    TooLarge,
}

/// Sends records to the topics of a Kafka cluster.
pub struct KafkaSink {
    pub(crate) shared: Arc<Shared>,
    encoders: Encoders,
    headers: Option<Headers>,
    partitioning: Partitioning,
    /// What the thread is made with, until there is one.
    recipe: Mutex<Option<Recipe>>,
    started: AtomicBool,
}

impl KafkaSink {
    /// A sink with these settings. Connects when it is prepared, or with its first delivery.
    #[must_use]
    pub fn new(context: &SinkContext, settings: &KafkaSettings) -> Self {
        let identity = &context.identity;
        Self {
            shared: Arc::new(Shared::new(context.name.clone(), settings)),
            encoders: Encoders::new(identity, context.log_format),
            headers: settings.headers.then(|| Headers::new(identity)),
            partitioning: settings.partitioning,
            recipe: Mutex::new(Some(Recipe::new(settings.clone(), identity))),
            started: AtomicBool::new(false),
        }
    }

    /// Five batches of at most 1.5 MiB are on their way at once: as much as the queue of the client holds, so that a broker that
    /// takes its time is never without work. A batch holds few enough records that what the client adds to each stays below that.
    fn profile() -> SinkProfile {
        SinkProfile {
            max_records: 2_048,
            max_bytes: 3 << 19,
            max_in_flight: 5,
            ordering: Ordering::Ordered,
            durability: Durability::Remote,
            deliver_timeout: None,
            inline: true,
        }
    }

    async fn deliver_all<R: Outgoing>(&self, batch: &Batch<R>) -> Result<(), DeliveryError> {
        let Some(first) = batch.records().first().map(R::meta) else { return Ok(()) };
        if self.shared.is_closed() {
            return Err(closed());
        }
        let lane = self.shared.lane(R::CLASS);
        let seqs: Vec<u64> = batch.iter().map(|record| record.meta().seq).collect();
        let mut delivery = Delivery::begin(&self.shared, lane, first.epoch, first.seq);
        let mut too_large = Vec::new();
        let mut outcome = self.hand_over(batch, &seqs, &mut delivery, &mut too_large).await;
        if outcome.is_ok() {
            outcome = delivery.settled().await;
        }
        delivery.answer(&seqs, &too_large, outcome.err())
    }

    /// Gives the client what it does not hold yet.
    async fn hand_over<R: Outgoing>(
        &self,
        batch: &Batch<R>,
        seqs: &[u64],
        delivery: &mut Delivery<'_>,
        too_large: &mut Vec<usize>,
    ) -> Result<(), DeliveryError> {
        let mut press = delivery.lane.press.lock().await;
        let outcome = self.enter(batch, seqs, delivery, &mut press, too_large).await;
        if outcome.is_err() {
            // Before the next call has its turn: it must not overtake this one.
            delivery.lane.ledger().break_off();
        }
        outcome
    }

    async fn enter<R: Outgoing>(
        &self,
        batch: &Batch<R>,
        seqs: &[u64],
        delivery: &mut Delivery<'_>,
        press: &mut Press,
        too_large: &mut Vec<usize>,
    ) -> Result<(), DeliveryError> {
        let new = delivery.claim(seqs)?;
        if new.is_empty() {
            return Ok(());
        }
        let live = self.client().await?;
        delivery.check()?;
        let topic = &delivery.lane.topic;
        let mut quiet = delivery.quiet();
        let hope = || {
            // A client that is to end waits for all who use it.
            self.shared.while_open(live.life, || ()).ok_or_else(replaced)?;
            delivery.hope(&mut quiet)
        };
        let partitions =
            topic.partitions(Arc::clone(&live.client), &self.shared.link, ANSWER_TIME, hope).await?;
        // The client that held the others of the batch may be gone by now, and they with it.
        delivery.check_order()?;
        press.openings.under((live.life, topic.doubts()));
        let records = || new.iter().filter_map(|position| batch.records().get(*position));
        let numbers = records().map(|record| record.meta().seq).collect();
        let to = Destination::new(&live, topic.name()).map_err(|code| not_taken(&live, topic, code))?;
        let mut entering = Entering::begin(delivery.lane, delivery.call, numbers);
        for (position, record) in new.iter().zip(records()) {
            match self.give(record, delivery, press, &to, partitions).await? {
                Given::Taken => entering.given(),
                Given::TooLarge => {
                    entering.refused();
                    too_large.push(*position);
                }
            }
        }
        self.shared.flusher.flush(&live.client);
        press.value.clear();
        press.value.shrink_to(KEPT_BYTES);
        Ok(())
    }

    /// Gives one record to the client, as soon as it may go.
    async fn give<R: Outgoing>(
        &self,
        record: &R,
        delivery: &Delivery<'_>,
        press: &mut Press,
        to: &Destination<'_>,
        partitions: i32,
    ) -> Result<Given, DeliveryError> {
        let (lane, seq) = (delivery.lane, record.meta().seq);
        press.value.clear();
        record.encode(&self.encoders, &mut press.value);
        let partition = self.partition(record, partitions);
        let (mut first, mut waited) = (false, false);
        loop {
            match press.openings.enter(partition, seq, |seq| lane.ledger().fate(seq)) {
                Entry::Open => break,
                Entry::Alone => break first = true,
                Entry::Wait(seq) => {
                    self.shared.flusher.flush(&to.live.client);
                    delivery.reported(seq).await?;
                    waited = true;
                }
                Entry::Failed(code) => return Err(failure(code)),
            }
        }
        let mut quiet = None;
        loop {
            if waited {
                // Records before this one may have been given back meanwhile.
                delivery.check_order()?;
            }
            match self.send(record, &press.value, partition, to) {
                Ok(()) => break,
                Err(RDKafkaErrorCode::QueueFull) => {
                    self.shared.flusher.flush(&to.live.client);
                    delivery.hope(quiet.get_or_insert_with(|| delivery.quiet()))?;
                    tokio::time::sleep(ROOM_PAUSE).await;
                    waited = true;
                }
                Err(RDKafkaErrorCode::MessageSizeTooLarge) => return Ok(Given::TooLarge),
                Err(RDKafkaErrorCode::PurgeQueue) => return Err(replaced()),
                Err(code) => return Err(not_taken(to.live, &lane.topic, code)),
            }
        }
        if first {
            press.openings.sent(partition, seq);
        }
        Ok(Given::Taken)
    }

    fn partition<R: Outgoing>(&self, record: &R, partitions: i32) -> i32 {
        match (record.key(&self.encoders), self.partitioning) {
            (Some(key), _) => key.partition(partitions),
            (None, Partitioning::BySource) => {
                let (name, id) = record.source();
                partition::of_source(name, id, partitions)
            }
            (None, Partitioning::Spread) => partition::of_number(record.meta().seq, partitions),
        }
    }

    fn send<R: Outgoing>(
        &self,
        record: &R,
        value: &[u8],
        partition: i32,
        to: &Destination<'_>,
    ) -> Result<(), RDKafkaErrorCode> {
        let meta = record.meta();
        let outbound = Outbound {
            partition,
            key: record.key(&self.encoders).map(Key::text),
            value,
            headers: self.headers.as_ref().map(|headers| headers.of(meta, record.received_headers())),
            ticket: ticket(R::CLASS, meta.seq),
        };
        // What the client would have done with it, if it takes no more.
        self.shared
            .while_open(to.live.life, || to.send(outbound))
            .unwrap_or(Err(RDKafkaErrorCode::PurgeQueue))
    }

    /// The client, made if there is none.
    pub(crate) async fn client(&self) -> Result<Live, DeliveryError> {
        self.start()?;
        let mut slot = self.shared.slot();
        let mut asked = false;
        loop {
            let now = slot.borrow_and_update().clone();
            match now {
                Slot::Live(live) => return Ok(live),
                Slot::Broken(why) if asked => {
                    let what = format!("the client cannot be made: {why}");
                    return Err(DeliveryError::new(DeliveryErrorKind::Misconfigured, what));
                }
                Slot::Vacant | Slot::Broken(_) => {}
            }
            // Each time: the one that was asked for may have been made and have ended since.
            asked = true;
            self.shared.order(|orders| orders.wanted = true);
            if self.shared.is_closed() {
                return Err(closed());
            }
            // The one before is still ending, which takes a bounded time.
            if timeout(Duration::from_secs(15), slot.changed()).await.is_err() {
                return Err(unavailable("the client before has not ended yet"));
            }
        }
    }

    /// Starts the thread, once.
    fn start(&self) -> Result<(), DeliveryError> {
        if self.started.load(Memory::Acquire) {
            return Ok(());
        }
        let mut recipe = self.recipe.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(kept) = recipe.clone() {
            // Kept when there is no thread to be had: the next delivery asks again.
            keeper::start(Arc::clone(&self.shared), kept).map_err(|error| {
                unavailable("cannot start the thread of the kafka client").with_source(error)
            })?;
            *recipe = None;
            self.started.store(true, Memory::Release);
        }
        Ok(())
    }

    /// Takes everything back from the client: whoever offered it will not offer it again. The client is one for both
    /// classes, so the other one gets its records back as well, and sends them again.
    async fn take_back(&self, lane: &Lane) {
        if lane.ledger().held() > 0 {
            let mut slot = self.shared.slot();
            self.shared.order(|orders| orders.end = Some(End::Purge));
            let gone = slot.wait_for(|_| lane.ledger().held() == 0);
            if timeout(CLOSE_TIME, gone).await.is_err() {
                tracing::warn!(sink = %self.shared.name, "the client is slow to give records back; they may be doubled");
            }
        }
        // Acknowledged after the engine was told that there is no hope.
        let untold = lane.ledger().forget_untold();
        self.shared.may_be_doubled(untold as u64);
    }
}

fn replaced() -> DeliveryError {
    unavailable("the client is being replaced")
}

impl Drop for KafkaSink {
    fn drop(&mut self) {
        self.shared.close();
    }
}

#[async_trait]
impl Component for KafkaSink {
    fn name(&self) -> &str {
        &self.shared.name
    }

    async fn probe(&self) -> Health {
        if self.shared.is_closed() {
            return Health::Degraded("the sink is closed".to_owned());
        }
        let held = self.shared.held();
        if let Some(complaint) = self.shared.link.complaint() {
            // Only a client finds out that brokers are back, and with nothing to deliver nobody else asks for one.
            if matches!(*self.shared.slot().borrow(), Slot::Vacant) {
                self.shared.order(|orders| orders.wanted = true);
            }
            return Health::Degraded(format!("{complaint}; {held} records wait in the client"));
        }
        let complaint = self.shared.lanes().iter().find_map(|lane| lane.topic.complaint());
        complaint.map_or(Health::Ready, Health::Degraded)
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.shared.close();
        // A client that holds nothing has nothing to give back, and its thread ends within a moment.
        if !self.started.load(Memory::Acquire) || self.shared.held() == 0 {
            return Ok(());
        }
        let ended = self.shared.ended.notified();
        if timeout(CLOSE_TIME, ended).await.is_err() {
            return Err(CloseError("the kafka client has not ended in time".to_owned(), None));
        }
        self.shared.ended.notify_one();
        Ok(())
    }
}

#[async_trait]
impl LogSink for KafkaSink {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }

    async fn prepare(&self) {
        self.get_ready(Class::Log).await;
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        self.deliver_all(batch).await
    }

    async fn abandon(&self) {
        self.take_back(self.shared.lane(Class::Log)).await;
    }
}

#[async_trait]
impl EventSink for KafkaSink {
    fn profile(&self) -> SinkProfile {
        Self::profile()
    }

    async fn prepare(&self) {
        self.get_ready(Class::Event).await;
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        self.deliver_all(batch).await
    }

    async fn abandon(&self) {
        self.take_back(self.shared.lane(Class::Event)).await;
    }
}
