//! The TCP sink in the running program, against receivers that nobody here wrote (socat, the Forward receiver of the
//! OpenTelemetry Collector) and against sockets that misbehave.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

mod addresses;
mod forward;
mod network;
mod own_faults;
mod peers;
mod tls;

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use cim_bench::deck::{Deck, Traffic};
use cim_bench::server::free_port;
use cim_tests::invariants::{Vigil, assert_books, drain};
use cim_tests::receiver::Receiver;
use cim_tests::verdict::Capture;
use cim_tests::{Daemon, PATIENCE, Wire, until};
use peers::sockets::{Manner, Sockets};

/// Settings of both routes towards a TCP sink with these keys.
fn tcp(keys: &str) -> String {
    settings("agent", keys)
}

/// The same of logs only. Events, what CIM says itself of a receiver among them, go to files.
fn tcp_logs(keys: &str) -> String {
    settings("disk", keys)
}

fn settings(events: &str, keys: &str) -> String {
    format!(
        "spool.dir = \"{{home}}/spool\"\n[routes.logs]\nsink = \"agent\"\n[routes.events]\nsink = \"{events}\"\n\
         [sinks.disk]\ntype = \"file\"\ndir = \"{{home}}/events\"\n[sinks.agent]\ntype = \"tcp\"\n{keys}\n"
    )
}

/// Publishes these numbers, from 0, as logs of the load generator, which `cim verify` knows.
fn publish(wire: &mut Wire, numbers: Range<usize>) {
    publish_as(&Traffic::Log, wire, numbers);
}

/// Publishes these numbers as logs, and as events.
fn publish_both(wire: &mut Wire, numbers: Range<usize>) {
    publish_as(&Traffic::Log, wire, numbers.clone());
    publish_as(&Traffic::Event, wire, numbers);
}

fn publish_as(traffic: &Traffic, wire: &mut Wire, numbers: Range<usize>) {
    let mut deck = Deck::new(traffic, 1, 1, PAYLOAD);
    let mut next = numbers.start;
    while next < numbers.end {
        let count = deck.capacity().min(numbers.end - next);
        wire.send(deck.deal(next as u64 + 1, count, 1));
        next += count;
    }
    wire.flush();
}

/// Bytes of the text in a record of the load generator.
const PAYLOAD: usize = 200;
/// Bytes of the whole record, as a batch counts them, at least.
const RECORD: usize = 260;

/// How a log and an event begin on a sink for JSON.
const LOG: &str = "{\"container_name\"";
const EVENT: &str = "{\"eventName\"";

/// The numbers of the whole logs in a file, in its order: how far a receiver is.
fn lines(file: &Path) -> Vec<usize> {
    numbers(&std::fs::read(file).unwrap_or_default(), LOG)
}

/// The numbers of the whole records of one kind in what a receiver got. A record that was cut off is none.
fn numbers(bytes: &[u8], kind: &str) -> Vec<usize> {
    let text = String::from_utf8_lossy(bytes);
    let whole = text.split_inclusive('\n').filter(|line| line.ends_with("}\n") && line.starts_with(kind));
    whole.filter_map(number).collect()
}

/// The number in a record of the load generator, from 0.
fn number(record: &str) -> Option<usize> {
    let stamp = record.split_once("cimb1:")?.1;
    usize::from_str_radix(stamp.get(16..32)?, 16).ok()?.checked_sub(1)
}

/// Demands that each of so many kills costs no more than a window of records that come again.
fn assert_repeats(numbers: &[usize], kills: usize, window: usize) {
    let steps = numbers.windows(2).filter(|pair| pair[1] <= pair[0]);
    let again: Vec<_> = steps.map(|pair| pair[0] + 1 - pair[1]).collect();
    assert!(again.len() <= kills && again.iter().all(|count| *count <= window), "{again:?} came again");
}

/// Watches a program that has yet to do anything. It will keep a connection per class, two descriptors and a timer each; those of
/// the publisher, of who asks PING and of who asks for a page; a segment of the spool per class; and a few threads for blocking
/// work. One descriptor per fault would be beyond that.
fn vigil(daemon: &Daemon) -> Vigil {
    Vigil::over(daemon).with(12, 4)
}

fn drained(daemon: &Daemon) {
    drain(daemon, PATIENCE);
    assert_books(daemon);
    assert!(daemon.metric("cim_records_dropped_total") < 0.5, "dropped");
}

/// Waits until the status page says that.
fn status_says(daemon: &Daemon, text: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let page = daemon.get("/statusz").unwrap_or_default();
        if page.contains(text) {
            return;
        }
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: `{text}` in {page}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_receiver_that_comes_late_gets_everything_in_order() {
    let address = free_port().unwrap();
    let daemon = Daemon::start(&tcp(&format!("address = \"{address}\"")));
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    publish(&mut wire, 0..1_000);
    wire.publish("EVENT", b"{\"eventName\":\"Waited\",\"eventTime\":1}");
    wire.flush();
    status_says(&daemon, "Connection refused");
    let dir = daemon.home().join("received");
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr", address.port());
    let Some(_socat) = Receiver::socat_apart(&listen, &dir) else { return };
    drained(&daemon);
    let files = || -> Vec<_> { std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()).collect() };
    until("the lines", || files().iter().map(|file| lines(file).len()).sum::<usize>() >= 1_000);
    let event = |file: &PathBuf| std::fs::read_to_string(file).unwrap().contains("\"eventName\":\"Waited\"");
    until("the event", || files().iter().any(event));
    // The event has no number: it is foreign, and nothing else is.
    let capture = Capture::of(&files());
    capture.assert_only(&["foreign"], 1_000);
    assert_eq!(capture.foreign, 1, "{capture:?}");
    vigil.assert_held(&daemon, PATIENCE);
    assert!(daemon.metric("cim_records_delivered_unacknowledged_total") > 1_000.5);
}

/// The loss of the receiver is an event of CIM's own, one for each outage, which names what becomes of the logs.
#[test]
fn the_loss_of_the_receiver_is_told_once_for_each_outage() {
    let address = free_port().unwrap();
    let daemon = Daemon::start(&tcp_logs(&format!("address = \"{address}\"")));
    let told = || -> Vec<String> {
        let files = std::fs::read_dir(daemon.home().join("events")).into_iter().flatten();
        let text =
            files.filter_map(|file| std::fs::read_to_string(file.ok()?.path()).ok()).collect::<String>();
        text.lines().filter(|line| line.contains("\"LmaasTCPFailure\"")).map(str::to_owned).collect()
    };
    let vigil = vigil(&daemon).with(2, 0);
    let mut wire = daemon.connect();
    publish(&mut wire, 0..1);
    until("the first event", || told().len() == 1);
    assert!(
        told()[0].contains(r#"{"name":"ACTION_IN_PROGRESS ","value":"CIM holding logs back"}"#),
        "{:?}",
        told()
    );
    let sockets = Sockets::listen(address, Manner::Reads);
    drained(&daemon);
    until("the first line", || sockets.lines() == [0]);
    drop(sockets);
    let mut next = 1;
    until("the second event", || {
        publish(&mut wire, next..next + 1);
        next += 1;
        told().len() == 2
    });
    let sockets = Sockets::listen(address, Manner::Reads);
    drained(&daemon);
    until("the last line", || sockets.lines().last() == Some(&(next - 1)));
    assert_eq!(sockets.lines(), (1..next).collect::<Vec<_>>());
    assert_eq!(told().len(), 2, "{:?}", told());
    vigil.assert_held(&daemon, PATIENCE);
}

/// Between two lines the receiver is killed and comes back: the first line after that is not lost (N-03).
#[test]
fn a_restart_of_the_receiver_between_lines_costs_nothing() {
    let address = free_port().unwrap();
    let daemon = Daemon::start(&tcp_logs(&format!("address = \"{address}\"")));
    let file = daemon.home().join("received");
    // One process: when it is gone, so is its connection.
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,reuseaddr", address.port());
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    for n in 0..10 {
        let Some(socat) = Receiver::socat(&listen, &file) else { return };
        publish(&mut wire, n..n + 1);
        until("the line", || lines(&file).len() > n);
        socat.kill();
    }
    let _socat = Receiver::socat(&listen, &file);
    publish(&mut wire, 10..11);
    until("the line", || lines(&file).len() > 10);
    drained(&daemon);
    Capture::of(&[&file]).assert_clean(11);
    vigil.assert_held(&daemon, PATIENCE);
}

/// Under load a kill costs at most what was between the receiver and its kernel. Nothing is out of order.
#[test]
fn a_restart_of_the_receiver_under_load_costs_what_it_had_not_read() {
    const LINES: usize = 60_000;
    const STEP: usize = LINES / 6;
    let address = free_port().unwrap();
    let daemon = Daemon::start(&tcp_logs(&format!("address = \"{address}\"")));
    let listen = format!("TCP-LISTEN:{},bind=127.0.0.1,fork,reuseaddr,rcvbuf=16384", address.port());
    // A file for each receiver: what a killed one has of its last line is not to stand before the first line of the next one.
    let files: Vec<_> = (0..6).map(|number| daemon.home().join(format!("received-{number}"))).collect();
    let Some(mut socat) = Receiver::socat(&listen, &files[0]) else { return };
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    for (number, file) in files.iter().enumerate() {
        publish(&mut wire, number * STEP..(number + 1) * STEP);
        if number > 0 {
            socat.kill();
            socat = Receiver::socat(&listen, file).unwrap();
        } else {
            // Of a capture that lacks the first lines nobody can say that it has a gap.
            until("the first line", || lines(file).first() == Some(&0));
        }
    }
    drained(&daemon);
    until("the last line", || lines(&files[5]).last() == Some(&(LINES - 1)));
    // One that was killed before anything came has none.
    let captures: Vec<_> = files.iter().filter(|file| file.exists()).collect();
    let capture = Capture::of(&captures);
    capture.assert_only(&["gaps", "unmarked_duplicates", "torn", "foreign"], LINES);
    // Five kills. Each costs at most a receive buffer: lost where the kernel had confirmed and socat had not read, twice where
    // socat had read and the kernel had not confirmed. 16 KiB, which the kernel doubles, are 110 lines. What was left of a
    // line may be too little to see a number in it.
    assert!(capture.gaps <= 5 * 110 && capture.twice <= 5 * 110 && capture.foreign <= 5, "{capture:?}");
    vigil.assert_held(&daemon, PATIENCE);
    drop(socat);
}

/// A receiver that accepts and never reads: given up in bounded time, again and again, while PING is answered; once it
/// reads, everything is there whole and in order.
#[test]
fn a_receiver_that_never_reads_harms_nobody() {
    const LINES: usize = 40_000;
    let sockets = Sockets::listen(free_port().unwrap(), Manner::Sleeps);
    let daemon =
        Daemon::start(&tcp(&format!("address = \"{}\"\nstall_timeout = \"300ms\"", sockets.address)));
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    publish_both(&mut wire, 0..LINES);
    status_says(&daemon, "has stopped taking data");
    until("balance", || daemon.books_balance());
    assert!(daemon.metric("cim_records_held") > 0.5);
    // The events may have told first; this counts the connection of the logs.
    until("a broken connection", || daemon.metric("tcp_disconnect_count") > 0.5);
    sockets.set(Manner::Reads);
    drained(&daemon);
    sockets.await_both(LINES);
    // The connections that were given up are read as well: what came twice is what was not confirmed.
    let files = sockets.captures(daemon.home());
    let capture = Capture::of(&files);
    capture.assert_both(&["unmarked_duplicates", "torn", "foreign"], LINES);
    assert_own(&capture, &files);
    vigil.assert_held(&daemon, PATIENCE);
}

/// What has no number is what CIM itself says of the receiver.
fn assert_own(capture: &Capture, files: &[PathBuf]) {
    let own = |file: &PathBuf| {
        let text = std::fs::read(file).unwrap();
        String::from_utf8_lossy(&text).matches("\"LmaasTCPFailure\"").count()
    };
    let own: usize = files.iter().map(own).sum();
    assert!(capture.foreign <= own as u64, "{capture:?}, {own} of CIM's own");
}

/// A receiver that resets every connection in the middle of a line.
#[test]
fn a_reset_in_the_middle_of_a_line_leaves_whole_lines_in_order() {
    const LINES: usize = 20_000;
    let sockets = Sockets::listen(free_port().unwrap(), Manner::Resets(100_000));
    let daemon = Daemon::start(&tcp(&format!("address = \"{}\"", sockets.address)));
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    publish_both(&mut wire, 0..LINES);
    until("five resets", || sockets.connections() >= 5);
    sockets.set(Manner::Reads);
    drained(&daemon);
    sockets.await_both(LINES);
    let (capture, resets) = (Capture::of(&sockets.captures(daemon.home())), sockets.connections() as u64);
    capture.assert_both(&["gaps", "unmarked_duplicates", "torn", "foreign"], LINES);
    // As above, with a receive buffer of 4 KiB.
    let most = resets * 30;
    assert!(
        capture.gaps <= most && capture.twice <= most && capture.foreign <= resets,
        "{capture:?}, {resets} resets"
    );
    vigil.assert_held(&daemon, PATIENCE);
}

/// A receiver that has shut its sending half down reads on and gets everything.
#[test]
fn a_half_closed_connection_loses_nothing() {
    let sockets = Sockets::listen(free_port().unwrap(), Manner::HalfCloses);
    let daemon = Daemon::start(&tcp(&format!("address = \"{}\"", sockets.address)));
    let vigil = vigil(&daemon);
    let mut wire = daemon.connect();
    for n in 0..50 {
        publish_both(&mut wire, n * 20..(n + 1) * 20);
    }
    drained(&daemon);
    sockets.await_both(1_000);
    Capture::of(&sockets.captures(daemon.home())).assert_both(&[], 1_000);
    vigil.assert_held(&daemon, PATIENCE);
}
