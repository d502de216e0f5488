//! Faults of a broker, of the network before it and of the program itself, each followed by the five invariants of
//! `cim_tests::rig`. All of them wait: they run with `CIM_LONG=1` (`make test-kafka`).
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
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

use cim_services::kafka::Listener;
use cim_services::{Kafka, KafkaPlan, Version, free_port};
use cim_testkit::{Behaviour, ChaosProxy, Direction, Ending, Flow};
use cim_tests::load::{Load, Plan};
use cim_tests::rig::{LOG_PARTITIONS, Rig, Settled, Topics, assert_books, assert_clean, drain, settings};
use cim_tests::{Daemon, Mount, has_time, skip};

/// An outage that a client which gives up after five minutes would not survive. `CIM_KAFKA_OUTAGE_SECONDS` changes it.
const OUTAGE_SECONDS: u64 = 330;

/// A load that can run for minutes.
const GENTLE: Plan = Plan { rate: 500, bytes: 200, sources: 4, event_every: 50 };

/// Lets the load run on for so long.
fn pass(rig: &Rig<'_>, seconds: u64) {
    rig.load.run_for(Duration::from_secs(seconds));
}

/// A broker that tells its clients the address of a proxy, and the proxy.
fn behind_proxy() -> Option<(Kafka, ChaosProxy)> {
    let mut proxy = None;
    let kafka = KafkaPlan::new()
        .proxied(|broker| {
            let started = ChaosProxy::start_at(free_port().unwrap(), broker, 1).unwrap();
            let address = started.address();
            proxy = Some(started);
            address
        })
        .start()?;
    Some((kafka, proxy?))
}

fn rig_behind_proxy(kafka: &Kafka) -> Rig<'_> {
    Rig::start_with(kafka, Plan::default(), &kafka.addresses(Listener::Proxied), "")
}

/// K2: longer than any timeout of the client.
#[test]
fn a_broker_that_is_gone_for_longer_than_five_minutes_costs_nothing() {
    if !has_time("a broker is gone for five and a half minutes") {
        return;
    }
    let seconds = std::env::var("CIM_KAFKA_OUTAGE_SECONDS").ok().and_then(|text| text.parse().ok());
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start_with(&kafka, GENTLE, &kafka.bootstrap(), "");
    kafka.broker(0).kill();
    pass(&rig, seconds.unwrap_or(OUTAGE_SECONDS));
    kafka.broker(0).restart();
    let outcome = rig.patience(Duration::from_secs(120)).finish();
    assert!(outcome.logs.found >= 1_000);
}

/// K3: alive for TCP, silent.
fn frozen(seconds: u64) {
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.broker(0).pause();
    pass(&rig, seconds);
    rig.wait_degraded(Duration::from_secs(1));
    kafka.broker(0).resume();
    rig.wait_delivered(1_000);
    pass(&rig, 2);
    let _ = rig.finish();
}

#[test]
fn a_broker_that_is_frozen_for_15_seconds_costs_nothing() {
    if has_time("a broker is frozen for 15 s") {
        frozen(15);
    }
}

#[test]
fn a_broker_that_is_frozen_for_a_minute_costs_nothing() {
    if has_time("a broker is frozen for a minute") {
        frozen(60);
    }
}

/// The oldest version that is tested: the whole path, and a kill.
#[test]
fn the_oldest_broker_is_served_alike() {
    if !has_time("a broker of the oldest version is killed and started") {
        return;
    }
    let Some(kafka) = KafkaPlan::new().version(Version::Oldest).start() else { return };
    let rig = Rig::start(&kafka);
    kafka.broker(0).kill();
    pass(&rig, 3);
    kafka.broker(0).restart();
    rig.wait_delivered(1_000);
    let _ = rig.finish();
}

/// K8: what was delivered before goes with the topic; nothing that came after does.
#[test]
fn a_topic_deleted_and_made_again_loses_only_what_was_in_it() {
    if !has_time("a topic is away for 10 s") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.delete_topic(&rig.topics.logs);
    let before = rig.daemon.metric("cim_records_delivered_total{route=\"logs\"") as usize;
    let events = rig.daemon.metric("cim_records_delivered_total{route=\"events\"");
    pass(&rig, 10);
    rig.wait_degraded(Duration::from_secs(30));
    let events_meanwhile = rig.daemon.metric("cim_records_delivered_total{route=\"events\"") - events;
    assert!(events_meanwhile > 100.0, "the other topic was held up: {events_meanwhile} events in 10 s");
    kafka.create_topic(&rig.topics.logs, LOG_PARTITIONS);
    rig.wait_delivered(10_000);
    let settled = rig.patience(Duration::from_secs(120)).settle();
    settled.assert_nothing_left_out();
    let mut outcome = settled.read();
    let lost = std::mem::take(&mut outcome.logs.lost);
    assert!(lost.iter().all(|line| *line < before), "{before} were delivered before, {lost:?} are not there");
    assert_clean(&settled.daemon, &outcome);
}

/// K8.
#[test]
fn a_topic_that_gets_more_partitions_is_used_in_full() {
    if !has_time("new partitions are noticed within a minute") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start_with(
        &kafka,
        GENTLE,
        &kafka.bootstrap(),
        "properties = { \"topic.metadata.refresh.interval.ms\" = 1000 }\n",
    );
    kafka.grow_topic(&rig.topics.logs, LOG_PARTITIONS + 4);
    let logs = rig.topics.logs.clone();
    let used = || kafka.records(&logs).iter().any(|record| record.partition >= LOG_PARTITIONS);
    cim_services::until("a record in a new partition", Duration::from_secs(90), used);
    let _ = rig.finish();
}

/// K7: one record that the broker refuses, among thousands that it takes.
#[test]
fn a_record_that_the_broker_refuses_is_set_aside_and_its_neighbours_pass() {
    if !has_time("records are isolated") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let rig = Rig::start(&kafka);
    kafka.alter_topic(&rig.topics.logs, &[("max.message.bytes", "100000")]);
    pass(&rig, 1);
    let mut wire = rig.daemon.connect();
    for _ in 0..3 {
        wire.publish("LOG", "y".repeat(200_000).as_bytes());
        wire.flush();
        pass(&rig, 1);
    }
    cim_services::until("three dead letters", Duration::from_secs(60), || {
        rig.daemon.metric("cim_dead_letters") > 2.5
    });
    rig.wait_delivered(4_000);
    let settled = rig.settle();
    assert_eq!(settled.daemon.metric("cim_records_dead_lettered_total") as usize, 3);
    assert!(settled.daemon.metric("cim_records_dropped_total") < 0.5);
    assert_clean(&settled.daemon, &settled.read());
}

/// K7: INVALID_RECORD; a compacted topic takes no record without a key.
#[test]
fn records_that_the_broker_finds_invalid_go_to_the_dead_letters_with_its_reason() {
    if !has_time("records are isolated one by one") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    kafka.alter_topic(&topics.logs, &[("cleanup.policy", "compact")]);
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let mut wire = daemon.connect();
    for n in 0..5 {
        wire.publish("LOG", format!("line {n}").as_bytes());
        wire.publish("EVENT", format!("{{\"eventName\":\"event {n}\",\"eventTime\":1}}").as_bytes());
    }
    wire.flush();
    drain(&daemon, Duration::from_secs(120));
    assert_books(&daemon);
    assert_eq!(daemon.metric("cim_records_dead_lettered_total") as usize, 5);
    assert_eq!(kafka.records(&topics.events).len(), 5);
}

/// K4: the broker wrote, and its answer is lost with the connection.
#[test]
fn answers_lost_with_their_connection_double_nothing() {
    if !has_time("twenty connections are cut") {
        return;
    }
    let Some((kafka, proxy)) = behind_proxy() else { return };
    let rig = rig_behind_proxy(&kafka);
    for _ in 0..20 {
        // The request passes, its answer does not.
        proxy.behave(
            Behaviour::faithful().flow(Direction::ToClient, Flow::faithful().cut_after(0, Ending::Reset)),
        );
        pass(&rig, 1);
        proxy.behave(Behaviour::faithful());
        rig.wait_delivered(500);
    }
    let _ = rig.finish();
}

/// K5, one way: requests arrive, answers do not.
#[test]
fn a_network_that_swallows_the_answers_costs_nothing() {
    if !has_time("a network is half gone for 20 s") {
        return;
    }
    let Some((kafka, proxy)) = behind_proxy() else { return };
    let rig = rig_behind_proxy(&kafka);
    proxy.behave(Behaviour::faithful().flow(Direction::ToClient, Flow::faithful().stall()));
    pass(&rig, 20);
    rig.wait_degraded(Duration::from_secs(1));
    proxy.behave(Behaviour::faithful());
    rig.wait_delivered(1_000);
    let _ = rig.finish();
}

/// K5: nothing comes back, not even a reset.
#[test]
fn a_network_that_swallows_everything_is_noticed_within_the_request_timeout() {
    if !has_time("a network is gone for 20 s") {
        return;
    }
    let Some((kafka, proxy)) = behind_proxy() else { return };
    let rig = rig_behind_proxy(&kafka);
    proxy.behave(Behaviour::blackhole());
    rig.wait_degraded(Duration::from_secs(15));
    pass(&rig, 5);
    proxy.behave(Behaviour::faithful());
    proxy.end_all(Ending::Reset);
    rig.wait_delivered(1_000);
    let _ = rig.finish();
}

/// K11: the first address of the name is dead.
#[test]
fn every_address_of_a_name_is_tried() {
    if !has_time("connecting to a dead address takes its time") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    let port = kafka.broker(0).address(Listener::Plain).port();
    let text = settings(&format!("kafka.test:{port}"), &topics, "");
    let Some(daemon) = start_with_hosts(&text, "127.0.0.9 kafka.test\n127.0.0.1 kafka.test\n") else {
        return;
    };
    let rig = Rig::over(&kafka, daemon, topics, Plan::default());
    kafka.broker(0).kill();
    pass(&rig, 2);
    kafka.broker(0).restart();
    rig.wait_delivered(1_000);
    let _ = rig.finish();
}

/// Starts the program in a mount namespace with an `/etc/hosts` of its own.
fn start_with_hosts(settings: &str, hosts: &str) -> Option<Daemon> {
    if !cim_services::has_program("unshare")
        || !Command::new("unshare").args(["-m", "true"]).status().unwrap().success()
    {
        skip("a mount namespace cannot be made here (needs root): names cannot be given addresses");
        return None;
    }
    let spawn = |home: &Path| -> Child {
        let file = home.join("hosts");
        std::fs::write(&file, hosts).unwrap();
        let script = format!("mount --bind {} /etc/hosts && exec \"$@\"", file.display());
        Daemon::spawn_under(home, &["unshare", "-m", "sh", "-c", &script, "sh"])
    };
    Some(Daemon::start_in(tempfile::tempdir().unwrap(), settings, spawn))
}

/// K11: the broker tells clients an address where nobody listens yet.
#[test]
fn an_address_that_leads_nowhere_is_tried_until_somebody_listens() {
    if !has_time("an advertised address leads nowhere for 10 s") {
        return;
    }
    let nowhere = free_port().unwrap();
    let mut target = None;
    let plan = KafkaPlan::new().proxied(|broker| {
        target = Some(broker);
        nowhere
    });
    let Some(kafka) = plan.start() else { return };
    let topics = Topics::create(&kafka);
    let target = target.unwrap();
    // Bootstrap reaches the broker; its answer leads away from it.
    let daemon = Daemon::start(&settings(&target.to_string(), &topics, ""));
    let load = Load::start(daemon.nats(), Plan::default());
    load.run_for(Duration::from_secs(10));
    assert!(daemon.metric("cim_records_delivered_total") < 0.5);
    let _proxy = ChaosProxy::start_at(nowhere, target, 1).unwrap();
    Settled::assert_after(load, &kafka, daemon, topics, Duration::from_secs(60));
}

/// Nobody is there at the start, for a while.
#[test]
fn brokers_that_are_absent_at_the_start_are_waited_for() {
    if !has_time("a broker comes 5 s after the program") {
        return;
    }
    let Some(kafka) = Kafka::single() else { return };
    let topics = Topics::create(&kafka);
    kafka.broker(0).kill();
    let daemon = Daemon::start(&settings(&kafka.bootstrap(), &topics, ""));
    let load = Load::start(daemon.nats(), Plan::default());
    load.run_for(Duration::from_secs(5));
    kafka.broker(0).restart();
    Settled::assert_after(load, &kafka, daemon, topics, Duration::from_secs(60));
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
    let load = Load::start(daemon.nats(), GENTLE);
    load.run_for(Duration::from_secs(10));
    assert!(proxy.accepted() > 3, "it gave up after {} connections", proxy.accepted());
    assert!(resident_bytes(&daemon) < 128 << 20, "{} bytes", resident_bytes(&daemon));
    proxy.aim(kafka.broker(0).address(Listener::Plain));
    Settled::assert_after(load, &kafka, daemon, topics, Duration::from_secs(60));
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

fn resident_bytes(daemon: &Daemon) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{}/status", daemon.pid())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
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
    for _ in 0..10 {
        rig.load.wait_for(10_000);
        rig.daemon.kill_and_restart();
        announced += rig.daemon.metric("cim_records_recovered_total");
        rig.wait_delivered(1_000);
    }
    let settled = rig.settle();
    settled.assert_nothing_left_out();
    let outcome = settled.read();
    assert_eq!((outcome.logs.faults(), outcome.events.faults()), (None, None));
    let duplicates = outcome.duplicates();
    assert!(
        duplicates as f64 <= announced,
        "{duplicates} duplicates of {announced} records that were recovered"
    );
    // Four batches of logs and four of events per kill.
    assert!(duplicates <= 10 * 8 * 2_048, "{duplicates} duplicates");
    eprintln!(
        "10 kills: {} records, {duplicates} duplicates, each marked",
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
    pass(&rig, 3);
    let Rig { mut daemon, load, topics, .. } = rig;
    let published = load.stop();
    assert!(daemon.metric("cim_records_held") > 1_000.0);
    let asked = std::time::Instant::now();
    daemon.signal("TERM");
    let code = daemon.ended();
    let waited = asked.elapsed();
    let report = daemon.stderr().lines().last().unwrap_or_default().to_owned();
    assert_eq!(code, Some(0), "{report}");
    assert!(waited < Duration::from_secs(10), "it took {waited:?}");
    assert!(report.contains("stopped") && report.contains("held="), "no stop report: {report}");
    kafka.broker(0).restart();
    daemon.start_again();
    drain(&daemon, Duration::from_secs(60));
    assert_books(&daemon);
    Settled { kafka: &kafka, daemon, topics, published }.assert_all_clean();
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
    assert!(arrived <= 4 * 2_048, "{shed} lines were counted as shed, {lost} are missing");
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
