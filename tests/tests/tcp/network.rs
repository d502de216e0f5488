//! The way to a receiver that swallows what it is given, in one direction or in both, without a reset; a receiver that is there
//! and does nothing; and one that is gone for long.
//!
//! The proxy in between is a network with a memory: what its kernel has taken and can still hand on, it hands on. So plain lines
//! lose what lies in a connection that leads nowhere, and nothing else; acknowledged chunks lose nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use cim_bench::server::free_port;
use cim_testkit::{Behaviour, ChaosProxy, Direction, Flow};
use cim_tests::invariants::Vigil;
use cim_tests::receiver::Receiver;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE, Wire, has_time, until};

use crate::forward::{self, Received};
use crate::peers::sockets::{Manner, Sockets};
use crate::{EVENT, assert_own, drained, publish_both, tcp, vigil};

/// How long a network is gone.
const OUTAGE: Duration = Duration::from_secs(3);
/// How long a receiver is gone that is gone for long. `CIM_TCP_OUTAGE_SECONDS` changes it.
const LONG_OUTAGE_SECONDS: u64 = 300;
/// Bytes of a line of JSON, at least.
const LINE: usize = 280;

/// An application that goes on publishing.
pub struct Live {
    wire: Wire,
    /// Logs, and as many events, in one go.
    step: usize,
    /// The number of the next one.
    pub next: usize,
}

impl Live {
    pub fn over(daemon: &Daemon, step: usize) -> Self {
        Self { wire: daemon.connect(), step, next: 0 }
    }

    fn publish(&mut self) {
        publish_both(&mut self.wire, self.next..self.next + self.step);
        self.next += self.step;
    }

    /// Goes on until that is so.
    fn until(&mut self, what: &str, mut condition: impl FnMut() -> bool) {
        until(what, || {
            self.publish();
            condition()
        });
    }

    /// Goes on until the status page says that.
    pub fn until_status(&mut self, daemon: &Daemon, text: &str) {
        self.until(text, || daemon.get("/statusz").is_some_and(|page| page.contains(text)));
    }

    /// Goes on until so many more records are delivered.
    pub fn until_delivered(&mut self, daemon: &Daemon, records: f64) {
        let delivered = || daemon.metric("cim_records_delivered_total");
        let target = delivered() + records;
        self.until("more deliveries", || delivered() >= target);
    }

    /// Goes on for so long.
    pub fn run_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        cim_services::until("the end of an outage", time + PATIENCE, || {
            self.publish();
            Instant::now() >= end
        });
    }
}

fn stalled(direction: Direction) -> Behaviour {
    Behaviour::faithful().flow(direction, Flow::faithful().stall())
}

/// Plain lines to a receiver in this process, with a network between.
struct Lines {
    daemon: Daemon,
    vigil: Vigil,
    live: Live,
    proxy: ChaosProxy,
    sockets: Sockets,
}

impl Lines {
    /// Records of both classes arrive.
    fn flowing() -> Self {
        let sockets = Sockets::listen(free_port().unwrap(), Manner::Reads);
        let proxy = ChaosProxy::start(sockets.address, 1).unwrap();
        let keys = format!("address = \"{}\"\nstall_timeout = \"300ms\"", proxy.address());
        let daemon = Daemon::start(&tcp(&keys));
        let vigil = vigil(&daemon);
        let mut live = Live::over(&daemon, 20);
        live.until("the first event", || !sockets.numbers(EVENT).is_empty());
        Self { daemon, vigil, live, proxy, sockets }
    }

    /// The network does that, until the connection is given up and a while longer; then it works again, and so do deliveries.
    fn suffer(&mut self, behaviour: Behaviour) {
        self.proxy.behave(behaviour);
        self.live.until_status(&self.daemon, "has stopped taking data");
        self.live.run_for(OUTAGE);
        let held = self.daemon.metric("cim_records_held");
        assert!(held > 1_000.0, "only {held} records wait: the network was not gone");
        self.proxy.behave(Behaviour::faithful());
        self.live.until_delivered(&self.daemon, 1_000.0);
    }

    /// What arrived of everything, in order, with those faults at most. The books call all of it delivered, and
    /// unacknowledged.
    fn settle(self, faults: &[&str]) -> Capture {
        let Self { daemon, vigil, live, sockets, .. } = self;
        drained(&daemon);
        sockets.await_both(live.next);
        let files = sockets.captures(daemon.home());
        let capture = Capture::of(&files);
        capture.assert_both(faults, live.next);
        assert_own(&capture, &files);
        let count = |what: &str| daemon.metric(&format!("cim_records_{what}_total")) as usize;
        assert!(count("accepted") >= 2 * live.next);
        assert_eq!([count("delivered"), count("delivered_unacknowledged")], [count("accepted"); 2]);
        vigil.assert_held(&daemon, PATIENCE);
        capture
    }
}

/// Lines ask for no answer: that none can come is not noticed, and costs nothing.
#[test]
fn a_network_that_swallows_answers_is_not_noticed_by_plain_lines() {
    let mut lines = Lines::flowing();
    lines.proxy.behave(stalled(Direction::ToClient));
    lines.live.run_for(OUTAGE);
    // While it lasts.
    lines.sockets.await_both(lines.live.next);
    lines.proxy.behave(Behaviour::faithful());
    lines.live.until_delivered(&lines.daemon, 1_000.0);
    assert_eq!(lines.proxy.accepted(), 2, "a connection for each class");
    let _ = lines.settle(&[]);
}

/// What the other end has taken stays in the connection that is given up, and arrives when the network works again; what it has
/// not taken comes over another one, once.
#[test]
fn a_network_that_swallows_lines_loses_none_and_doubles_none() {
    let mut lines = Lines::flowing();
    lines.suffer(stalled(Direction::ToTarget));
    let _ = lines.settle(&["torn", "foreign"]);
}

/// Connections that are made meanwhile lead nowhere for ever: what a kernel took of each is lost, and nothing else. It counts
/// as delivered, and unacknowledged.
#[test]
fn a_network_that_swallows_everything_costs_plain_lines_what_was_in_connections_that_lead_nowhere() {
    let mut lines = Lines::flowing();
    let before = lines.proxy.accepted();
    lines.suffer(Behaviour::blackhole());
    let made = (lines.proxy.accepted() - before) as usize;
    let capture = lines.settle(&["gaps", "torn", "foreign"]);
    let sizes = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_rmem").unwrap();
    let buffer: usize = sizes.split_whitespace().nth(1).unwrap().parse().unwrap();
    assert!(capture.gaps as usize <= made * buffer / LINE, "{capture:?}, {made} connections");
}

/// Acknowledged chunks, while a fault is there that `begin` makes and `end` mends: nothing is lost, and what comes again is the
/// chunk of each class that was on its way.
fn chunks_survive(begin: impl FnOnce(&ChaosProxy, &Receiver), end: impl FnOnce(&ChaosProxy, &Receiver)) {
    let address = free_port().unwrap();
    let proxy = ChaosProxy::start(address, 1).unwrap();
    let keys = format!("{}\nstall_timeout = \"500ms\"", forward::keys(proxy.address(), "1s"));
    let daemon = Daemon::start(&tcp(&keys));
    let file = daemon.home().join("received");
    let Some(receiver) = Receiver::forward(address, &file) else { return };
    let vigil = vigil(&daemon);
    let mut live = Live::over(&daemon, 20);
    live.until_delivered(&daemon, 1_000.0);
    begin(&proxy, &receiver);
    live.until_status(&daemon, "no acknowledgement within");
    let noticed = live.next;
    live.run_for(OUTAGE);
    let held = daemon.metric("cim_records_held");
    assert!(held > 1_000.0, "only {held} records wait: there was no outage");
    end(&proxy, &receiver);
    live.until_delivered(&daemon, 1_000.0);
    drained(&daemon);
    let received = Received::of(&[file], daemon.home());
    for again in [received.assert_logs(live.next), received.assert_events(live.next)] {
        assert_one_chunk(&again, noticed);
    }
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") < 0.5);
    vigil.assert_held(&daemon, PATIENCE);
}

/// What came again stood together, and was published before the outage was noticed.
fn assert_one_chunk(again: &BTreeSet<usize>, noticed: usize) {
    let (Some(first), Some(last)) = (again.first(), again.last()) else { return };
    assert_eq!(again.len(), last + 1 - first, "between {first} and {last} others came once");
    assert!(*last < noticed, "{last} came again, and was published after {noticed}");
}

#[test]
fn a_network_that_swallows_acknowledgements_costs_no_record() {
    chunks_survive(
        |proxy, _| proxy.behave(stalled(Direction::ToClient)),
        |proxy, _| proxy.behave(Behaviour::faithful()),
    );
}

#[test]
fn a_network_that_swallows_chunks_costs_no_record() {
    chunks_survive(
        |proxy, _| proxy.behave(stalled(Direction::ToTarget)),
        |proxy, _| proxy.behave(Behaviour::faithful()),
    );
}

#[test]
fn a_network_that_swallows_everything_costs_no_acknowledged_record() {
    chunks_survive(
        |proxy, _| proxy.behave(Behaviour::blackhole()),
        |proxy, _| proxy.behave(Behaviour::faithful()),
    );
}

#[test]
fn a_receiver_that_is_frozen_costs_no_acknowledged_record() {
    chunks_survive(|_, receiver| receiver.signal("STOP"), |_, receiver| receiver.signal("CONT"));
}

/// Both framings at once: logs as lines, events in chunks.
#[test]
fn a_receiver_that_is_gone_for_five_minutes_costs_nothing() {
    if !has_time("a receiver is gone for five minutes") {
        return;
    }
    let seconds = std::env::var("CIM_TCP_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    let (plain, acknowledged) = (free_port().unwrap(), free_port().unwrap());
    let daemon = Daemon::start(&format!(
        "spool.dir = \"{{home}}/spool\"\n[routes.logs]\nsink = \"plain\"\n[routes.events]\nsink = \"chunks\"\n\
         [sinks.plain]\ntype = \"tcp\"\naddress = \"{plain}\"\n[sinks.chunks]\ntype = \"tcp\"\n{}\n",
        forward::keys(acknowledged, "5s")
    ));
    let files = ["before", "after"].map(|name| daemon.home().join(name));
    let Some(receiver) = Receiver::forward(acknowledged, &files[0]) else { return };
    let sockets = Sockets::listen(plain, Manner::Reads);
    let vigil = vigil(&daemon);
    // Events wait in 64 MiB at most.
    let mut live = Live::over(&daemon, 5);
    live.until_delivered(&daemon, 1_000.0);
    // Lines that a process has not read die with it: this one has read them all.
    drained(&daemon);
    let before = live.next;
    until("the last line before", || sockets.lines().last() == Some(&(before - 1)));
    assert_eq!(sockets.lines(), (0..before).collect::<Vec<_>>());
    drop(sockets);
    receiver.kill();
    live.run_for(Duration::from_secs(seconds.unwrap_or(LONG_OUTAGE_SECONDS)));
    let held = daemon.metric("cim_records_held");
    assert!(held >= 2.0 * (live.next - before) as f64, "only {held} records wait");
    let sockets = Sockets::listen(plain, Manner::Reads);
    let _receiver = Receiver::forward(acknowledged, &files[1]).unwrap();
    live.until_delivered(&daemon, held);
    drained(&daemon);
    until("the last line", || sockets.lines().last() == Some(&(live.next - 1)));
    assert_eq!(sockets.lines(), (before..live.next).collect::<Vec<_>>());
    let again = Received::of(&files, daemon.home()).assert_events(live.next);
    assert!(again.is_empty(), "{again:?} came again");
    vigil.assert_held(&daemon, PATIENCE);
}
