//! Files in the place of a dead broker: as a fallback, with an automatic return, and after a switch of the route by hand. The books
//! name who got each record, and `cim verify` misses in the topics what the files have. All of them wait: they run with `CIM_LONG=1`
//! (`make test-kafka`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::time::Duration;

use cim_services::{Broker, Kafka};
use cim_tests::files::{Division, Shelf};
use cim_tests::load::Plan;
use cim_tests::rig::{Rig, Settled, Topics, explained_duplicates, settings};
use cim_tests::{Daemon, has_time, verdict};

/// Files that are open beside the connections: one per container, one for events, and their folder once per class.
const FILES: usize = 7;
/// The sink of files.
const DISK: &str = "[sinks.disk]\ntype = \"file\"\ndir = \"{home}/files\"\n";
/// How long a fallback waits.
const AFTER: Duration = Duration::from_secs(2);

/// Both routes go to the broker, and to files while it is dead.
fn with_fallback(kafka: &Kafka, topics: &Topics, mode: &str) -> String {
    let keys = format!(
        "sink = \"broker\"\nfallback = \"disk\"\nfallback_after = \"{}s\"\nfallback_mode = \"{mode}\"\n",
        AFTER.as_secs()
    );
    settings(&kafka.bootstrap(), topics, DISK).replace("sink = \"broker\"\n", &keys)
}

/// One series of the books.
fn books(daemon: &Daemon, what: &str, route: &str, sink: &str) -> usize {
    daemon.metric(&format!("cim_records_{what}{{route=\"{route}\",sink=\"{sink}\"}}")) as usize
}

/// Records of a route that the fallback of the broker got.
fn to_fallback(daemon: &Daemon, route: &str) -> usize {
    let labels = format!("{{route=\"{route}\",sink=\"broker\",fallback=\"disk\"}}");
    daemon.metric(&format!("cim_records_delivered_fallback_total{labels}")) as usize
}

fn shelf(daemon: &Daemon) -> Shelf {
    Shelf::read(&daemon.home().join("files"))
}

/// What topics and files hold of logs and events. What is in both was announced, and what is in the files alone is all that `cim
/// verify` finds wrong with the topics.
fn divisions(settled: &Settled<'_>) -> [Division; 2] {
    settled.assert_nothing_left_out();
    let (outcome, shelf) = (settled.read(), shelf(&settled.daemon));
    let (duplicates, places) = (outcome.duplicates(), (outcome.logs.duplicated, outcome.events.duplicated));
    let records = [&outcome.logs, &outcome.events].map(|found| found.found + found.marked_duplicates);
    let divided = [
        Division::of_logs(outcome.logs, &shelf, &settled.published),
        Division::of_events(outcome.events, &shelf, &settled.published),
    ];
    let classes = [
        (&settled.topics.logs, settled.published.lines),
        (&settled.topics.events, settled.published.events().count()),
    ];
    for (((topic, given), division), records) in classes.into_iter().zip(&divided).zip(records) {
        let missing = division.in_files.len() - division.in_both;
        verdict::assert_only_missing(&settled.kafka.bootstrap(), topic, records, missing, given);
    }
    let twice = duplicates + divided[0].in_both + divided[1].in_both;
    let explained = explained_duplicates(&settled.daemon);
    assert!(
        twice as f64 <= explained,
        "{twice} records twice, {explained} explained; {duplicates} twice in the topics ({places:?}), logs in both {:?}, events \
         in both {:?}, of {} lines; files {:?} to {:?}",
        divided[0].shared,
        divided[1].shared,
        settled.published.lines,
        divided[0].in_files.first(),
        divided[0].in_files.last(),
    );
    divided
}

/// The first line of a step that was sent after this moment. The one that is being sent may have reached the broker in part.
fn first_behind(rig: &Rig<'_>) -> usize {
    rig.load.wait_for(1);
    rig.load.lines()
}

/// `final`: what the files got, the topics get only if it was on its way; after the outage the broker gets what is new.
#[test]
fn a_final_fallback_takes_over_and_gives_back_in_order() {
    if !has_time("a fallback takes over and gives back") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let daemon = Daemon::start(&with_fallback(&kafka, &topics, "final"));
    let rig = Rig::over(&kafka, daemon, topics, Plan::default()).with_descriptors(FILES);
    kafka.broker(0).kill();
    let at_kill = first_behind(&rig);
    cim_services::until("the fallback", Duration::from_secs(30), || to_fallback(&rig.daemon, "logs") > 4_000);
    let told = || rig.daemon.get("/statusz").unwrap().contains("\"state\": \"fallback\"");
    cim_services::until("the status page to tell of it", cim_tests::PATIENCE, told);
    kafka.broker(0).restart();
    let back = || rig.daemon.get("/readyz").is_some_and(|page| !page.contains("degraded"));
    cim_services::until("the return", Duration::from_secs(60), back);
    let got = shelf(&rig.daemon).lines();
    rig.wait_delivered(4_000);
    let settled = rig.settle();
    let [logs, events] = divisions(&settled);
    assert_eq!(shelf(&settled.daemon).lines(), got, "the files got more after the return");
    for (route, division) in [("logs", &logs), ("events", &events)] {
        assert!(!division.in_files.is_empty(), "no {route} in the files");
        division.assert_no_hole_from(at_kill);
        assert_eq!(to_fallback(&settled.daemon, route), division.in_files.len(), "{route}");
        let delivered = books(&settled.daemon, "delivered_total", route, "broker");
        let by_broker = delivered - division.in_files.len();
        assert_eq!(division.in_topic.len() - division.in_both, by_broker, "{route} by the broker");
        let last = settled.published.lines - 1;
        let (newest, newest_in_files) =
            (division.in_topic.last().unwrap(), division.in_files.last().unwrap());
        assert!(newest > newest_in_files && last - newest < 100, "the broker did not get the newest {route}");
    }
}

/// `copy`: the files get copies, and the topics get everything all the same.
#[test]
fn a_copying_fallback_gets_copies_and_the_broker_gets_everything() {
    if !has_time("a fallback gets copies for a while") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let daemon = Daemon::start(&with_fallback(&kafka, &topics, "copy"));
    let rig = Rig::over(&kafka, daemon, topics, Plan::default()).with_descriptors(FILES);
    kafka.broker(0).kill();
    cim_services::until("copies", Duration::from_secs(30), || shelf(&rig.daemon).lines() > 4_000);
    assert!(books(&rig.daemon, "held", "logs", "broker") > 4_000, "what was copied is not held any more");
    kafka.broker(0).restart();
    rig.wait_delivered(4_000);
    let settled = rig.settle();
    let outcome = settled.assert_all_clean();
    let copies = shelf(&settled.daemon);
    let logs = Division::of_logs(outcome.logs, &copies, &settled.published);
    let events = Division::of_events(outcome.events, &copies, &settled.published);
    for (route, division) in [("logs", logs), ("events", events)] {
        assert!(!division.in_files.is_empty(), "no {route} in the files");
        assert_eq!(division.in_both, division.in_files.len(), "a copy has no original");
        assert_eq!(to_fallback(&settled.daemon, route), 0, "a copy is no delivery");
        assert_eq!(books(&settled.daemon, "delivered_total", route, "broker"), division.in_topic.len());
    }
}

/// Sends the logs elsewhere while the program runs.
fn switch(daemon: &Daemon, from: &str, to: &str) {
    let line = |sink: &str| format!("[routes.logs]\nsink = \"{sink}\"");
    daemon.reload(&line(from), &line(to));
}

/// The route of logs is switched to files while the broker does not answer, and back when it does. Events stay, and wait.
fn switched(kafka: &Kafka, fail: impl Fn(&Broker), heal: impl Fn(&Broker)) {
    let topics = Topics::create(kafka);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, DISK));
    let rig = Rig::over(kafka, daemon, topics, Plan::default()).with_descriptors(FILES);
    fail(kafka.broker(0));
    let at_fault = first_behind(&rig);
    rig.load.wait_for(10_000);
    let held = books(&rig.daemon, "held", "logs", "broker");
    assert!(held > 5_000, "only {held} lines wait for the broker");
    switch(&rig.daemon, "broker", "disk");
    // The backlog of the dead sink goes to the new one at once; nothing waits for the old one any more.
    cim_services::until("the backlog", cim_tests::PATIENCE, || shelf(&rig.daemon).lines() > held);
    assert_eq!(books(&rig.daemon, "held", "logs", "broker"), 0);
    assert!(rig.daemon.metric("cim_delivery_ready{route=\"logs\",sink=\"broker\"}") > 0.5);
    assert!(rig.daemon.metric("cim_oldest_undelivered_seconds{route=\"logs\",sink=\"broker\"}") < 0.5);
    heal(kafka.broker(0));
    cim_services::until("the events", Duration::from_secs(60), || {
        books(&rig.daemon, "held", "events", "broker") < 10
    });
    rig.wait_delivered(2_000);
    // And back: the books of the broker are opened again.
    switch(&rig.daemon, "disk", "broker");
    rig.wait_delivered(2_000);
    let settled = rig.settle();
    let daemon = &settled.daemon;
    let [logs, events] = divisions(&settled);
    assert_eq!(events.in_files.len(), 0);
    logs.assert_no_hole_from(at_fault);
    let (by_disk, by_broker) = (
        books(daemon, "delivered_total", "logs", "disk"),
        books(daemon, "delivered_total", "logs", "broker"),
    );
    assert_eq!((by_disk, by_disk + by_broker), (logs.in_files.len(), settled.published.lines));
    for sink in ["broker", "disk"] {
        let other = if sink == "broker" { "disk" } else { "broker" };
        let (left, came) = (
            books(daemon, "handed_over_total", "logs", sink),
            books(daemon, "taken_over_total", "logs", other),
        );
        assert_eq!(left, came, "{sink} left {left}, {other} got {came}");
    }
    assert!(books(daemon, "handed_over_total", "logs", "broker") >= held);
    let newest = (logs.in_topic.last().unwrap(), logs.in_files.last().unwrap());
    assert!(newest.0 > newest.1, "the broker did not get the newest lines: {newest:?}");
}

#[test]
fn a_route_that_is_switched_while_its_broker_is_dead_loses_nothing() {
    if has_time("a route is switched and switched back") {
        let Some(kafka) = Kafka::single() else { return };
        switched(&kafka, Broker::kill, Broker::restart);
    }
}

#[test]
fn a_route_that_is_switched_while_its_broker_is_frozen_loses_nothing() {
    if has_time("a route is switched and switched back") {
        let Some(kafka) = Kafka::single() else { return };
        switched(&kafka, Broker::pause, Broker::resume);
    }
}
