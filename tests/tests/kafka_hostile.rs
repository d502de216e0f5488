//! A broker that answers nonsense while records flow, and somebody who is no broker: garbage, frames beyond all measure, counts
//! below zero. Each fault is followed by the five invariants of `cim_tests::rig`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use cim_services::kafka::Listener;
use cim_services::{Kafka, free_port};
use cim_testkit::ChaosProxy;
use cim_testkit::null_broker::{Api, Fault, code};
use cim_tests::invariants::{Footprint, letters};
use cim_tests::load::{Load, Plan};
use cim_tests::null_rig::NullRig;
use cim_tests::rig::{Rig, Topics, settings};
use cim_tests::{Daemon, has_time, until};

/// Topics are asked about all the time, so that there are such answers to spoil while records flow.
const CURIOUS: &str = "[sinks.broker.properties]\n\"topic.metadata.refresh.interval.ms\" = 500\n";

/// Clients that were replaced.
const REBUILDS: &str = "cim_kafka_producer_rebuilds_total";

/// A length that no client may believe, and contents that no client can read.
fn nonsense() -> [Fault; 3] {
    [Fault::two_gib(), Fault::negative_counts(), Fault::ends_early()]
}

/// K12: the broker stored, or did not, and its acknowledgement cannot be read. The client cannot go on from there.
#[test]
fn an_acknowledgement_that_makes_no_sense_costs_a_producer_and_no_record() {
    let rig = NullRig::start("");
    for fault in nonsense() {
        let rebuilds = rig.daemon.metric(REBUILDS);
        rig.broker.next(Api::Produce, fault.clone());
        until(&format!("another producer after {fault:?}"), || rig.daemon.metric(REBUILDS) > rebuilds);
        rig.wait_delivered(500);
    }
    // Two of them were stored, and are sent again; that all of it was announced is an invariant.
    assert!(rig.finish().duplicates() > 0, "no record was acknowledged with nonsense");
}

/// K7: of a hundred lines one is refused for what it is, while two thousand come in each second.
#[test]
fn lines_that_are_refused_under_load_become_letters_and_their_neighbours_pass() {
    let rig = NullRig::start("");
    // Ahead of what is published by now; no event is beside them.
    let first = (rig.load.lines() / 100 + 10) * 100 + 1;
    let refused: Vec<usize> = (first..).step_by(100).take(10).collect();
    for line in &refused {
        rig.broker.refuse_values_with(format!("\"log\":\"{line:08} ").as_bytes(), code::INVALID_RECORD);
    }
    let rebuilds = rig.daemon.metric(REBUILDS);
    until("the first refusal", || rig.broker.refusals(code::INVALID_RECORD) > 0);
    let start = Instant::now();
    let put_aside = || rig.daemon.metric("cim_records_dead_lettered_total") as usize;
    cim_services::until("all of the letters", Duration::from_secs(60), || put_aside() == refused.len());
    let each = start.elapsed().div_f64(rig.daemon.metric(REBUILDS) - rebuilds);
    println!("{} letters after {:?}, {each:?} for each refusal", refused.len(), start.elapsed());
    // The pause of half a second, in which the client library would wait for the number of a new producer, is not there.
    assert!(each < Duration::from_millis(400), "{each:?} for each refusal");
    for (reason, error) in letters(&rig.daemon) {
        assert!(reason == "rejected" && error.contains("InvalidRecord"), "{reason}: {error}");
    }
    let _ = rig.finish_without(&refused);
}

/// K12: what is asked about topics shares the connection with records.
#[test]
fn an_answer_about_topics_that_makes_no_sense_costs_no_record() {
    let rig = NullRig::start(CURIOUS);
    for fault in nonsense() {
        rig.broker.next(Api::Metadata, fault);
        rig.wait_delivered(500);
    }
    let _ = rig.finish();
}

/// K12: a producer that is replaced meets nonsense before its first record.
#[test]
fn a_new_producer_that_is_given_nonsense_for_a_number_asks_again() {
    let rig = NullRig::start("");
    for fault in nonsense() {
        rig.broker.next(Api::InitProducerId, fault);
        rig.broker.next(Api::Produce, Fault::ends_early());
        rig.wait_delivered(500);
    }
    let _ = rig.finish();
}

/// K12: a frame as long as it says, which the memory of the program has no room for.
#[test]
fn an_answer_of_ninety_mebibytes_takes_no_such_memory() {
    let rig = NullRig::start(CURIOUS);
    for api in [Api::Produce, Api::Metadata] {
        rig.broker.next(api, Fault::Nonsense(vec![0xfe; 90 << 20]));
        rig.wait_delivered(500);
    }
    let _ = rig.finish();
}

/// K12: garbage that does not even name a request answers none, and the request runs out of time.
#[test]
fn an_answer_to_a_request_that_nobody_made_is_survived() {
    if !has_time("two requests without an answer run out of time") {
        return;
    }
    let rig = NullRig::start(CURIOUS);
    for api in [Api::Produce, Api::Metadata] {
        let connections = rig.broker.requests(Api::ApiVersions);
        rig.broker.next(api, Fault::garbage());
        until("another connection", || rig.broker.requests(Api::ApiVersions) > connections);
        rig.wait_delivered(1_000);
    }
    // What is sent again on the next connection carries the numbers of the first time.
    assert_eq!(rig.finish().duplicates(), 0);
}

/// K12: something that is no broker answers, first with garbage, then with a length of 2 GiB.
#[test]
fn a_server_that_is_no_broker_is_survived() {
    if !has_time("a hostile server answers for 10 s") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let hostile = hostile_server();
    let proxy = ChaosProxy::start_at(free_port().unwrap(), hostile, 1).unwrap();
    let daemon = Daemon::start(&settings(&proxy.address().to_string(), &topics, ""));
    let started = Footprint::of(&daemon);
    let load = Load::start(daemon.nats(), Plan::GENTLE);
    load.run_for(Duration::from_secs(10));
    let tries = proxy.accepted();
    assert!((4..200).contains(&tries), "{tries} connections in ten seconds");
    proxy.aim(kafka.broker(0).address(Listener::Plain));
    let _ = Rig::around(&kafka, daemon, topics, load, started).finish();
}

/// Answers every connection with one of several sorts of nonsense. Its thread ends with the test program.
fn hostile_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let Ok(mut stream) = stream else { continue };
            let mut request = [0; 4096];
            let _ = stream.read(&mut request);
            let answer: &[u8] = match number % 4 {
                0 => b"HTTP/1.1 400 Bad Request\r\n\r\n",
                1 => &[0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 1],
                2 => &[0xff; 64],
                // The right correlation, no error, and minus two versions.
                _ => &[0, 0, 0, 10, 0, 0, 0, 1, 0, 0, 0xff, 0xff, 0xff, 0xfe],
            };
            let _ = stream.write_all(answer);
        }
    });
    address
}
