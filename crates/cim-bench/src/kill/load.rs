//! The producers of a kill loop: a fixed rate, whatever happens to the server, and a surge when told.
//!
//! The trigger is one more producer, on the thread of the caller: it says when something has just been accepted, which is
//! the hardest moment for a kill.
//!
//! Leaves out the server. Log producers are numbered from 1, event producers from 1001: the class of a source can be
//! told by its number.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use super::plan::KillPlan;
use crate::deck::Traffic;
use crate::error::{BenchError, Result};
use crate::ledger::Ledger;
use crate::pace::Pace;
use crate::producer::{Producer, ProducerSpec};

/// Number of the first event producer.
const FIRST_EVENT_PRODUCER: u32 = 1001;
/// Time between two PINGs of a producer.
const BARRIER_EVERY: Duration = Duration::from_millis(10);
/// Producers run this many percent above the rate of the plan: it is a lower bound, and reconnecting takes time.
const MARGIN_PERCENT: u64 = 5;
/// Longest absence of the server.
const RECONNECT_FOR: Duration = Duration::from_secs(30);

/// Whether this is the ledger of an event producer.
pub(super) fn is_event(ledger: &Ledger) -> bool {
    ledger.producer >= FIRST_EVENT_PRODUCER
}

/// Accepted messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    pub logs: u64,
    pub events: u64,
}

/// Running producers.
pub(super) struct Load {
    trigger: Producer,
    stop: Arc<AtomicBool>,
    surge: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Ledger>>>,
    logs: Vec<Arc<AtomicU64>>,
    events: Vec<Arc<AtomicU64>>,
}

impl Load {
    pub(super) fn start(plan: &KillPlan, address: SocketAddr) -> Result<Self> {
        let number = plan.log_producers.saturating_add(1);
        let trigger = Producer::connect(spec(plan, address, Traffic::Log, number))?;
        let mut load = Self {
            logs: vec![trigger.accepted_gauge()],
            trigger,
            stop: Arc::default(),
            surge: Arc::default(),
            threads: Vec::new(),
            events: Vec::new(),
        };
        for number in 0..plan.log_producers {
            let rate = plan.rate_log.div_ceil(u64::from(plan.log_producers));
            let gauge = load.add(plan, address, Traffic::Log, number.saturating_add(1), rate)?;
            load.logs.push(gauge);
        }
        for number in 0..plan.event_producers {
            let rate = plan.rate_event.div_ceil(u64::from(plan.event_producers));
            let number = FIRST_EVENT_PRODUCER.saturating_add(number);
            let gauge = load.add(plan, address, Traffic::Event, number, rate)?;
            load.events.push(gauge);
        }
        Ok(load)
    }

    fn add(
        &mut self,
        plan: &KillPlan,
        address: SocketAddr,
        traffic: Traffic,
        producer: u32,
        rate: u64,
    ) -> Result<Arc<AtomicU64>> {
        let mut producer = Producer::connect(spec(plan, address, traffic, producer))?;
        let gauge = producer.accepted_gauge();
        let stop = Arc::clone(&self.stop);
        // One producer is enough: it fills a socket buffer faster than any server empties it.
        let surge = if producer.ledger().producer == 1 { Arc::clone(&self.surge) } else { Arc::default() };
        let rate = rate.saturating_mul(100 + MARGIN_PERCENT).div_ceil(100);
        let pace = Pace { rate, barrier_every: BARRIER_EVERY };
        self.threads.push(std::thread::spawn(move || {
            pace.run_with_surges(&mut producer, &stop, &surge)?;
            Ok(producer.ledger().clone())
        }));
        Ok(gauge)
    }

    /// What the producers know to be accepted. Everything in it was accepted before the call.
    pub(super) fn accepted(&self) -> Accepted {
        let sum = |gauges: &[Arc<AtomicU64>]| gauges.iter().map(|gauge| gauge.load(Ordering::Acquire)).sum();
        Accepted { logs: sum(&self.logs), events: sum(&self.events) }
    }

    /// One producer publishes without pause besides its schedule, for that long and until [`Load::calm`]; returns when
    /// CIM has just accepted a message, with more before and behind it.
    pub(super) fn strike(&mut self, after: Duration) -> Result<()> {
        self.surge.store(true, Ordering::Relaxed);
        std::thread::sleep(after);
        self.trigger.round_trip()
    }

    /// Back to the schedule.
    pub(super) fn calm(&self) {
        self.surge.store(false, Ordering::Relaxed);
    }

    /// After a restart: connects the trigger to the new life.
    pub(super) fn rejoin(&mut self) -> Result<()> {
        self.trigger.barrier().map(|_| ())
    }

    /// Stops publishing; each producer ends with a barrier, so the server must be up.
    pub(super) fn finish(mut self) -> Result<Vec<Ledger>> {
        self.stop.store(true, Ordering::Relaxed);
        self.trigger.barrier()?;
        let mut ledgers = vec![self.trigger.ledger().clone()];
        for thread in std::mem::take(&mut self.threads) {
            ledgers.push(thread.join().map_err(|_| BenchError::Unclean("a producer failed".into()))??);
        }
        Ok(ledgers)
    }
}

fn spec(plan: &KillPlan, address: SocketAddr, traffic: Traffic, producer: u32) -> ProducerSpec {
    ProducerSpec {
        traffic,
        run: plan.run(),
        reconnect_for: RECONNECT_FOR,
        ..ProducerSpec::logs(address, producer, plan.payload)
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
