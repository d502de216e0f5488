//! Somebody who asks PING ten times a second, on a connection that publishes nothing.
//!
//! Owns how long the slowest PONG took, without what the asking side itself was late (`lateness`). Left out: what is tolerable
//! (`invariants`). Invariant: a program that is not there is no fault, one that is there and does not answer is.

use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crate::Wire;
use crate::lateness::Echo;

/// One who asks until told to stop.
#[derive(Debug)]
pub struct Pings {
    slowest: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    asking: Option<JoinHandle<()>>,
}

impl Pings {
    /// Begins to ask.
    #[must_use]
    pub fn start(nats: SocketAddr) -> Self {
        let (slowest, stop) = <(Arc<AtomicU64>, Arc<AtomicBool>)>::default();
        let asking = {
            let (slowest, stop) = (Arc::clone(&slowest), Arc::clone(&stop));
            std::thread::spawn(move || ask(nats, &slowest, &stop))
        };
        Self { slowest, stop, asking: Some(asking) }
    }

    /// The longest a PING has waited for its PONG so far, for which the asking side was not late itself.
    #[must_use]
    pub fn slowest(&self) -> Duration {
        Duration::from_millis(self.slowest.load(Ordering::Relaxed))
    }
}

impl Drop for Pings {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(asking) = self.asking.take() {
            let _ = asking.join();
        }
    }
}

fn ask(nats: SocketAddr, slowest: &AtomicU64, stop: &AtomicBool) {
    let echo = Echo::start();
    let mut wire = None;
    while !stop.load(Ordering::Relaxed) {
        let (answer, waited) = echo.time(|| match wire.as_mut() {
            None => Wire::try_connect(nats).map(|connected| wire = Some(connected)),
            Some(connected) => Wire::try_flush(connected),
        });
        let silent = |error: &io::Error| matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
        if answer.as_ref().map_or_else(silent, |()| true) {
            let waited = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
            slowest.fetch_max(waited, Ordering::Relaxed);
        }
        if answer.is_err() {
            wire = None;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}
