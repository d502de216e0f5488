//! Rights, passwords and certificates: lost, wrong, changed, and right again, without a restart of the program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;
use std::time::Duration;

use cim_services::kafka::Listener;
use cim_services::{Authority, Home, Identity, Kafka, KafkaPlan};
use cim_tests::invariants::Footprint;
use cim_tests::load::{Load, Plan};
use cim_tests::rig::{Rig, Topics, settings};
use cim_tests::{Daemon, has_time, skip};

const USER: &str = "cim";
const PASSWORD: &str = "right";
/// Like nothing else, so that it is found wherever it is shown.
const WRONG: &str = "canary-4711";

/// Suspended deliveries are tried again every 15 s.
const HEALING: Duration = Duration::from_secs(90);

/// Whether the program can do TLS and SCRAM. Otherwise says that the test is skipped.
fn has_tls() -> bool {
    let home = Home::new();
    let file = home.path().join("cim.toml");
    let table = "[sinks.broker]\ntype = \"kafka\"\nbrokers = [\"127.0.0.1:9092\"]\ntls = {}\n";
    std::fs::write(&file, table).unwrap();
    let output = std::process::Command::new(cim_tests::binary())
        .args(["validate", "--config"])
        .arg(&file)
        .output()
        .unwrap();
    let has = output.status.success();
    if !has {
        skip("the program is built without the feature `tls`");
    }
    has
}

fn sasl(mechanism: &str, password_file: &Path) -> String {
    format!(
        "sasl = {{ mechanism = \"{mechanism}\", username = \"{USER}\", password_file = \"{}\" }}\n",
        password_file.display()
    )
}

/// The load of a program that could not deliver at first is delivered in the end.
fn healed(kafka: &Kafka, daemon: Daemon, topics: Topics, load: Load, started: Footprint) {
    let _ = Rig::around(kafka, daemon, topics, load, started).patience(HEALING).finish();
}

/// Waits until both health pages tell that somebody is not authorized, and give the reason with that word.
fn refused(daemon: &Daemon, reason: &str) {
    told(daemon, &["unauthorized", reason]);
}

/// Waits until both health pages have all of these words.
fn told(daemon: &Daemon, words: &[&str]) {
    for page in ["/readyz", "/statusz"] {
        let told = || daemon.get(page).is_some_and(|text| words.iter().all(|word| text.contains(word)));
        cim_services::until(&format!("{words:?} on {page}"), HEALING, told);
    }
}

/// The wrong password is on no page and not in the log.
fn assert_hidden(daemon: &Daemon) {
    let shown = [daemon.get("/readyz"), daemon.get("/statusz"), Some(daemon.stderr())].map(Option::unwrap);
    assert!(!shown.iter().any(|text| text.contains(WRONG)), "the password is shown: {shown:?}");
}

/// K8: one topic is denied, the other flows.
#[test]
fn rights_that_are_granted_later_heal_one_topic_while_the_other_flows() {
    if !has_time("rights are granted after 10 s") {
        return;
    }
    let home = Home::new();
    let file = home.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let Some(kafka) = KafkaPlan::new().sasl(&[(USER, PASSWORD)]).acls().start() else { return };
    let topics = Topics::create(&kafka);
    kafka.allow(USER, "write", &topics.events);
    let daemon = Daemon::start(&settings(&kafka.addresses(Listener::Sasl), &topics, &sasl("PLAIN", &file)));
    let started = Footprint::of(&daemon);
    let load = Load::start(daemon.nats(), Plan::default());
    let events = || daemon.metric("cim_records_delivered_total{route=\"events\"");
    cim_services::until("events", HEALING, || events() > 100.0);
    let told = || daemon.get("/readyz").is_some_and(|page| page.contains("degraded"));
    cim_services::until("readiness to tell of the refusal", HEALING, told);
    assert!(daemon.metric("cim_records_delivered_total{route=\"logs\"") < 0.5);
    kafka.allow(USER, "write", &topics.logs);
    cim_services::until("logs", HEALING, || {
        daemon.metric("cim_records_delivered_total{route=\"logs\"") > 1_000.0
    });
    // And taken away under load.
    kafka.forbid(USER, "write", &topics.logs);
    cim_services::until("readiness to tell of the refusal", HEALING, told);
    load.wait_for(4_000);
    kafka.allow(USER, "write", &topics.logs);
    healed(&kafka, daemon, topics, load, started);
}

/// K10.
#[test]
fn a_wrong_password_is_replaced_in_its_file() {
    if !has_time("a password is wrong for 5 s") {
        return;
    }
    let home = Home::new();
    let file = home.path().join("password");
    std::fs::write(&file, WRONG).unwrap();
    let Some(kafka) = KafkaPlan::new().sasl(&[(USER, PASSWORD)]).start() else { return };
    let topics = Topics::create(&kafka);
    let daemon = Daemon::start(&settings(&kafka.addresses(Listener::Sasl), &topics, &sasl("PLAIN", &file)));
    let started = Footprint::of(&daemon);
    let load = Load::start(daemon.nats(), Plan::default());
    refused(&daemon, "Authentication failed");
    assert!(daemon.metric("cim_records_delivered_total") < 0.5);
    assert_hidden(&daemon);
    std::fs::write(&file, PASSWORD).unwrap();
    healed(&kafka, daemon, topics, load, started);
}

/// K10: the broker changes the password first, then the file follows.
#[test]
fn a_password_that_is_rotated_at_the_broker_first_is_followed() {
    if !has_time("a password is rotated") || !has_tls() {
        return;
    }
    let home = Home::new();
    let file = home.path().join("password");
    std::fs::write(&file, PASSWORD).unwrap();
    let Some(kafka) = KafkaPlan::new().sasl(&[("other", "x")]).start() else { return };
    kafka.set_scram_user(USER, PASSWORD);
    let keys = sasl("SCRAM-SHA-512", &file);
    let rig = Rig::start_with(&kafka, Plan::default(), &kafka.addresses(Listener::Sasl), &keys);
    kafka.set_scram_user(USER, "another");
    // A connection that is open stays so; the next one needs the new password.
    kafka.broker(0).restart();
    rig.wait_degraded(Duration::from_secs(30));
    std::fs::write(&file, "another").unwrap();
    rig.wait_delivered(4_000);
    let _ = rig.patience(HEALING).finish();
}

/// Waits until the health pages and the log give the certificate as the reason, as the guide promises; in the log for the
/// `times`th time.
fn names_the_certificate(rig: &Rig<'_>, times: usize) {
    refused(&rig.daemon, "certificate");
    let reason = |text: &str| text.contains("unauthorized") && text.contains("certificate");
    let lines =
        || rig.daemon.stderr().lines().filter(|line| line.contains("route=logs") && reason(line)).count();
    cim_services::until("the certificate in the log", HEALING, || lines() >= times);
}

/// K10: the brokers show a certificate that is not valid any more, one that is not valid yet, as to a client whose clock is
/// wrong, and one of an authority nobody trusts; then the file of trusted ones is replaced.
#[test]
fn certificates_that_are_swapped_are_followed() {
    if !has_time("certificates are swapped") || !has_tls() {
        return;
    }
    let home = Home::new();
    let Some(authority) = Authority::new(&home.path().join("first")) else { return };
    let (ca, password) = (home.path().join("trusted.pem"), home.path().join("password"));
    std::fs::copy(authority.certificate(), &ca).unwrap();
    std::fs::write(&password, PASSWORD).unwrap();
    let identity = authority.issue("broker", 2);
    let Some(kafka) = KafkaPlan::new().sasl(&[(USER, PASSWORD)]).tls(&identity).start() else { return };
    kafka.set_scram_user(USER, PASSWORD);
    let keys = format!("tls = {{ ca_file = \"{}\" }}\n{}", ca.display(), sasl("SCRAM-SHA-256", &password));
    let rig = Rig::start_with(&kafka, Plan::default(), &kafka.addresses(Listener::SaslTls), &keys);

    for (times, wrong) in [(1, authority.issue("late", -1)), (2, authority.issue_too_early("early"))] {
        kafka.set_identity(&wrong);
        kafka.broker(0).restart();
        rig.wait_degraded(Duration::from_secs(30));
        names_the_certificate(&rig, times);
        kafka.set_identity(&identity);
        kafka.broker(0).restart();
        rig.wait_delivered(4_000);
    }
    let second = Authority::new(&home.path().join("second")).unwrap();
    kafka.set_identity(&second.issue("broker", 2));
    kafka.broker(0).restart();
    names_the_certificate(&rig, 3);
    std::fs::copy(second.certificate(), &ca).unwrap();
    rig.wait_delivered(4_000);
    let _ = rig.patience(HEALING).finish();
}

/// Puts a certificate and its key, under the password, where the program reads them.
fn place(dir: &Path, identity: &Identity) {
    std::fs::copy(&identity.certificate, dir.join("tls.crt")).unwrap();
    std::fs::copy(identity.locked_key(PASSWORD), dir.join("tls.key")).unwrap();
}

/// Nothing is delivered for so many lines: they wait.
fn assert_waits(rig: &Rig<'_>, lines: usize) {
    let delivered = || rig.daemon.metric("cim_records_delivered_total");
    let before = delivered();
    rig.load.wait_for(lines);
    assert_eq!(delivered(), before, "delivered by a client that is refused");
    assert!(rig.daemon.metric("cim_records_held") >= lines as f64, "the lines do not wait");
}

/// K10: with TLS alone the certificate of the client is all that says who it is.
#[test]
fn a_client_certificate_that_is_refused_is_replaced_in_its_file() {
    if !has_time("certificates of the client are swapped") || !has_tls() {
        return;
    }
    let home = Home::new();
    let Some(authority) = Authority::new(&home.path().join("first")) else { return };
    let second = Authority::new(&home.path().join("second")).unwrap();
    let (broker, right, wrong) =
        (authority.issue("broker", 2), authority.issue("client", 2), second.issue("client", 2));
    let plan = KafkaPlan::new().tls(&broker).client_certificates(&authority);
    let Some(kafka) = plan.start() else { return };
    let password = home.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    place(home.path(), &right);
    let keys = format!(
        "tls = {{ ca_file = \"{}\", certificate_file = \"{dir}/tls.crt\", key_file = \"{dir}/tls.key\", \
         key_password_file = \"{}\" }}\n",
        authority.certificate().display(),
        password.display(),
        dir = home.path().display()
    );
    let rig = Rig::start_with(&kafka, Plan::default(), &kafka.addresses(Listener::Tls), &keys);

    place(home.path(), &wrong);
    refused(&rig.daemon, "see `certificate_file`");
    names_the_certificate(&rig, 1);
    assert_waits(&rig, 4_000);
    place(home.path(), &right);
    rig.wait_delivered(4_000);
    // The key cannot be read any more: there is no client at all.
    std::fs::write(&password, WRONG).unwrap();
    rig.wait_degraded(Duration::from_secs(30));
    told(&rig.daemon, &["misconfigured", "ssl.key"]);
    assert_waits(&rig, 4_000);
    assert_hidden(&rig.daemon);
    std::fs::write(&password, PASSWORD).unwrap();
    rig.wait_delivered(4_000);
    let _ = rig.patience(HEALING).finish();
}
