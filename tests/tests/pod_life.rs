//! The whole life of a pod that was built for the original: real etcd, Kafka and API server, the old name, files and
//! variables; the application registers once.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_services::{Etcd, Kafka, Kubernetes, Outgoing, Record, until};
use cim_tests::application::{Application, Manners};
use cim_tests::cluster::{Berth, PATIENCE, POD};
use cim_tests::{Daemon, Wire};
use serde_json::{Value, json};

const SUBSCRIPTIONS: &str = "/api/v1/_operations/event/subscriptions";
const SHUTDOWN: &str = "/api/v1/_operations/shutdown";

/// The servers around the pod, and the pod.
struct World<'w> {
    etcd: &'w Etcd,
    kafka: &'w Kafka,
    berth: &'w Berth<'w>,
    app: Application,
    daemon: Daemon,
}

impl<'w> World<'w> {
    fn start(etcd: &'w Etcd, kafka: &'w Kafka, berth: &'w Berth<'w>) -> Self {
        for (topic, partitions) in [("EVENT", 5), ("LOGS", 10), ("FMAASEVENTS", 1)] {
            kafka.create_topic(topic, partitions);
        }
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
        let address = berth.kubernetes.address();
        let variables = [
            ("K8S_NAMESPACE", berth.namespace.name().to_owned()),
            ("K8S_POD_ID", POD.to_owned()),
            ("MS_CONFIG_REVISION", "1".to_owned()),
            ("KUBERNETES_SERVICE_HOST", address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", address.port().to_string()),
            ("CIM__ORCHESTRATOR__TOKEN_FILE", berth.file("token").display().to_string()),
            ("CIM__ORCHESTRATOR__CA_FILE", berth.file("ca.crt").display().to_string()),
        ];
        let variables: Vec<_> = variables.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let daemon = Daemon::start_as_original(home, &variables);
        app.connect(daemon.nats());
        Self { etcd, kafka, berth, app, daemon }
    }

    /// A change under a lease, as the config server writes it.
    fn change(&self, revision: u32) {
        let lease = self.etcd.etcdctl(&["lease", "grant", "180"]);
        let lease = format!("--lease={}", lease.split(' ').nth(1).unwrap());
        let key = format!("change-set/{}/shop/v1/ms/app.json/{revision}", self.berth.namespace.name());
        let _ = self.etcd.etcdctl(&["put", &lease, &key, r#"[{"op":"replace","path":"/a","value":1}]"#]);
    }

    /// What the config server reads at its audit: it deletes a pod whose value is lower, absent or -1.
    fn committed(&self) -> Option<i64> {
        let key = format!("commit-config/{}/shop/v1/ms/{POD}", self.berth.namespace.name());
        self.etcd.get(&key)?.parse().ok()
    }

    fn audit(&self, revision: u32) {
        until(&format!("the result of revision {revision}"), PATIENCE, || {
            let value = self.committed();
            assert_ne!(value, Some(-1), "a result that costs the pod its life");
            value == Some(i64::from(revision))
        });
        assert!(!self.berth.is_pod_leaving() && self.berth.deletions().is_empty(), "the pod is healthy");
    }

    fn publish(&self, wire: &mut Wire, lines: std::ops::Range<u32>, event: &str) {
        for number in lines {
            let log = cim_wire::Log {
                container_id: b"c1"[..].into(),
                container_name: b"shop"[..].into(),
                payload: Some(format!("line {number}").into_bytes().into()),
            };
            let mut bytes = Vec::new();
            log.encode_flatbuffer(&mut bytes);
            wire.publish("LOG", &bytes);
        }
        wire.publish("EVENT", &event_bytes(event));
        wire.flush();
    }

    fn notify(&self, wire: &mut Wire, value: &str) {
        let headers = [
            ("localEventName", "NetworkFunctionStateChanged"),
            ("nfNamingCode", "amf"),
            ("nfcNamingCode", "shop"),
            ("localNfID", "amf1"),
            ("replay", "false"),
        ];
        self.kafka.produce("FMAASEVENTS", &[Outgoing::new(&headers, value.as_bytes())]);
        assert_eq!(String::from_utf8(wire.message()).unwrap(), value);
    }

    /// Numbers of the lines on topic LOGS, each partition in its order.
    fn lines(&self) -> Vec<u32> {
        let number = |record: &Record| {
            let value: Value = serde_json::from_slice(record.value.as_deref()?).ok()?;
            value["log"].as_str()?.strip_prefix("line ")?.parse().ok()
        };
        self.kafka.records("LOGS").iter().filter_map(number).collect()
    }

    fn events(&self) -> Vec<Value> {
        let values = self.kafka.records("EVENT");
        values
            .iter()
            .map(|record| serde_json::from_slice(record.value.as_deref().unwrap()).unwrap())
            .collect()
    }

    fn has_event(&self, name: &str) -> bool {
        self.events().iter().any(|event| event["eventName"] == name)
    }
}

fn event_bytes(name: &str) -> Vec<u8> {
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

#[test]
fn a_pod_lives_through_changes_notifications_and_a_kill_of_its_sidecar_and_ends_with_everything_delivered() {
    let (Some(kubernetes), Some(etcd), Some(kafka)) = (Kubernetes::shared(), Etcd::single(), Kafka::single())
    else {
        return;
    };
    let berth = Berth::new(kubernetes);
    let mut world = World::start(&etcd, &kafka, &berth);

    // Start and registration: the values of the start are committed.
    let answer = world.daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", world.daemon.stderr());
    assert!(answer.contains(r#""nfServiceType":"shop""#), "{answer}");
    world.audit(1);

    // Logs, events, a change, a subscription.
    let mut wire = world.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    let answer =
        world.daemon.call("POST", SUBSCRIPTIONS, br#"{"localEventName":["NetworkFunctionStateChanged"]}"#);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    world.publish(&mut world.daemon.connect(), 0..50, "Before");
    world.change(2);
    world.audit(2);
    world.notify(&mut wire, r#"{"event":1}"#);

    // The sidecar is killed; nobody registers or subscribes again.
    world.daemon.kill_and_restart();
    let mut wire = world.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    world.publish(&mut world.daemon.connect(), 50..100, "After");
    world.change(3);
    world.audit(3);
    world.notify(&mut wire, r#"{"event":2}"#);
    assert_eq!(world.app.revisions(), [2, 3]);
    until("exact books", PATIENCE, || {
        world.daemon.books_balance() && world.daemon.metric("cim_records_held") < 0.5
    });

    // The pod ends: the application is told, says its last words, and is done.
    world.daemon.signal("TERM");
    let told = |app: &Application| app.calls().iter().any(|call| call.path == SHUTDOWN);
    until("the application is told", PATIENCE, || told(&world.app));
    world.publish(&mut world.daemon.connect(), 100..110, "ShutdownSuccess");
    assert_eq!(world.daemon.ended(), Some(0), "{}", world.daemon.stderr());

    for name in ["Before", "After", "CimConfigUpdateSuccess", "CimCommitConfigSuccess"] {
        assert!(world.has_event(name), "{name}");
    }
    for name in ["ApplicationShutdownInitiated", "ShutdownSuccess"] {
        assert!(world.has_event(name), "{name}");
    }
    let app_event = world.events().into_iter().find(|event| event["eventName"] == "After").unwrap();
    assert_eq!(app_event["sourceHeaders"]["nfId"], "amf1");
    let mut lines = world.lines();
    lines.sort_unstable();
    lines.dedup();
    assert_eq!(lines, (0..110).collect::<Vec<_>>());
    assert!(berth.deletions().is_empty(), "nobody deletes the pod that ends");
}
