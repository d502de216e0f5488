//! What holds of the program itself after every fault, whatever it delivers to.
//!
//! Owns three of the five invariants: the books are exact; no panic, and descriptors, threads and memory are within their
//! bounds; PING was answered within a second, and readiness tells the truth. Left out: order and duplicates, which the reader
//! of the backend sees (`rig` for Kafka). Invariant: every test of a fault ends here, in [`assert_held`].

use std::path::Path;
use std::time::{Duration, Instant};

use crate::Daemon;
use crate::pings::Pings;

/// A PING is answered within this.
const PONG_LIMIT: Duration = Duration::from_secs(1);
/// The end of an outage is told within two seconds; a busy machine gets a third.
const TRUTH: Duration = Duration::from_secs(3);
/// What the program may use beside its budget, in bytes.
const BESIDE_THE_BUDGET: f64 = 8.0 * 1024.0 * 1024.0;

/// Descriptors and threads of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Footprint {
    /// Open file descriptors.
    pub descriptors: usize,
    /// Threads.
    pub threads: usize,
}

impl Footprint {
    /// Of the program now.
    #[must_use]
    pub fn of(daemon: &Daemon) -> Self {
        let count = |what: &str| {
            std::fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).map_or(0, Iterator::count)
        };
        Self { descriptors: count("fd"), threads: count("task") }
    }

    /// Of a program that has just started, once it delivers to one broker: its client has four threads, which wake each other
    /// by descriptors, and a connection; the spool of a class is read, and a thread or two do blocking work.
    #[must_use]
    pub fn delivering_to_kafka(mut self) -> Self {
        self.descriptors += 10;
        self.threads += 6;
        self
    }

    /// After an outage of all brokers: the client of Kafka then begins anew at the addresses that it was given (KIP-899), and
    /// keeps a connection to each beside those to the brokers.
    #[must_use]
    pub fn bootstrapped_again(mut self, addresses: usize) -> Self {
        self.descriptors += addresses;
        self
    }
}

/// The program is watched from here on, for tests whose load is not [`crate::load::Load`].
pub struct Vigil {
    before: Footprint,
    pings: Pings,
}

impl Vigil {
    /// Over a program that has what it needs: its connections count as used already.
    #[must_use]
    pub fn over(daemon: &Daemon) -> Self {
        Self { before: Footprint::of(daemon), pings: Pings::start(daemon.nats()) }
    }

    /// With so many descriptors and threads more: connections, files and workers that the program has yet to start, and keeps.
    #[must_use]
    pub fn with(mut self, descriptors: usize, threads: usize) -> Self {
        self.before.descriptors += descriptors;
        self.before.threads += threads;
        self
    }

    /// Kills the program and starts it again, under the same eyes: who asks PING finds it again, and what a life leaves behind is
    /// held against the footprint of the first. What ends with a life is judged before.
    pub fn kill_and_restart(&self, daemon: &mut Daemon) {
        assert_prompt(self.pings.slowest());
        assert_unharmed(daemon);
        assert_small(daemon);
        daemon.kill_and_restart();
    }

    /// Waits until everything is delivered, and demands that the invariants held.
    pub fn assert_held(self, daemon: &Daemon, patience: Duration) {
        let slowest = self.pings.slowest();
        drop(self.pings);
        assert_held(daemon, self.before, slowest, patience);
    }
}

/// Waits until everything is delivered, and demands the invariants about the program: `before` is what it used before the
/// fault, `slowest` the slowest PONG since.
pub fn assert_held(daemon: &Daemon, before: Footprint, slowest: Duration, patience: Duration) {
    drain(daemon, patience);
    assert_books(daemon);
    assert_ready(daemon);
    assert_whole(daemon, before);
    assert_small(daemon);
    assert_prompt(slowest);
}

/// Fifth invariant: no PONG was late.
fn assert_prompt(slowest: Duration) {
    assert!(slowest <= PONG_LIMIT, "a PING waited {slowest:?} for its PONG");
}

/// Waits until nothing is held.
pub fn drain(daemon: &Daemon, patience: Duration) {
    let held = || daemon.metric("cim_records_held");
    cim_services::until("everything to be delivered", patience, || held() < 0.5);
}

/// First invariant.
pub fn assert_books(daemon: &Daemon) {
    let page = daemon.get("/metrics").unwrap_or_default();
    let books = page.lines().filter(|line| line.starts_with("cim_records_")).collect::<Vec<_>>().join("\n");
    assert!(daemon.books_balance(), "the books do not balance:\n{books}");
}

/// What came, each number once: a delivery whose answer was lost, or that a kill took before its position was saved, comes again
/// as a whole. Panics where one is behind a higher one and was not there before.
#[must_use]
pub fn first_copies(numbers: impl IntoIterator<Item = usize>) -> Vec<usize> {
    let mut first: Vec<usize> = Vec::new();
    for number in numbers {
        match first.last() {
            Some(last) if number <= *last => {
                assert!(first.binary_search(&number).is_ok(), "{number} came behind {last}");
            }
            _ => first.push(number),
        }
    }
    first
}

/// Second invariant: it did not panic, and uses no more descriptors and threads than before.
pub fn assert_whole(daemon: &Daemon, before: Footprint) {
    assert_unharmed(daemon);
    let now = || Footprint::of(daemon);
    let back = || now().descriptors <= before.descriptors && now().threads <= before.threads;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !back() {
        let names = || used(daemon).join(" ");
        assert!(Instant::now() < deadline, "{:?} and not back to {before:?}: {}", now(), names());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The part of it that needs no waiting: neither the program nor a part of it has died.
fn assert_unharmed(daemon: &Daemon) {
    let stderr = daemon.stderr();
    assert!(!stderr.contains("panicked"), "{stderr}");
    assert!(daemon.metric("cim_part_restarts_total") < 0.5, "a part was started again");
}

/// What its descriptors lead to, and the names of its threads.
fn used(daemon: &Daemon) -> Vec<String> {
    let each = |what: &str, name: fn(&Path) -> Option<String>| -> Vec<String> {
        let entries = std::fs::read_dir(format!("/proc/{}/{what}", daemon.pid())).into_iter().flatten();
        entries.filter_map(|entry| name(&entry.ok()?.path())).collect()
    };
    let target = |path: &Path| Some(std::fs::read_link(path).ok()?.display().to_string());
    let thread = |path: &Path| Some(std::fs::read_to_string(path.join("comm")).ok()?.trim().to_owned());
    let mut all = [each("fd", target), each("task", thread)].concat();
    all.sort();
    all
}

/// Second invariant: at no time did it use more memory than its budget and a little.
pub fn assert_small(daemon: &Daemon) {
    let (most, limit) = (peak_bytes(daemon), daemon.metric("cim_memory_budget_bytes") + BESIDE_THE_BUDGET);
    assert!(most as f64 <= limit, "{most} bytes of memory at the peak, {limit} are allowed");
}

/// The most memory that it ever used in this life, in bytes.
#[must_use]
pub fn peak_bytes(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

/// Fifth invariant: once everything is delivered, nothing is called degraded any more.
pub fn assert_ready(daemon: &Daemon) {
    let page = || daemon.get("/readyz").unwrap_or_default();
    let what = format!("the end of the outage to be told: {}", page());
    cim_services::until(&what, TRUTH, || !page().contains("degraded"));
}

/// The reason and the error of each dead letter, as `cim dlq list` tells them beside the running program.
#[must_use]
pub fn letters(daemon: &Daemon) -> Vec<(String, String)> {
    let mut command = std::process::Command::new(crate::binary());
    command.args(["dlq", "list", "--output", "json"]).arg(daemon.home().join("spool"));
    let output = command.env_clear().output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let letters: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout).unwrap();
    let text = |letter: &serde_json::Value, name: &str| letter[name].as_str().unwrap().to_owned();
    letters.iter().map(|letter| (text(letter, "reason"), text(letter, "error"))).collect()
}
