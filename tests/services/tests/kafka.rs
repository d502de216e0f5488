//! The harness itself: brokers that start, fail, come back, and what the readers see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use cim_services::kafka::Listener;
use cim_services::{Authority, Home, Kafka, KafkaPlan, Version, until};
use cim_testkit::has_time;

const PATIENCE: Duration = Duration::from_secs(60);

/// Produces with kcat; false when the broker refused or did not answer in time.
fn produce(kafka: &Kafka, listener: Listener, options: &[&str], topic: &str, value: &str) -> bool {
    let mut command = Command::new("kcat");
    command.args([
        "-P",
        "-q",
        "-b",
        &kafka.addresses(listener),
        "-t",
        topic,
        "-k",
        "key",
        "-H",
        "a=1",
        "-H",
        "b=2",
    ]);
    command.args(["-X", "message.timeout.ms=5000"]).args(options);
    let mut kcat = command.stdin(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    kcat.stdin.take().unwrap().write_all(value.as_bytes()).unwrap();
    let output = kcat.wait_with_output().unwrap();
    if !output.status.success() {
        eprintln!("kcat says: {}", String::from_utf8_lossy(&output.stderr)); // seen when the test fails
    }
    output.status.success()
}

fn exists(pid: u32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

#[test]
fn a_record_comes_back_byte_for_byte_with_key_and_headers() {
    let Some(kafka) = Kafka::shared() else { return };
    kafka.create_topic("bytes", 3);
    assert!(produce(kafka, Listener::Plain, &["-p", "2", "-D", "|"], "bytes", "one\ntwo, \u{e4}"));
    let records = kafka.records("bytes");
    assert_eq!(records.len(), 1);
    let record = &records[0];
    assert_eq!((record.partition, record.offset, record.text().as_str()), (2, 0, "one\ntwo, \u{e4}"));
    assert_eq!(record.key.as_deref(), Some(b"key".as_slice()));
    assert_eq!((record.header("a"), record.header("b"), record.header("c")), (Some("1"), Some("2"), None));
}

#[test]
fn topics_come_grow_and_go() {
    let Some(kafka) = Kafka::shared() else { return };
    kafka.create_topic("grows", 1);
    assert_eq!(kafka.partitions("grows").len(), 1);
    kafka.grow_topic("grows", 4);
    assert_eq!(kafka.partitions("grows").len(), 4);
    kafka.alter_topic("grows", &[("max.message.bytes", "1000")]);
    assert!(!produce(kafka, Listener::Plain, &[], "grows", &"x".repeat(2000)));
    kafka.delete_topic("grows");
    kafka.create_topic("grows", 2);
    assert!(kafka.records("grows").is_empty());
}

#[test]
fn a_broker_that_is_killed_keeps_its_records_and_its_address() {
    if !has_time("a broker is killed and started again") {
        return;
    }
    let Some(kafka) = KafkaPlan::new().version(Version::Oldest).start() else { return };
    kafka.create_topic("kept", 1);
    assert!(produce(&kafka, Listener::Plain, &[], "kept", "before"));
    let pid = kafka.broker(0).pid();
    kafka.broker(0).kill();
    assert!(!exists(pid) && kafka.broker(0).known_brokers().is_none());
    assert!(!produce(&kafka, Listener::Plain, &[], "kept", "while dead"));
    kafka.broker(0).restart();
    assert!(produce(&kafka, Listener::Plain, &[], "kept", "after"));
    kafka.broker(0).pause();
    assert!(kafka.broker(0).known_brokers().is_none(), "a stopped process answers nothing");
    kafka.broker(0).resume();
    kafka.broker(0).wait_ready();
    assert_eq!(
        kafka.records("kept").iter().map(cim_services::Record::text).collect::<Vec<_>>(),
        ["before", "after"]
    );
    let (pid, home) = (kafka.broker(0).pid(), kafka.home().to_owned());
    drop(kafka);
    assert!(!exists(pid) && !home.exists());
}

#[test]
fn three_brokers_elect_a_leader_when_one_dies() {
    if !has_time("three brokers are started") {
        return;
    }
    let Some(kafka) = Kafka::cluster(3) else { return };
    kafka.create_topic("moves", 1);
    let leader = kafka.partitions("moves")[0].leader.unwrap();
    kafka.broker(leader).kill();
    until("a new leader", PATIENCE, || kafka.partitions("moves")[0].leader.is_some_and(|now| now != leader));
    assert!(produce(&kafka, Listener::Plain, &["-X", "acks=all"], "moves", "on two"));
    kafka.broker(leader).restart();
    until("three replicas in sync", PATIENCE, || kafka.partitions("moves")[0].in_sync == 3);
}

#[test]
fn listeners_ask_for_passwords_rights_and_certificates() {
    if !has_time("a broker is started three times") {
        return;
    }
    let home = Home::new();
    let Some(authority) = Authority::new(home.path()) else { return };
    let identity = authority.issue("broker", 2);
    let plan = KafkaPlan::new().sasl(&[("cim", "secret")]).tls(&identity).acls();
    let Some(kafka) = plan.start() else { return };
    kafka.create_topic("guarded", 1);
    kafka.set_scram_user("cim", "scram secret"); // kcat's SCRAM does not work with Kafka 4: only that the broker takes it
    let ca = format!("ssl.ca.location={}", authority.certificate().display());
    let send = |listener, protocol: &str, password: &str| {
        let protocol = format!("security.protocol={protocol}");
        let password = format!("sasl.password={password}");
        let user = ["-X", "sasl.mechanism=PLAIN", "-X", "sasl.username=cim"];
        let options = [user.as_slice(), &["-X", &protocol, "-X", &password, "-X", &ca]].concat();
        produce(&kafka, listener, &options, "guarded", "value")
    };
    assert!(!send(Listener::Sasl, "SASL_PLAINTEXT", "secret"), "no right yet");
    kafka.allow("cim", "write", "guarded");
    until("the right", PATIENCE, || send(Listener::Sasl, "SASL_PLAINTEXT", "secret"));
    assert!(!send(Listener::Sasl, "SASL_PLAINTEXT", "wrong"));
    assert!(send(Listener::SaslTls, "SASL_SSL", "secret"));
    kafka.forbid("cim", "write", "guarded");
    until("the right is gone", PATIENCE, || !send(Listener::Sasl, "SASL_PLAINTEXT", "secret"));

    let other = Authority::new(&home.path().join("other")).unwrap();
    kafka.set_identity(&other.issue("broker", 2));
    kafka.broker(0).restart();
    kafka.allow("cim", "write", "guarded");
    assert!(!send(Listener::SaslTls, "SASL_SSL", "secret"), "an authority nobody trusts");
    kafka.set_identity(&authority.issue("late", -1));
    kafka.broker(0).restart();
    assert!(!send(Listener::SaslTls, "SASL_SSL", "secret"), "expired");
}

#[test]
fn clients_are_told_the_address_of_the_proxy() {
    if !has_time("a broker of its own is started") {
        return;
    }
    let mut proxied = Vec::new();
    let plan = KafkaPlan::new().proxied(|broker| {
        let proxy = cim_services::free_port().unwrap();
        proxied.push((broker, proxy));
        proxy
    });
    let Some(kafka) = plan.start() else { return };
    let (broker, proxy) = proxied[0];
    assert_eq!(kafka.addresses(Listener::Proxied), proxy.to_string());
    let output = Command::new("kcat").args(["-L", "-b", &broker.to_string()]).output().unwrap();
    assert!(String::from_utf8_lossy(&output.stdout).contains(&format!("at {proxy}")));
}
