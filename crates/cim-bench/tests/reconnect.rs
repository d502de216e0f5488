//! The producer against a server that dies in the middle: what it calls accepted must be what the server answered for.
//!
//! The server here is a few lines of NATS: it keeps what it read before each PING it answered, and cuts the connection
//! after a given number of bytes, without an answer to what came after the last PING.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use cim_bench::check::{Checker, Tolerance};
use cim_bench::deck::Traffic;
use cim_bench::producer::{Producer, ProducerSpec};
use cim_bench::stamp::{self, Reading};

/// What the server saw: payloads in order of arrival, and the numbers it answered a PING for.
#[derive(Default)]
struct Seen {
    lines: Vec<Vec<u8>>,
    answered: BTreeSet<u64>,
}

/// A server that cuts each connection after `cut` bytes; the last one lives on.
fn server(cuts: Vec<usize>) -> (SocketAddr, Arc<Mutex<Seen>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let seen = Arc::new(Mutex::new(Seen::default()));
    let shared = Arc::clone(&seen);
    std::thread::spawn(move || {
        let mut cuts = cuts.into_iter();
        for stream in listener.incoming() {
            serve(stream.unwrap(), cuts.next().unwrap_or(usize::MAX), &shared);
        }
    });
    (address, seen)
}

fn serve(mut stream: TcpStream, cut: usize, seen: &Mutex<Seen>) {
    stream.write_all(b"INFO {}\r\n").unwrap();
    let (mut inbox, mut total, mut open) = (Vec::new(), 0usize, Vec::new());
    let mut chunk = vec![0u8; 10_000];
    loop {
        let count = stream.read(&mut chunk).unwrap_or(0);
        total += count;
        if count == 0 || total > cut {
            return;
        }
        inbox.extend_from_slice(&chunk[..count]);
        while let Some(end) = memchr::memchr(b'\n', &inbox) {
            let line = String::from_utf8(inbox[..end].to_vec()).unwrap().trim().to_owned();
            let mut used = end + 1;
            if let Some(length) = line.strip_prefix("PUB ").and_then(|rest| rest.rsplit(' ').next()) {
                let length: usize = length.parse().unwrap();
                if inbox.len() < used + length + 2 {
                    break;
                }
                let payload = inbox[used..used + length].to_vec();
                let Reading::Whole(stamp) = stamp::read(&payload) else { panic!("broken payload") };
                open.push(stamp.seq);
                seen.lock().unwrap().lines.push(payload);
                used += length + 2;
            } else if line == "PING" {
                seen.lock().unwrap().answered.extend(open.drain(..));
                if stream.write_all(b"PONG\r\n").is_err() {
                    return;
                }
            }
            inbox.drain(..used);
        }
    }
}

/// The producer, what the server saw, and how many messages were sent.
fn run(resend: bool) -> (Producer, Arc<Mutex<Seen>>, u64) {
    // Connections die at all stages: in the first block, between barriers, twice in a row.
    let (address, seen) = server(vec![50_000, 1_000, 333_333, 200_000]);
    let mut producer = Producer::connect(ProducerSpec {
        traffic: Traffic::Other("x.y".into()),
        reconnect_for: Duration::from_secs(10),
        barrier_bytes: 70_000,
        resend,
        ..ProducerSpec::logs(address, 1, 128)
    })
    .unwrap();
    let mut sent = 0;
    for _ in 0..20 {
        producer.send(1_000).unwrap();
        sent += 1_000;
        producer.poll().unwrap();
    }
    // The kernel may have swallowed all of that before the producer noticed the first cut: go on until it met three.
    for _ in 0..20 {
        producer.barrier().unwrap();
        if producer.reconnects() >= 3 {
            break;
        }
        producer.send(1_000).unwrap();
        sent += 1_000;
    }
    producer.barrier().unwrap();
    assert!(producer.reconnects() >= 3, "the server cut {} times", producer.reconnects());
    (producer, seen, sent)
}

#[test]
fn only_what_was_answered_counts_as_accepted() {
    let (producer, seen, sent) = run(false);
    let (ledger, seen) = (producer.ledger(), seen.lock().unwrap());
    assert_eq!(ledger.sent, sent);
    assert!(!ledger.uncertain.is_empty());
    for seq in 1..=ledger.sent {
        if ledger.is_accepted(seq) {
            assert!(seen.answered.contains(&seq), "{seq} was never answered");
        }
    }
    let uncertain: u64 = ledger.uncertain.iter().map(cim_bench::ledger::Span::count).sum();
    assert_eq!(ledger.accepted_count() + uncertain, ledger.sent);
    let mut checker = Checker::new(1);
    seen.lines.iter().for_each(|line| checker.line(line));
    checker.finish(std::slice::from_ref(ledger)).verdict(Tolerance::default()).unwrap();
}

#[test]
fn resending_leaves_nothing_uncertain_and_marks_what_was_sent_twice() {
    let (producer, seen, sent) = run(true);
    let (ledger, seen) = (producer.ledger(), seen.lock().unwrap());
    assert_eq!((ledger.accepted_count(), ledger.sent), (sent, sent));
    assert!(ledger.uncertain.is_empty() && !ledger.resent.is_empty());
    assert!((1..=ledger.sent).all(|seq| seen.answered.contains(&seq)));
    let mut checker = Checker::new(1);
    seen.lines.iter().for_each(|line| checker.line(line));
    let findings = checker.finish(std::slice::from_ref(ledger));
    assert_eq!((findings.sources[0].lost, findings.sources[0].duplicates), (0, 0), "{findings:?}");
}
