//! An application that publishes numbered logs and events for as long as a test wants.
//!
//! Owns what was published and what of it is known to be accepted. Left out: what became of it (`check`). Invariant: a number
//! is published once, and counts as accepted only after the PONG behind it.

use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::pings::Pings;
use crate::{Wire, publication};

/// Log messages between two PINGs.
const STEP: usize = 100;

/// What is published.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Log messages per second, at most.
    pub rate: u32,
    /// Bytes of a log line.
    pub bytes: usize,
    /// Containers the lines come from, in turn.
    pub sources: usize,
    /// An event with every so many lines.
    pub event_every: usize,
}

impl Plan {
    /// A load that can run for minutes.
    pub const GENTLE: Self = Self { rate: 500, bytes: 200, sources: 4, event_every: 50 };
}

impl Default for Plan {
    fn default() -> Self {
        Self { rate: 2_000, bytes: 200, sources: 4, event_every: 50 }
    }
}

/// What was published in the end: the lines 0 to `published`, and the events among them.
#[derive(Debug, Clone)]
pub struct Published {
    /// How it was published.
    pub plan: Plan,
    /// Lines published.
    pub lines: usize,
    /// Lines whose acceptance is not known: the connection ended before the PONG.
    pub uncertain: Vec<Range<usize>>,
}

impl Published {
    /// Whether the line, and the event beside it, is known to be accepted.
    #[must_use]
    pub fn is_accepted(&self, line: usize) -> bool {
        line < self.lines && !self.uncertain.iter().any(|range| range.contains(&line))
    }

    /// Numbers of the events that were published.
    pub fn events(&self) -> impl Iterator<Item = usize> {
        (0..self.lines).step_by(self.plan.event_every)
    }
}

/// A running application.
#[derive(Debug)]
pub struct Load {
    lines: Arc<AtomicUsize>,
    pings: Pings,
    stop: Arc<AtomicBool>,
    publisher: JoinHandle<Vec<Range<usize>>>,
    plan: Plan,
}

impl Load {
    /// Starts publishing, and asks PING on a second connection ten times a second.
    #[must_use]
    pub fn start(nats: SocketAddr, plan: Plan) -> Self {
        let (lines, stop) = <(Arc<AtomicUsize>, Arc<AtomicBool>)>::default();
        let publisher = {
            let (lines, stop) = (Arc::clone(&lines), Arc::clone(&stop));
            std::thread::spawn(move || publish(nats, plan, &lines, &stop))
        };
        Self { lines, pings: Pings::start(nats), stop, publisher, plan }
    }

    /// Lines accepted so far, or lost with a connection.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines.load(Ordering::Relaxed)
    }

    /// The longest a PING has waited for its PONG so far, on the connection that publishes nothing.
    #[must_use]
    pub fn slowest_pong(&self) -> Duration {
        self.pings.slowest()
    }

    /// Waits until so many more lines are accepted.
    pub fn wait_for(&self, lines: usize) {
        let target = self.lines() + lines;
        crate::until(&format!("{lines} more lines"), || self.lines() >= target);
    }

    /// Lets it run for so long: the length of an outage.
    pub fn run_for(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            assert!(!self.publisher.is_finished(), "the publisher has failed");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it after the PONG of its last message.
    #[must_use]
    pub fn stop(self) -> Published {
        self.stop.store(true, Ordering::Relaxed);
        let uncertain = self.publisher.join().expect("the publisher");
        Published { plan: self.plan, lines: self.lines.load(Ordering::Relaxed), uncertain }
    }
}

fn publish(nats: SocketAddr, plan: Plan, lines: &AtomicUsize, stop: &AtomicBool) -> Vec<Range<usize>> {
    let mut uncertain = Vec::new();
    let mut wire = None;
    let start = Instant::now();
    let mut next = 0;
    while !stop.load(Ordering::Relaxed) {
        let Some(connected) = wire.as_mut() else {
            wire = Wire::try_connect(nats).ok();
            std::thread::sleep(Duration::from_millis(20));
            continue;
        };
        let step = next..next + STEP;
        if send(connected, plan, step.clone()).is_err() {
            uncertain.push(step.clone());
            wire = None;
        }
        next = step.end;
        lines.store(next, Ordering::Relaxed);
        let due = Duration::from_secs_f64(next as f64 / f64::from(plan.rate));
        std::thread::sleep(due.saturating_sub(start.elapsed()));
    }
    uncertain
}

fn send(wire: &mut Wire, plan: Plan, step: Range<usize>) -> io::Result<()> {
    let mut bytes = Vec::new();
    for n in step {
        bytes.extend(publication("LOG", &line(n, plan)));
        if n % plan.event_every == 0 {
            bytes.extend(publication("EVENT", &event(n)));
        }
    }
    wire.try_send(&bytes)?;
    wire.try_flush()
}

/// Line number `n`, as a JSON log.
fn line(n: usize, plan: Plan) -> Vec<u8> {
    let source = n % plan.sources;
    let filler = "x".repeat(plan.bytes);
    format!(
        "{{\"container_name\":\"app-{source}\",\"container_id\":\"{source}\",\"log\":\"{n:08} {filler}\"}}"
    )
    .into_bytes()
}

/// The event beside line `n`.
fn event(n: usize) -> Vec<u8> {
    format!("{{\"eventName\":\"E{n:08}\",\"eventTime\":1617181723000}}").into_bytes()
}
