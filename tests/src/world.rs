//! The world of a pod that was built for the original: real etcd, Kafka and API server, an auditor, the old name, files and
//! variables, and an application that registers once.
//!
//! Owns what stands around the program, and what the application says all its life. Left out: what a test does to it. Invariant:
//! everything that is said is numbered, so that [`World::assert_clean`] knows of every record where it has to be.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cim_services::{Etcd, Kafka, Outgoing, Record, until};
use cim_testkit::Ruling;
use serde_json::json;

use crate::application::{Application, Manners};
use crate::auditor::Auditor;
use crate::check::Findings;
use crate::client::{Client, Heard};
use crate::cluster::{Berth, PATIENCE, POD};
use crate::load::{Plan, Published};
use crate::{Daemon, repeats, verdict};

/// Where subscriptions are.
pub const SUBSCRIPTIONS: &str = "/api/v1/_operations/event/subscriptions";
const SHUTDOWN: &str = "/api/v1/_operations/shutdown";
/// What the tests subscribe to.
pub const WANTED: &str = "NetworkFunctionStateChanged";

/// The servers around the pod, and the pod.
pub struct World<'w> {
    etcd: &'static Etcd,
    kafka: &'w Kafka,
    berth: &'w Berth<'static>,
    /// The application.
    pub app: Application,
    /// Its connection.
    pub client: Arc<Client>,
    /// The program.
    pub daemon: Daemon,
    /// Who judges the pod.
    pub auditor: Auditor,
}

impl<'w> World<'w> {
    /// Starts everything; the application is connected and has not registered.
    #[must_use]
    pub fn start(etcd: &'static Etcd, kafka: &'w Kafka, berth: &'w Berth<'static>) -> Self {
        Self::start_with(etcd, kafka, berth, &[])
    }

    /// The same with further variables for the program.
    #[must_use]
    pub fn start_with(
        etcd: &'static Etcd,
        kafka: &'w Kafka,
        berth: &'w Berth<'static>,
        more: &[(&str, &str)],
    ) -> Self {
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
        let variables: Vec<_> = variables
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .chain(more.iter().copied())
            .collect();
        let daemon = Daemon::start_as_original(home, &variables);
        let client = Arc::new(Client::connect(daemon.nats()));
        let voice = Arc::clone(&client);
        app.speak(move |result| {
            voice.tell("CONFIG", result);
            Ok(())
        });
        Self { etcd, kafka, berth, app, client, daemon, auditor }
    }

    /// Everything that the program speaks to has answered, the application is connected, and nothing waits.
    pub fn settles(&self) {
        let metric = |name: &str| self.daemon.metric(name);
        until("etcd and Kafka to be read", PATIENCE, || {
            ["cim_config_watching", "cim_subscription_reading"].iter().all(|name| metric(name) > 0.5)
        });
        let before = metric("cim_records_delivered_total");
        until("the application to be connected", PATIENCE, || self.client.say("EVENT", event("Settled")));
        until("delivery", PATIENCE, || {
            metric("cim_records_delivered_total") > before + 0.5 && metric("cim_records_held") < 0.5
        });
    }

    /// Kills the program and starts it again. The numbers of logs and of events that it had not settled.
    pub fn kill_and_restart(&mut self) -> [Range<usize>; 2] {
        let pods = self.daemon.home().join("opt/logs/.cim");
        let spool = pods.join(format!("{}_{POD}", self.berth.namespace.name()));
        let unsettled = repeats::kill(&mut self.daemon, &spool);
        self.daemon.start_again();
        unsettled
    }

    /// What the config server reads.
    fn committed(&self) -> Option<i64> {
        let key = format!("commit-config/{}/shop/v1/ms/{POD}", self.berth.namespace.name());
        self.etcd.get(&key)?.parse().ok()
    }

    /// Waits for the result of a change.
    pub fn commits(&self, revision: i32) {
        until(&format!("the result of revision {revision}"), PATIENCE, || {
            self.committed() == Some(i64::from(revision))
        });
    }

    /// The auditor finds exactly the result of that change at the end of its lease, and removes it.
    pub fn audited(&self, revision: i32) {
        until("the audit", PATIENCE, || self.auditor.audited(revision).is_some());
        assert_eq!(self.auditor.audited(revision), Some(Ruling::Removed));
        until("its key is gone", PATIENCE, || self.committed().is_none());
    }

    /// Subscribes to [`WANTED`], and returns what arrives.
    #[must_use]
    pub fn subscribe(&self) -> Heard {
        let heard = self.client.hear("EVENT-NOTIFICATION");
        let filter = json!({ "localEventName": [WANTED] }).to_string();
        let answer = self.daemon.call("POST", SUBSCRIPTIONS, filter.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        heard
    }

    /// Writes an event that is subscribed to.
    pub fn raise(&self, value: &str) {
        let headers = [
            ("localEventName", WANTED),
            ("nfNamingCode", "amf"),
            ("nfcNamingCode", "shop"),
            ("localNfID", "amf1"),
            ("replay", "false"),
        ];
        self.kafka.produce("FMAASEVENTS", &[Outgoing::new(&headers, value.as_bytes())]);
    }

    /// Writes an event, and waits until it has arrived.
    pub fn notify(&self, heard: &Heard, value: &str) {
        self.raise(value);
        until(value, PATIENCE, || heard.lock().unwrap().last().is_some_and(|last| last == value));
    }

    /// The pod is deleted, as kubectl does it, and its kubelet tells the program to end. The application is told, says its last
    /// words, and is done.
    pub fn end(&mut self, talk: Talk) -> Published {
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
    pub fn assert_clean(&self, published: &Published, explained: f64) {
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

    /// Beyond what these kills may have found on its way, no more came again than the program has announced.
    pub fn assert_repeats(&self, kills: &[[Range<usize>; 2]], announced: f64) {
        let unexplained = |topic: &str, stream: usize| {
            let kills: Vec<_> = kills.iter().map(|unsettled| unsettled[stream].clone()).collect();
            repeats::unexplained(&self.kafka.records(topic), &kills)
        };
        let (logs, events) = (unexplained("LOGS", 0), unexplained("EVENT", 1));
        let copies = (logs.len() + events.len()) as f64;
        assert!(copies <= announced, "{logs:?} and {events:?} came again, {announced} may: {kills:?}");
    }
}

/// An auditor of the pod, which its kubelet calls ready.
#[must_use]
pub fn audited(etcd: &'static Etcd, berth: &Berth<'static>) -> Auditor {
    berth.namespace.set_pod_status(POD, "Running", "127.0.0.1", true);
    Auditor::start(etcd, berth.kubernetes, berth.namespace.name())
}

/// A change under a lease of so many seconds, as the config server writes it.
pub fn change(etcd: &Etcd, berth: &Berth<'_>, revision: i32, lease: u64) {
    let key = format!("change-set/{}/shop/v1/ms/app.json/{revision}", berth.namespace.name());
    let _ = etcd.put_for(&key, r#"[{"op":"replace","path":"/a","value":1}]"#, lease);
}

/// What the application says all its life: numbered lines, and an event beside every tenth.
pub struct Talk {
    ended: Arc<AtomicBool>,
    thread: JoinHandle<Published>,
}

impl Talk {
    /// Begins to talk.
    #[must_use]
    pub fn start(client: &Arc<Client>) -> Self {
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

    /// Lets it go on for so long: the length of an outage.
    pub fn run_for(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            assert!(!self.thread.is_finished(), "the application has failed");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Ends it; what was said.
    #[must_use]
    pub fn end(self) -> Published {
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
