//! The program killed, stopped, without room on its disk, and behind by a gibibyte, with a broker that is away meanwhile. All
//! of them wait: they run with `CIM_LONG=1` (`make test-kafka`).
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use cim_services::{Kafka, KafkaPlan, Record};
use cim_tests::load::Plan;
use cim_tests::rig::{Rig, Topics, assert_clean, settings};
use cim_tests::{Daemon, Mount, has_time};

const KILLS: usize = 10;
/// What may be on its way at a time, per class: five batches of so many records.
const WINDOW: u64 = 5 * 2_048;

/// How many windows it takes at least to cover every number that is there more than once: one kill leaves one at most.
fn windows_of_repeats(records: &[Record]) -> usize {
    let mut copies = BTreeMap::<u64, usize>::new();
    for record in records {
        *copies.entry(record.header("cim-seq").unwrap().parse().unwrap()).or_default() += 1;
    }
    let mut windows = 0;
    let mut covered = 0;
    for (seq, _) in copies.into_iter().filter(|(_, copies)| *copies > 1) {
        if seq >= covered {
            (windows, covered) = (windows + 1, seq + WINDOW);
        }
    }
    windows
}

/// R1 with Kafka: what was in flight comes twice at most, with the same number.
#[test]
fn the_program_killed_with_requests_in_flight_repeats_only_what_was_in_flight() {
    if !has_time("the program is killed ten times") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let mut rig = Rig::start_with(&kafka, Plan { rate: 20_000, ..Plan::default() }, &kafka.bootstrap(), "");
    let mut announced = 0.0;
    for _ in 0..KILLS {
        rig.load.wait_for(10_000);
        rig.daemon.kill_and_restart();
        announced += rig.daemon.metric("cim_records_recovered_total");
        rig.wait_delivered(1_000);
    }
    let settled = rig.settle();
    settled.assert_nothing_left_out();
    let outcome = settled.read();
    assert_eq!((outcome.logs.faults(), outcome.events.faults()), (None, None));
    settled.assert_verified(&outcome);
    let duplicates = outcome.duplicates();
    assert!(
        duplicates as f64 <= announced,
        "{duplicates} duplicates of {announced} records that were recovered"
    );
    for topic in [&settled.topics.logs, &settled.topics.events] {
        let windows = windows_of_repeats(&kafka.records(topic));
        assert!(
            windows <= KILLS,
            "the repeats of {topic} are not within what {KILLS} kills had in flight: {windows}"
        );
    }
    eprintln!(
        "{KILLS} kills: {} records, {duplicates} duplicates, each marked",
        outcome.logs.found + outcome.events.found
    );
}

/// P4: on time, with the documented code, and the next start delivers the rest.
#[test]
fn a_stop_while_the_broker_is_dead_keeps_the_rest_for_the_next_start() {
    if !has_time("a stop waits for a dead broker as long as it may") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.broker(0).kill();
    rig.run_for(3);
    let mut quiet = rig.quiet();
    assert!(quiet.daemon.metric("cim_records_held") > 1_000.0);
    let asked = std::time::Instant::now();
    quiet.daemon.signal("TERM");
    let code = quiet.daemon.ended();
    let waited = asked.elapsed();
    let report = quiet.daemon.stderr().lines().last().unwrap_or_default().to_owned();
    assert_eq!(code, Some(0), "{report}");
    assert!(waited < Duration::from_secs(10), "it took {waited:?}");
    assert!(report.contains("stopped") && report.contains("held="), "no stop report: {report}");
    kafka.broker(0).restart();
    quiet.daemon.start_again();
    quiet.settle().assert_all_clean();
}

/// D1 with a dead broker: logs are shed by policy and counted, events are not.
#[test]
fn a_disk_that_fills_while_the_broker_is_dead_sheds_logs_and_counts_them() {
    if !has_time("a disk fills") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let home = tempfile::tempdir().unwrap();
    let Some(_mount) = Mount::new(&home.path().join("spool"), "size=40m") else { return };
    let daemon = Daemon::start_in(home, &settings(&kafka.bootstrap(), &topics, ""), Daemon::spawn);
    let rig =
        Rig::over(&kafka, daemon, topics, Plan { rate: 20_000, bytes: 1_000, sources: 4, event_every: 200 });
    kafka.broker(0).kill();
    rig.load.wait_for(100_000);
    kafka.broker(0).restart();
    rig.wait_delivered(1_000);
    let settled = rig.patience(Duration::from_secs(120)).settle();
    let shed = settled.daemon.metric("cim_records_dropped_total{route=\"logs\"") as usize;
    let mut outcome = settled.read();
    let lost = std::mem::take(&mut outcome.logs.lost).len();
    assert!(shed > 10_000, "the disk was not full: {shed} shed");
    // Four batches were with the client when they were given up; it may have delivered them all the same.
    let arrived = shed.checked_sub(lost).expect("more lines are missing than were counted as shed");
    assert!(arrived as u64 <= WINDOW, "{shed} lines were counted as shed, {lost} are missing");
    assert!(settled.daemon.metric("cim_records_dropped_total{route=\"events\"") < 0.5);
    assert_clean(&settled.daemon, &outcome);
}

/// S7: an hour's worth of backlog goes out while the application goes on.
#[test]
fn a_backlog_of_a_gibibyte_drains_while_live_traffic_runs() {
    if !has_time("a backlog of 1 GiB is made and drained") {
        return;
    }
    let Some(kafka) = KafkaPlan::new().heap("512m").start() else { return };
    let topics = Topics::create(&kafka);
    let text = format!("spool.logs.max_bytes = \"3GiB\"\n{}", settings(&kafka.bootstrap(), &topics, ""));
    let daemon = Daemon::start(&text);
    let rig = Rig::over(
        &kafka,
        daemon,
        topics,
        Plan { rate: 10_000, bytes: 1_000, sources: 4, event_every: 1_000 },
    );
    kafka.broker(0).kill();
    let backlog = || rig.daemon.metric("cim_spool_bytes{class=\"logs\"}");
    cim_services::until("a backlog of 1 GiB", Duration::from_secs(600), || backlog() >= f64::from(1 << 30));
    kafka.broker(0).restart();
    let started = std::time::Instant::now();
    let held = || rig.daemon.metric("cim_records_held");
    cim_services::until("the backlog to drain under load", Duration::from_secs(600), || held() < 20_000.0);
    eprintln!("1 GiB drained beside live traffic in {:.1?}", started.elapsed());
    let outcome = rig.patience(Duration::from_secs(120)).finish();
    assert!(outcome.logs.found > 900_000);
}
