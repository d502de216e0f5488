//! The whole life of a pod that was built for the original: real etcd, Kafka and API server, the old name, files and
//! variables; the application registers once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_services::{Etcd, Kafka, Kubernetes, until};
use cim_testkit::Death;
use cim_tests::application::{Application, Manners, Told};
use cim_tests::cluster::{Berth, PATIENCE};
use cim_tests::world::{Talk, World, audited, change};
use cim_tests::{Daemon, invariants, rig};
use serde_json::Value;

/// Seconds the config server gives a change; 180 where nobody waits for it.
const LEASE: u64 = 6;

#[test]
fn a_pod_lives_through_changes_notifications_and_a_kill_of_its_sidecar_and_ends_with_everything_delivered() {
    let (Some(kubernetes), Some(etcd), Some(kafka)) = (Kubernetes::shared(), Etcd::shared(), Kafka::single())
    else {
        return;
    };
    let berth = Berth::new(kubernetes);
    let mut world = World::start(etcd, &kafka, &berth);

    // Start and registration: the values of the start are committed.
    let answer = world.daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", world.daemon.stderr());
    assert!(answer.contains(r#""nfServiceType":"shop""#), "{answer}");
    world.commits(1);

    // Logs, events, a subscription, a change.
    let talk = Talk::start(&world.client);
    let heard = world.subscribe();
    world.notify(&heard, r#"{"event":1}"#);
    change(etcd, &berth, 2, LEASE);
    world.commits(2);

    // The sidecar is killed, and the lease of the change ends; nobody connects, registers or subscribes again.
    world.daemon.kill_and_restart();
    world.audited(2);
    change(etcd, &berth, 3, LEASE);
    world.notify(&heard, r#"{"event":2}"#);
    world.audited(3);
    assert_eq!(world.app.revisions(), [2, 3]);
    let explained = rig::explained_duplicates(&world.daemon);

    invariants::assert_books(&world.daemon);
    let published = world.end(talk);
    // The kill costs what is under way its answer, and nothing else does.
    assert!(published.lines > 100 && published.uncertain.len() <= 2, "{published:?}");
    let word = world.daemon.last_word();
    for left_over in ["exit_code", "held", "dropped", "dead_letters", "spilled"] {
        assert_eq!(word[left_over], 0, "{word}");
    }
    world.assert_clean(&published, explained);
    let texts: Vec<Value> =
        kafka.records("EVENT").iter().map(|record| serde_json::from_str(&record.text()).unwrap()).collect();
    for name in [
        "CimConfigUpdateSuccess",
        "CimCommitConfigSuccess",
        "ApplicationShutdownInitiated",
        "ShutdownSuccess",
    ] {
        assert!(texts.iter().any(|event| event["eventName"] == name), "{name}");
    }
    let of_app = texts.iter().find(|event| event["eventName"] == "E00000000").unwrap();
    assert_eq!(of_app["sourceHeaders"]["nfId"], "amf1");
    assert!(world.auditor.deaths().is_empty(), "{:?}", world.auditor.sentences());
    assert!(berth.deletions().is_empty(), "nobody deletes the pod that ends");
}

#[test]
fn a_pod_whose_application_never_answers_is_deleted_by_the_auditor_and_by_nobody_else() {
    let (Some(kubernetes), Some(etcd)) = (Kubernetes::shared(), Etcd::shared()) else { return };
    let berth = Berth::new(kubernetes);
    let auditor = audited(etcd, &berth);
    let app = Application::start(Manners { status: None, told: Told::Never, ..Manners::default() });
    let source = format!("[configuration]\nsource = \"etcd\"\netcd.endpoints = {:?}\n", etcd.endpoints());
    let daemon = Daemon::start(&format!("{}{}{source}", app.setting(), berth.settings()));
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    change(etcd, &berth, 1, LEASE);
    // The pod leaves before the auditor has its answer and says so.
    until("the auditor deletes a pod", PATIENCE, || !auditor.deaths().is_empty());
    assert!(berth.is_pod_leaving());
    assert_eq!(app.revisions().first(), Some(&1));
    assert_eq!(auditor.deaths(), [Death::Failed]);
    assert!(berth.deletions().is_empty(), "{:?}", berth.deletions());
}
