//! A sink that remembers everything and fails on command.
//!
//! Owns the script of failures and what was kept. Left out: flaws (`mutant`). Invariant: what it keeps is what it
//! was given, in the order in which it was given.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::{
    Batch, Class, CloseError, Component, DeliveryError, DeliveryErrorKind, Event, EventSink, Health,
    LogRecord, LogSink, Meta, Sink, SinkProfile, async_trait,
};
use cim_wire::{EventEncoder, SourceHeaders};
use tokio::sync::watch;

use crate::{CannotExpress, Fault, Harness, Sample};

/// One record as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Its class.
    pub class: Class,
    /// Its numbers.
    pub meta: Meta,
    /// The container it came from.
    pub container: Vec<u8>,
    /// The text of a log line; the JSON of an event, without identity.
    pub body: Vec<u8>,
}

impl Kept {
    /// A log line.
    #[must_use]
    pub fn log(record: &LogRecord<'_>) -> Self {
        Self {
            class: Class::Log,
            meta: record.meta,
            container: record.log.container_name.to_vec(),
            body: record.log.text().to_vec(),
        }
    }

    /// An event.
    #[must_use]
    pub fn event(record: &Event<'_>) -> Self {
        let mut body = Vec::new();
        EventEncoder::new(&SourceHeaders::default()).encode(&record.event, &mut body);
        Self { class: Class::Event, meta: record.meta, container: record.event.container_id.to_vec(), body }
    }
}

/// What one call of `deliver` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Keeps the batch.
    Pass,
    /// Keeps nothing and fails, naming no positions.
    Fail(DeliveryErrorKind),
    /// Keeps so many records and fails, naming the others.
    FailAfter(usize, DeliveryErrorKind),
    /// Keeps the batch and fails all the same: an acknowledgement that got lost.
    LoseAck(DeliveryErrorKind),
    /// Waits, then keeps the batch.
    Delay(Duration),
}

type Poison = Box<dyn Fn(&Kept) -> bool + Send>;

#[derive(Default)]
struct State {
    kept: Vec<Kept>,
    script: VecDeque<Step>,
    down: Option<DeliveryErrorKind>,
    poison: Option<Poison>,
    calls: usize,
    closed: bool,
}

/// Remembers every record; fails as the script says.
pub struct MemorySink {
    name: String,
    profile: Mutex<SinkProfile>,
    state: Mutex<State>,
    open: watch::Sender<bool>,
}

impl std::fmt::Debug for MemorySink {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("MemorySink").field("name", &self.name).finish_non_exhaustive()
    }
}

impl MemorySink {
    /// A sink of that name that takes everything.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            name: name.into(),
            profile: Mutex::new(SinkProfile::default()),
            state: Mutex::default(),
            open: watch::Sender::new(true),
        })
    }

    /// Both sides of it.
    #[must_use]
    pub fn sink(self: &Arc<Self>) -> Sink {
        Sink::both(Arc::clone(self))
    }

    /// Changes limits and promises.
    pub fn set_profile(&self, profile: SinkProfile) {
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner) = profile;
    }

    /// Adds to the script: each call of `deliver` with records takes one step; without one it passes.
    pub fn script(&self, steps: impl IntoIterator<Item = Step>) {
        self.state().script.extend(steps);
    }

    /// Fails every call with that kind, until set to `None`.
    pub fn set_down(&self, kind: Option<DeliveryErrorKind>) {
        self.state().down = kind;
    }

    /// Refuses (`Rejected`, with positions) the records for which `refuses` holds; the others are kept.
    pub fn poison(&self, refuses: impl Fn(&Kept) -> bool + Send + 'static) {
        self.state().poison = Some(Box::new(refuses));
    }

    /// Closes or opens the gate: with a closed one every delivery waits, and nothing is kept meanwhile.
    pub fn set_gate(&self, open: bool) {
        self.open.send_replace(open);
    }

    /// What was kept, in order.
    #[must_use]
    pub fn kept(&self) -> Vec<Kept> {
        self.state().kept.clone()
    }

    /// Forgets what was kept.
    pub fn forget(&self) {
        self.state().kept.clear();
    }

    /// How many calls of `deliver` with records got past the gate.
    #[must_use]
    pub fn calls(&self) -> usize {
        self.state().calls
    }

    /// Whether `close` was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state().closed
    }

    /// Takes records as `deliver` does.
    ///
    /// # Errors
    /// As the script says.
    ///
    /// # Cancel safety
    /// Nothing is kept when the future is dropped.
    pub async fn take(&self, records: Vec<Kept>) -> Result<(), DeliveryError> {
        if records.is_empty() {
            return Ok(());
        }
        let mut open = self.open.subscribe();
        // The sender lives as long as this sink, so the wait ends only by an open gate.
        let _ = open.wait_for(|open| *open).await;
        let step = self.state().script.pop_front().unwrap_or(Step::Pass);
        if let Step::Delay(pause) = step {
            tokio::time::sleep(pause).await;
        }
        let mut state = self.state();
        state.calls += 1;
        if state.closed {
            return Err(DeliveryError::new(DeliveryErrorKind::Closed, "the memory sink is closed"));
        }
        if let Some(kind) = state.down {
            return Err(scripted(kind));
        }
        state.keep(records, &step)
    }

    /// Whether the next delivery is going to fail or to wait.
    pub(crate) fn is_failing(&self) -> bool {
        let state = self.state();
        state.down.is_some() || state.closed || !state.script.is_empty() || !*self.open.borrow()
    }

    /// Keeps the records whatever the script says. For a mutant.
    pub(crate) fn keep(&self, records: Vec<Kept>) {
        self.state().kept.extend(records);
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn keep(&mut self, records: Vec<Kept>, step: &Step) -> Result<(), DeliveryError> {
        let total = records.len();
        match *step {
            Step::Fail(kind) => return Err(scripted(kind)),
            Step::FailAfter(count, kind) => {
                self.kept.extend(records.into_iter().take(count));
                return if count < total {
                    Err(scripted(kind).only((count..total).collect()))
                } else {
                    Ok(())
                };
            }
            Step::Pass | Step::LoseAck(_) | Step::Delay(_) => {}
        }
        let mut refused = Vec::new();
        for (position, record) in records.into_iter().enumerate() {
            if self.poison.as_ref().is_some_and(|refuses| refuses(&record)) {
                refused.push(position);
            } else {
                self.kept.push(record);
            }
        }
        match *step {
            Step::LoseAck(kind) => Err(scripted(kind)),
            _ if refused.is_empty() => Ok(()),
            _ => {
                let error = DeliveryError::new(DeliveryErrorKind::Rejected, "the record is poisonous");
                Err(error.only(refused))
            }
        }
    }
}

fn scripted(kind: DeliveryErrorKind) -> DeliveryError {
    DeliveryError::new(kind, "the script of the memory sink says so")
}

#[async_trait]
impl Component for MemorySink {
    fn name(&self) -> &str {
        &self.name
    }

    async fn probe(&self) -> Health {
        match self.state().down {
            Some(kind) => Health::Degraded(format!("down by script: {}", kind.as_str())),
            None => Health::Ready,
        }
    }

    async fn close(&self) -> Result<(), CloseError> {
        self.state().closed = true;
        Ok(())
    }
}

#[async_trait]
impl LogSink for MemorySink {
    fn profile(&self) -> SinkProfile {
        *self.profile.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn deliver(&self, batch: &Batch<LogRecord<'_>>) -> Result<(), DeliveryError> {
        self.take(batch.iter().map(Kept::log).collect()).await
    }
}

#[async_trait]
impl EventSink for MemorySink {
    fn profile(&self) -> SinkProfile {
        LogSink::profile(self)
    }

    async fn deliver(&self, batch: &Batch<Event<'_>>) -> Result<(), DeliveryError> {
        self.take(batch.iter().map(Kept::event).collect()).await
    }
}

/// The suite's view of a [`MemorySink`], and of anything that writes into one.
#[derive(Debug)]
pub struct MemoryHarness {
    /// Where records end up.
    pub target: Arc<MemorySink>,
    sink: Sink,
    secrets: Vec<String>,
}

impl MemoryHarness {
    /// A harness for what `build` puts in front of a fresh memory sink.
    #[must_use]
    pub fn new(build: impl FnOnce(&Arc<MemorySink>) -> Sink) -> Self {
        let target = MemorySink::new("memory");
        let sink = build(&target);
        Self { target, sink, secrets: Vec::new() }
    }

    /// The same, with texts that must not be shown.
    #[must_use]
    pub fn with_secrets(mut self, secrets: Vec<String>) -> Self {
        self.secrets = secrets;
        self
    }
}

#[async_trait]
impl Harness for MemoryHarness {
    fn build(&self) -> Sink {
        self.sink.clone()
    }

    fn shown(&self, sample: &Sample, class: Class) -> Vec<u8> {
        let mut shown = match class {
            Class::Log => sample.body.clone(),
            Class::Event => Kept::event(&sample.event()).body,
        };
        shown.push(b'\n');
        shown
    }

    async fn read(&self, class: Class) -> Vec<Vec<u8>> {
        let kept = self.target.kept().into_iter().filter(|kept| kept.class == class);
        let bytes = kept.flat_map(|kept| kept.body.into_iter().chain([b'\n']));
        vec![bytes.collect()]
    }

    async fn fail(&self, fault: Fault) -> Result<(), CannotExpress> {
        match fault {
            Fault::Absent => self.target.set_down(Some(DeliveryErrorKind::Unavailable)),
            Fault::CutMidBatch => self.target.script([
                Step::FailAfter(5, DeliveryErrorKind::Unavailable),
                Step::FailAfter(0, DeliveryErrorKind::Unavailable),
            ]),
            Fault::Stalled => self.target.set_gate(false),
        }
        Ok(())
    }

    async fn heal(&self) {
        self.target.set_down(None);
        self.target.set_gate(true);
    }

    fn secrets(&self) -> Vec<String> {
        self.secrets.clone()
    }

    fn patience(&self) -> Duration {
        // Only what never ends waits for so long; a busy machine must not look like that.
        Duration::from_secs(2)
    }
}
