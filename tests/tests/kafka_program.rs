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

use std::time::Duration;

use cim_services::{Kafka, KafkaPlan};
use cim_tests::catch_up::CatchUp;
use cim_tests::load::Plan;
use cim_tests::repeats::{STREAMS, kill, unexplained};
use cim_tests::rig::{Rig, Topics, WINDOW, assert_clean, assert_clean_but, explained_duplicates, settings};
use cim_tests::{Daemon, Mount, has_time};

const KILLS: usize = 10;
/// Windows of each class that are delivered between two kills, so that the repeats of one are none of another.
const WINDOWS: usize = 3;

/// Waits until several windows of each class are delivered in this life of the program.
fn deliver_windows(daemon: &Daemon) {
    for route in STREAMS {
        let delivered = || daemon.metric(&format!("cim_records_delivered_total{{route=\"{route}\""));
        let enough = || delivered() as usize >= WINDOWS * WINDOW;
        cim_services::until(&format!("several windows of {route}"), Duration::from_secs(60), enough);
    }
}

/// R1 with Kafka: what was in flight comes twice at most, with the same number.
#[test]
fn the_program_killed_with_requests_in_flight_repeats_only_what_was_in_flight() {
    if !has_time("the program is killed ten times") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    // Events as fast as lines.
    let plan = Plan { rate: 20_000, bytes: 60, sources: 4, event_every: 1 };
    let mut rig = Rig::start_with(&kafka, plan, &kafka.bootstrap(), "");
    let mut kills = Vec::new();
    for nth in 0..KILLS {
        deliver_windows(&rig.daemon);
        let spool = rig.daemon.home().join("spool");
        // At most of them the broker stands still, so that there are requests on their way, and reads them when the program is gone.
        let stands = nth % 3 != 0;
        if stands {
            kafka.broker(0).pause();
            cim_services::until("requests", cim_tests::PATIENCE, || {
                rig.daemon.metric("cim_records_held") > 1_000.0
            });
        }
        kills.push(kill(&mut rig.daemon, &spool));
        if stands {
            kafka.broker(0).resume();
        }
        rig.daemon.start_again();
        let recovered = rig.daemon.metric("cim_records_recovered_total");
        assert!(!stands || recovered > 1_000.0, "{recovered} records were on their way at kill {nth}");
    }
    rig.wait_delivered(1_000);
    let settled = rig.settle();
    settled.assert_nothing_left_out();
    let outcome = settled.read();
    assert_eq!((outcome.logs.faults(), outcome.events.faults()), (None, None));
    settled.assert_verified(&outcome);
    for (stream, topic) in [&settled.topics.logs, &settled.topics.events].into_iter().enumerate() {
        let kills: Vec<_> = kills.iter().map(|unsettled| unsettled[stream].clone()).collect();
        let apart = kills.windows(2).all(|pair| pair[1].start - pair[0].start >= WINDOWS * WINDOW);
        assert!(apart, "less than {WINDOWS} windows lie between two of {kills:?}");
        let unexplained = unexplained(&kafka.records(topic), &kills);
        assert!(unexplained.is_empty(), "{unexplained:?} came again; not settled at the kills: {kills:?}");
    }
    // Otherwise it would not be seen that only those came again.
    assert!(outcome.logs.marked_duplicates > 0 && outcome.events.marked_duplicates > 0);
    eprintln!(
        "{KILLS} kills: {} logs and {} events, {} and {} duplicates, each marked, within a window of its kill",
        outcome.logs.found,
        outcome.events.found,
        outcome.logs.marked_duplicates,
        outcome.events.marked_duplicates
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
    // Of what came until now the broker may have stored some without an answer; of what comes from now on, none.
    let unanswered = rig.daemon.metric("cim_records_held").min(2.0 * WINDOW as f64);
    rig.run_for(3);
    let mut quiet = rig.quiet();
    assert!(quiet.daemon.metric("cim_records_held") > 4.0 * unanswered, "too few to tell: {unanswered}");
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
    let settled = quiet.settle();
    settled.assert_nothing_left_out();
    let outcome = settled.read();
    assert_clean_but(&outcome, unanswered + explained_duplicates(&settled.daemon));
    settled.assert_verified(&outcome);
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
    // Five batches were with the client when they were given up; it may have delivered them all the same.
    let arrived = shed.checked_sub(lost).expect("more lines are missing than were counted as shed");
    assert!(arrived <= WINDOW, "{shed} lines were counted as shed, {lost} are missing");
    assert!(settled.daemon.metric("cim_records_dropped_total{route=\"events\"") < 0.5);
    assert_clean(&settled.daemon, &outcome);
    settled.assert_only_logs_missing(&outcome, lost, 0);
}

/// Records of the backlog that shows the capacity.
const SECOND_BACKLOG: f64 = 400_000.0;

/// S7: an hour's worth of backlog goes out while the application goes on, within 1.1 times X*r/(C-r) and a start. X*r is what is
/// held when the broker is back, r what comes meanwhile, and C what the program delivers each second, once the application has
/// ended, of a second backlog to the same broker. The application takes no processor time then, so C is rather too large, and the
/// limit too short.
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
    let beside_live = CatchUp::after(&rig.daemon, || kafka.broker(0).restart());
    kafka.broker(0).kill();
    let held = || rig.daemon.metric("cim_records_held");
    cim_services::until("a second backlog", Duration::from_secs(120), || held() >= SECOND_BACKLOG);
    let quiet = rig.patience(Duration::from_secs(120)).quiet();
    let alone = CatchUp::after(&quiet.daemon, || kafka.broker(0).restart());
    let outcome = quiet.settle().assert_all_clean();
    assert!(outcome.logs.found > 900_000);
    beside_live.assert_within(alone.rate());
}
