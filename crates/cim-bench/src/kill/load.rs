//! The producers of a kill loop: a fixed rate, whatever happens to the server.
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
pub(super) const FIRST_EVENT_PRODUCER: u32 = 1001;
/// Time between two PINGs of a producer.
const BARRIER_EVERY: Duration = Duration::from_millis(10);
/// Longest absence of the server.
const RECONNECT_FOR: Duration = Duration::from_secs(30);

/// Accepted messages so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Accepted {
    pub logs: u64,
    pub events: u64,
}

/// Running producers.
pub(super) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<Result<Ledger>>>,
    logs: Vec<Arc<AtomicU64>>,
    events: Vec<Arc<AtomicU64>>,
}

impl Load {
    pub(super) fn start(plan: &KillPlan, address: SocketAddr) -> Result<Self> {
        let mut load =
            Self { stop: Arc::default(), threads: Vec::new(), logs: Vec::new(), events: Vec::new() };
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
        let mut producer = Producer::connect(ProducerSpec {
            traffic,
            run: plan.run(),
            reconnect_for: RECONNECT_FOR,
            ..ProducerSpec::logs(address, producer, plan.payload)
        })?;
        let gauge = producer.accepted_gauge();
        let stop = Arc::clone(&self.stop);
        let pace = Pace { rate, barrier_every: BARRIER_EVERY };
        self.threads.push(std::thread::spawn(move || {
            pace.run(&mut producer, &stop)?;
            Ok(producer.ledger().clone())
        }));
        Ok(gauge)
    }

    /// What the producers know to be accepted. Everything in it was accepted before the call.
    pub(super) fn accepted(&self) -> Accepted {
        let sum = |gauges: &[Arc<AtomicU64>]| gauges.iter().map(|gauge| gauge.load(Ordering::Acquire)).sum();
        Accepted { logs: sum(&self.logs), events: sum(&self.events) }
    }

    /// Stops publishing; each producer ends with a barrier, so the server must be up.
    pub(super) fn finish(mut self) -> Result<Vec<Ledger>> {
        self.stop.store(true, Ordering::Relaxed);
        let threads = std::mem::take(&mut self.threads);
        threads
            .into_iter()
            .map(|thread| thread.join().map_err(|_| BenchError::Unclean("a producer failed".into()))?)
            .collect()
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}
