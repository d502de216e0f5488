//! The whole life of a pod that was built for the original: real etcd, Kafka and API server, the old name, files and
//! variables; the application registers once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use cim_services::{Etcd, Kafka, Kubernetes, Outgoing, Record, until};
use cim_testkit::{Death, Ruling};
use cim_tests::application::{Application, Manners, Told};
use cim_tests::auditor::Auditor;
use cim_tests::check::Findings;
use cim_tests::client::{Client, Heard};
use cim_tests::cluster::{Berth, PATIENCE, POD};
use cim_tests::load::{Plan, Published};
use cim_tests::{Daemon, rig, verdict};
use serde_json::{Value, json};

const SUBSCRIPTIONS: &str = "/api/v1/_operations/event/subscriptions";
const SHUTDOWN: &str = "/api/v1/_operations/shutdown";
/// Seconds the config server gives a change; 180 where nobody waits for it.
const LEASE: u64 = 6;

/// The servers around the pod, and the pod.
struct World<'w> {
    etcd: &'static Etcd,
    kafka: &'w Kafka,
    berth: &'w Berth<'static>,
    app: Application,
    client: Arc<Client>,
    daemon: Daemon,
    auditor: Auditor,
}

impl<'w> World<'w> {
    fn start(etcd: &'static Etcd, kafka: &'w Kafka, berth: &'w Berth<'static>) -> Self {
        for (topic, partitions) in [("EVENT", 5), ("LOGS", 10), ("FMAASEVENTS", 1)] {
            kafka.create_topic(topic, partitions);
        }
        let auditor = audited(etcd, berth);
        let app = Application::start_where_cim_json_may_say(Manners::default());
        let home = tempfile::tempdir().unwrap();
        let opt = home.path().join("opt");
        std::fs::create_dir_all(opt.join("conf/static")).unwrap();
        std::fs::create_dir_all(opt.join("logs")).unwrap();
        let own = json!({"cimConfig": {
            "lmaas": {"logging_mode": "KAFKA", "flush_timeout": 10, "prefer_local_daemonset": false},
            "cim_settings": {"enable_kpi": true, "log_level": "INFO", "remote_svc_retry_count": 60},
            "app_settings": {"app_port": app.port(), "http2_enabled": false},
            "haaas": {"hb_interval": 100}
        }});
        std::fs::write(opt.join("conf/cim.json"), own.to_string()).unwrap();
        let infra = json!({
            "etcd_url": etcd.member(0).address().to_string(), "kafka_brokers": [kafka.bootstrap()], "log_format": "json",
            "enable_retrx": "false"
        });
        std::fs::write(opt.join("conf/static/common-infra.json"), infra.to_string()).unwrap();
        let (address, last_word) = (berth.kubernetes.address(), home.path().join("last-word"));
        std::fs::write(&last_word, "").unwrap();
        let variables = [
            ("K8S_NAMESPACE", berth.namespace.name().to_owned()),
            ("K8S_POD_ID", POD.to_owned()),
            ("MS_CONFIG_REVISION", "1".to_owned()),
            ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
            ("CIM__ORCHESTRATOR__TOKEN_FILE", berth.file("token").display().to_string()),
            ("CIM__ORCHESTRATOR__CA_FILE", berth.file("ca.crt").display().to_string()),
            ("CIM__LIFECYCLE__TERMINATION_LOG", last_word.display().to_string()),
            // Unlike the original: by its marks a record that is there twice is known.
            ("CIM__SINKS__XGVELA-KAFKA__HEADERS", "true".to_owned()),
        ];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let daemon = Daemon::start_as_original(home, &variables);
        let client = Arc::new(Client::connect(daemon.nats()));
        let voice = Arc::clone(&client);
        app.speak(move |result| {
            voice.tell("CONFIG", result);
            Ok(())
        });
        Self { etcd, kafka, berth, app, client, daemon, auditor }
    }

    /// What the config server reads.
    fn committed(&self) -> Option<i64> {
        let key = format!("commit-config/{}/shop/v1/ms/{POD}", self.berth.namespace.name());
        self.etcd.get(&key)?.parse().ok()
    }

    fn commits(&self, revision: i32) {
        until(&format!("the result of revision {revision}"), PATIENCE, || {
            self.committed() == Some(i64::from(revision))
        });
    }

    /// The auditor finds exactly the result of that change at the end of its lease, and removes it.
    fn audited(&self, revision: i32) {
        until("the audit", PATIENCE, || self.auditor.audited(revision).is_some());
        assert_eq!(self.auditor.audited(revision), Some(Ruling::Removed));
        until("its key is gone", PATIENCE, || self.committed().is_none());
    }

    fn notify(&self, heard: &Heard, value: &str) {
        let headers = [
            ("localEventName", "NetworkFunctionStateChanged"),
            ("nfNamingCode", "amf"),
            ("nfcNamingCode", "shop"),
            ("localNfID", "amf1"),
            ("replay", "false"),
        ];
        self.kafka.produce("FMAASEVENTS", &[Outgoing::new(&headers, value.as_bytes())]);
        until(value, PATIENCE, || heard.lock().unwrap().last().is_some_and(|last| last == value));
    }

    /// The pod is deleted, as kubectl does it, and its kubelet tells the program to end. The application is told, says its last
    /// words, and is done.
    fn end(&mut self, talk: Talk) -> Published {
        self.berth.namespace.kubectl(&["delete", "pod", POD, "--grace-period=20", "--wait=false"]);
        self.daemon.signal("TERM");
        let told = |app: &Application| app.calls().iter().any(|call| call.path == SHUTDOWN);
        until("the application is told", PATIENCE, || told(&self.app));
        let published = talk.end();
        assert!(self.client.say("EVENT", event("ShutdownSuccess")), "the last word is accepted");
        assert_eq!(self.daemon.ended(), Some(0), "{}", self.daemon.stderr());
        published
    }

    /// The topics hold what was accepted: all of it, in order, and twice only what is marked and explained.
    fn assert_clean(&self, published: &Published, explained: f64) {
        let (logs, events) = (self.kafka.records("LOGS"), self.kafka.records("EVENT"));
        let (found, of_app) = (Findings::logs(&logs, published), of_app(&events));
        assert_eq!(found.faults(), None, "logs");
        let twice = found.marked_duplicates;
        let found = Findings::events(&of_app, published);
        assert_eq!(found.faults(), None, "events");
        let twice = twice + found.marked_duplicates;
        assert!(twice as f64 <= explained, "{twice} records are there twice, {explained} may be");
        verdict::assert_clean(&self.kafka.bootstrap(), "LOGS", logs.len());
        verdict::assert_clean(&self.kafka.bootstrap(), "EVENT", events.len());
    }
}

/// An auditor of the pod, which its kubelet calls ready.
fn audited(etcd: &'static Etcd, berth: &Berth<'static>) -> Auditor {
    berth.namespace.set_pod_status(POD, "Running", "127.0.0.1", true);
    Auditor::start(etcd, berth.kubernetes, berth.namespace.name())
}

/// A change under a lease, as the config server writes it.
fn change(etcd: &Etcd, berth: &Berth<'_>, revision: i32) {
    let key = format!("change-set/{}/shop/v1/ms/app.json/{revision}", berth.namespace.name());
    let _ = etcd.put_for(&key, r#"[{"op":"replace","path":"/a","value":1}]"#, LEASE);
}

/// What the application says all its life: numbered lines, and an event beside every tenth.
struct Talk {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Published>,
}

impl Talk {
    fn start(client: &Arc<Client>) -> Self {
        let ended = Arc::new(AtomicBool::new(false));
        let (client, told) = (Arc::clone(client), Arc::clone(&ended));
        let thread = std::thread::spawn(move || {
            let plan = Plan { rate: 50, bytes: 0, sources: 2, event_every: 10 };
            let mut published = Published { plan, lines: 0, uncertain: Vec::new() };
            while !told.load(Ordering::Relaxed) {
                let n = published.lines;
                let event =
                    !n.is_multiple_of(plan.event_every) || client.say("EVENT", event(&format!("E{n:08}")));
                if !(client.say("LOG", line(n, plan)) && event) {
                    published.uncertain.push(n..n + 1);
                }
                published.lines += 1;
                std::thread::sleep(Duration::from_secs(1) / plan.rate);
            }
            published
        });
        Self { ended, thread }
    }

    fn end(self) -> Published {
        self.ended.store(true, Ordering::Relaxed);
        self.thread.join().unwrap()
    }
}

fn line(n: usize, plan: Plan) -> Vec<u8> {
    let log = cim_wire::Log {
        container_id: b"c1"[..].into(),
        container_name: format!("app-{}", n % plan.sources).into_bytes().into(),
        payload: Some(format!("{n:08} of the application").into_bytes().into()),
    };
    let mut bytes = Vec::new();
    log.encode_flatbuffer(&mut bytes);
    bytes
}

fn event(name: &str) -> Vec<u8> {
    let event = cim_wire::Event {
        event_name: name.as_bytes().to_vec().into(),
        event_time: 1,
        container_id: b"c1"[..].into(),
        ..cim_wire::Event::default()
    };
    let mut bytes = Vec::new();
    event.encode_flatbuffer(&mut bytes);
    bytes
}

/// Those of the talk; the others are the last word, and CIM's own.
fn of_app(events: &[Record]) -> Vec<Record> {
    events.iter().filter(|event| event.text().contains(r#""eventName":"E0"#)).cloned().collect()
}

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
    let heard = world.client.hear("EVENT-NOTIFICATION");
    let answer =
        world.daemon.call("POST", SUBSCRIPTIONS, br#"{"localEventName":["NetworkFunctionStateChanged"]}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.notify(&heard, r#"{"event":1}"#);
    change(etcd, &berth, 2);
    world.commits(2);

    // The sidecar is killed, and the lease of the change ends; nobody connects, registers or subscribes again.
    world.daemon.kill_and_restart();
    world.audited(2);
    change(etcd, &berth, 3);
    world.notify(&heard, r#"{"event":2}"#);
    world.audited(3);
    assert_eq!(world.app.revisions(), [2, 3]);
    let explained = rig::explained_duplicates(&world.daemon);

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
    change(etcd, &berth, 1);
    until("the pod is deleted", PATIENCE, || berth.is_pod_leaving());
    assert_eq!(app.revisions().first(), Some(&1));
    assert_eq!(auditor.deaths(), [Death::Failed]);
    assert!(berth.deletions().is_empty(), "{:?}", berth.deletions());
}
