//! Copies of diagnostics among the logs: each message also as a line of the container `cim`.
//!
//! Owns which messages are copied, and the queue before the log route. Left out: the form of a line (`line`). The
//! invariants: nobody waits for a copy; a message about the way of a record is never copied, so that no copy can lead to
//! another one; a copy takes no room from the application's records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use cim_core::supervisor::OnPanic;
use cim_core::{Cim, catalog, clock};
use metrics::counter;
use tokio::sync::{Mutex, mpsc, watch};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;

use super::line;

/// The container that the lines belong to.
const CONTAINER: &str = "cim";
/// Lines that wait for their turn; further ones are dropped and counted.
const WAITING: usize = 256;
/// Parts of the program that are on no way of a log record.
const COPIED: [&str; 7] = [
    "cim_program",
    "cim_core::configuration",
    "cim_core::subscriptions",
    "cim_app",
    "cim_api",
    "cim_nats",
    "cim_config_",
];
/// Parts among them that watch it.
const LEFT_OUT: [&str; 3] =
    ["cim_program::diagnostics::", "cim_program::lost_receivers", "cim_program::backends"];

/// The way of the copies. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Copies {
    shared: Arc<Shared>,
    lines: mpsc::Sender<String>,
}

#[derive(Debug)]
struct Shared {
    on: AtomicBool,
    taken: AtomicU64,
    dropped: AtomicU64,
    /// The other end, held by whoever follows.
    lines: Mutex<mpsc::Receiver<String>>,
}

impl Copies {
    /// Copies that begin to be made at once, or when they are switched on.
    pub(super) fn new(on: bool) -> Self {
        let (lines, waiting) = mpsc::channel(WAITING);
        let shared = Shared {
            on: AtomicBool::new(on),
            taken: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            lines: Mutex::new(waiting),
        };
        Self { shared: Arc::new(shared), lines }
    }

    /// Switches on or off.
    pub(super) fn set(&self, on: bool) {
        self.shared.on.store(on, Ordering::Relaxed);
    }

    /// The part that looks at messages.
    pub(super) fn layer(&self) -> CopyLayer {
        CopyLayer(self.clone())
    }

    /// Brings the lines to the log route of that engine until `stop`, also those that wait already.
    pub(super) fn follow(&self, cim: &Cim, id: String, stop: &watch::Receiver<bool>) {
        let (shared, intake, stop) = (Arc::clone(&self.shared), cim.intake(), stop.clone());
        cim.supervisor().task("copies of diagnostics", OnPanic::Restart, move || {
            let (shared, intake, id, mut stop) =
                (Arc::clone(&shared), intake.clone(), id.clone(), stop.clone());
            async move {
                let mut lines = shared.lines.lock().await;
                loop {
                    let line = tokio::select! {
                        line = lines.recv() => line,
                        _ = stop.wait_for(|stop| *stop) => None,
                    };
                    let Some(line) = line else { return };
                    if intake.own_log(CONTAINER, &id, line.as_bytes()).is_ok() {
                        shared.taken.fetch_add(1, Ordering::Relaxed);
                    } else {
                        shared.dropped.fetch_add(1, Ordering::Relaxed);
                    }
                }
            }
        });
    }

    /// Writes the counts to the `metrics` facade.
    pub(super) fn publish(&self) {
        let Shared { taken, dropped, .. } = &*self.shared;
        for (result, count) in [("taken", taken), ("dropped", dropped)] {
            counter!(catalog::DIAGNOSTICS_COPIES, "result" => result).absolute(count.load(Ordering::Relaxed));
        }
    }
}

impl Copies {
    /// Queues a line, unless it is not to be copied or there is no room.
    fn offer(&self, target: &str, line: impl FnOnce() -> String) {
        let Self { shared, lines } = self;
        if shared.on.load(Ordering::Relaxed) && is_copied(target) && lines.try_send(line()).is_err() {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The copies among the layers of the subscriber.
pub(super) struct CopyLayer(Copies);

impl<S: Subscriber> Layer<S> for CopyLayer {
    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        self.0.offer(event.metadata().target(), || line::of(event, clock::now()));
    }
}

fn is_copied(target: &str) -> bool {
    let among = |parts: &[&str]| parts.iter().any(|part| target.starts_with(part));
    among(&COPIED) && !among(&LEFT_OUT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_without_anybody_to_take_it_is_dropped_and_counted_and_nobody_waits() {
        let copies = Copies::new(true);
        for number in 0..1000 {
            copies.offer("cim_program::reload", || number.to_string());
            copies.offer("cim_core::delivery::worker", || "about a record".to_owned());
        }
        assert_eq!(copies.shared.dropped.load(Ordering::Relaxed), 1000 - WAITING as u64);
        copies.set(false);
        copies.offer("cim_program::reload", || "switched off".to_owned());
        assert_eq!(copies.shared.dropped.load(Ordering::Relaxed), 1000 - WAITING as u64);
    }

    #[test]
    fn what_is_about_the_way_of_a_record_is_never_copied() {
        for target in [
            "cim_core::delivery::resolve",
            "cim_core::queue::fault",
            "cim_core::cim::routes",
            "cim_core::intake::signals",
            "cim_core::supervisor",
            "cim_core::leftovers",
            "cim_spool::stream",
            "cim_sink_kafka::reports",
            "cim_orchestrator_kubernetes::server",
            "cim_program::diagnostics::throttle",
            "cim_program::backends::tcp_tls",
            "librdkafka",
        ] {
            assert!(!is_copied(target), "{target}");
        }
        for target in [
            "cim_program::said",
            "cim_program::diagnostics",
            "cim_core::configuration::driver",
            "cim_config_etcd::watch",
            "cim_nats",
        ] {
            assert!(is_copied(target), "{target}");
        }
    }
}
