//! The end, in stages.
//!
//! Nothing new comes in → workers deliver what is there → at their limit they stop, and the rest stays in the spool →
//! positions and data are made durable → components close. [`Cim::drain`] is the first half, [`Cim::close`] the second; between
//! them [`Cim::undelivered`] tells what is left. The caller has stopped its listeners before. Invariant: each half ends within
//! the time it was given, whatever a sink does, apart from disks that do not answer.

use std::time::{Duration, Instant};

use super::Cim;
use super::generation::close_all;
use crate::delivery::Phase;
use cim_wire::Class;

/// What the engine leaves behind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StopReport {
    /// Records delivered in this life.
    pub delivered: u64,
    /// Records in the dead-letter store since this start.
    pub dead_lettered: u64,
    /// Records that wait in the spool for the next start.
    pub held: u64,
    /// Records given up in this life, for whatever reason.
    pub dropped: u64,
    /// Something did not end in time.
    pub overdue: bool,
}

impl StopReport {
    /// Exit code of the process: 0 when everything is delivered or held in a persistent spool, 3 otherwise.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.dropped > 0 || self.overdue { 3 } else { 0 }
    }

    /// There is no next start with this spool: what waits in it is given up.
    pub fn give_up_held(&mut self) {
        self.dropped += std::mem::take(&mut self.held);
    }
}

const CLOSE_TIME: Duration = Duration::from_secs(2);
/// Time for workers to notice that delivery is over.
const LAST_LOOK: Duration = Duration::from_millis(500);

impl Cim {
    /// Ends the engine within about `deadline`. A second call returns at once with the same books.
    ///
    /// # Cancel safety
    /// When dropped, the engine is left without intake; call it again to finish.
    pub async fn stop(&self, deadline: Duration) -> StopReport {
        let until = Instant::now() + deadline;
        let drained = self.drain(deadline).await;
        let rest = until.saturating_duration_since(Instant::now()).max(CLOSE_TIME);
        self.close(drained, rest).await
    }

    /// Takes nothing more in, delivers what is there for `limit` at most, and ends delivery. Returns whether everything was
    /// delivered or given up by then.
    ///
    /// # Cancel safety
    /// When dropped, the engine is left without intake; call it again to finish.
    pub async fn drain(&self, limit: Duration) -> bool {
        let inner = &self.inner;
        inner.entrance.close();
        let workers = {
            let generation = inner.generation();
            let _ = generation.phase.send_replace(Phase::Draining);
            generation.workers.clone()
        };
        let drained = tokio::time::timeout(limit, workers.all_ended()).await.is_ok();
        inner.generation().stop();
        if !drained {
            let _ = tokio::time::timeout(LAST_LOOK, workers.all_ended()).await;
        }
        drained
    }

    /// Makes durable what is left after [`Cim::drain`], and closes everything within `limit`. `drained` is what that returned:
    /// without a spool it is overdue not to be.
    ///
    /// # Cancel safety
    /// When dropped, what is left may not be durable yet; call it again to finish.
    pub async fn close(&self, drained: bool, limit: Duration) -> StopReport {
        let inner = &self.inner;
        let until = tokio::time::Instant::now() + limit;
        let (workers, components) = {
            let generation = inner.generation();
            generation.stop();
            (generation.workers.clone(), generation.components.clone())
        };
        let mut overdue = tokio::time::timeout_at(until, workers.all_ended()).await.is_err();
        overdue |= !drained && !inner.storage.is_persistent();
        for class in [Class::Log, Class::Event] {
            let queue = inner.entrance.queue(class);
            queue.stop_sync();
            if let Err(error) = queue.seal() {
                tracing::error!(%error, class = class.as_str(), "cannot save positions; a restart repeats records");
            }
            queue.drop_unstored();
        }
        overdue |= tokio::time::timeout_at(until, inner.upkeep.all_ended()).await.is_err();
        close_all(&components, until.saturating_duration_since(tokio::time::Instant::now())).await;
        self.report(overdue)
    }

    fn report(&self, overdue: bool) -> StopReport {
        let mut report = StopReport { overdue, ..StopReport::default() };
        // Sinks that left their route on the way have done a part of it.
        let books = [Class::Log, Class::Event].map(|class| self.inner.entrance.queue(class).books());
        for (_, books) in books.into_iter().flatten() {
            report.delivered += books.delivered;
            report.dead_lettered += books.dead_lettered;
            report.held += books.held;
            report.dropped += books.dropped_total();
        }
        report
    }
}
