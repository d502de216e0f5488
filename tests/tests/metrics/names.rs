//! Every name, type and label that the original had (wire contract §10.1, §10.2), each moved by what it counts.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cim_exposition::{Kind, parse};
use cim_services::Etcd;
use cim_tests::application::{Application, Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::{Daemon, until};
use serde_json::json;

use crate::body;

/// Moved by the commit of a result that fails until the time of its change is over, which takes a store with leases.
const LOST_COMMIT: &str = "cim_commit_config_push_failure_total";

/// Name and type; the label is `pod`.
const OLD: [(&str, Kind); 24] = [
    ("Total_msg_count", Kind::Counter),
    ("Total_msg_sent_to_tcp", Kind::Counter),
    ("Total_msg_write_to_file", Kind::Counter),
    (LOST_COMMIT, Kind::Counter),
    ("cim_config_push_attempt_total", Kind::Counter),
    ("cim_config_push_failure_total", Kind::Counter),
    ("cim_config_push_success_total", Kind::Counter),
    ("cim_config_resp_failure_total", Kind::Counter),
    ("cim_config_resp_received_total", Kind::Counter),
    ("cim_config_resp_success_total", Kind::Counter),
    ("cim_config_resp_unused_total", Kind::Counter),
    ("cim_nats_CONFIG_message_count", Kind::Counter),
    ("cim_nats_CONFIG_message_size", Kind::Histogram),
    ("cim_nats_EVENT_latency", Kind::Gauge),
    ("cim_nats_EVENT_message_count", Kind::Counter),
    ("cim_nats_EVENT_message_size", Kind::Histogram),
    ("cim_nats_LOG_message_count", Kind::Counter),
    ("cim_nats_LOG_message_size", Kind::Histogram),
    ("cim_nats_TEST_message_count", Kind::Counter),
    ("cim_nats_TEST_message_size", Kind::Histogram),
    ("cim_packet_size", Kind::Gauge),
    ("cim_total_bytes_counter", Kind::Counter),
    ("cim_total_messages_counter", Kind::Counter),
    ("tcp_disconnect_count", Kind::Counter),
];

/// The families with the one label `pod` of this pod. A histogram has bounds beside it.
fn old_families(daemon: &Daemon) -> BTreeMap<String, Kind> {
    let answer = daemon.get("/metrics").unwrap();
    let families = parse(body(&answer)).unwrap();
    let is_old = |labels: &[cim_exposition::Label<'_>]| {
        let mut own = labels.iter().filter(|(name, _)| *name != "le");
        own.next().is_some_and(|(name, value)| *name == "pod" && value == "pod-1") && own.next().is_none()
    };
    let old = families.iter().filter(|family| family.samples.iter().all(|sample| is_old(&sample.labels)));
    old.filter(|family| !family.samples.is_empty())
        .map(|family| (family.name.to_owned(), family.kind))
        .collect()
}

/// A receiver that takes connections and reads nothing before it is woken.
struct Sleeper {
    address: SocketAddr,
    is_awake: Arc<AtomicBool>,
}

impl Sleeper {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (address, is_awake) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let awake = Arc::clone(&is_awake);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (mut stream, awake) = (stream.unwrap(), Arc::clone(&awake));
                std::thread::spawn(move || {
                    while !awake.load(Ordering::SeqCst) {
                        std::thread::sleep(Duration::from_millis(5));
                    }
                    let mut buffer = vec![0; 64 << 10];
                    while stream.read(&mut buffer).is_ok_and(|count| count > 0) {}
                });
            }
        });
        Self { address, is_awake }
    }
}

/// Sinks for logs: a receiver over TCP, and files.
fn sinks(receiver: SocketAddr) -> String {
    format!(
        "[routes.logs]\nsink = [\"agent\", \"files\"]\n[sinks.agent]\ntype = \"tcp\"\naddress = \"{receiver}\"\n\
         stall_timeout = \"300ms\"\n[sinks.files]\ntype = \"file\"\ndir = \"{{home}}/logs\"\n"
    )
}

/// Three changes, each with another result, one after a call that failed.
fn configure(pod: &Pod) {
    pod.register();
    for (revision, word) in [(1, "success"), (2, "unused"), (3, "failure")] {
        pod.app.behave(Manners { word, ..Manners::default() });
        pod.change(revision);
        until("a result", || pod.daemon.metric("cim_config_resp_received_total") > f64::from(revision) - 0.5);
    }
    pod.app.behave(Manners { status: Some(500), told: Told::Never, ..Manners::default() });
    pod.change(4);
    until("a refused call", || pod.daemon.metric("cim_config_push_failure_total") > 0.5);
}

#[test]
fn every_name_of_the_original_moves_with_what_it_counts_and_has_its_type_and_label() {
    const LINES: u32 = 10_000;
    let receiver = Sleeper::start();
    let pod = Pod::start(&sinks(receiver.address));
    assert!(old_families(&pod.daemon).is_empty(), "nothing is there before it moved");
    let value = |name: &str| pod.daemon.metric(name);
    let mut wire = pod.daemon.connect();
    wire.publish("TEST", b"ok");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    wire.publish("EVENT", format!(r#"{{"eventName":"E","eventTime":{}}}"#, now - 60_000).as_bytes());
    wire.flush();
    // Before the receiver fails: CIM raises events of its own then, which are young.
    until("milliseconds", || (60_000.0..90_000.0).contains(&value("cim_nats_EVENT_latency")));
    let line = "x".repeat(500);
    for _ in 0..LINES {
        wire.publish("LOG", line.as_bytes());
    }
    wire.flush();
    until("a connection that is given up", || value("tcp_disconnect_count") > 0.5);
    receiver.is_awake.store(true, Ordering::SeqCst);
    configure(&pod);
    let lines = f64::from(LINES);
    for (name, expected) in [
        ("Total_msg_count", lines),
        ("Total_msg_sent_to_tcp", lines),
        ("Total_msg_write_to_file", lines),
        ("cim_total_messages_counter", lines),
        ("cim_total_bytes_counter", 500.0 * lines),
        ("cim_packet_size", 500.0),
        ("cim_nats_LOG_message_count", lines),
        ("cim_nats_TEST_message_count", 1.0),
        ("cim_config_push_success_total", 3.0),
        ("cim_config_resp_received_total", 3.0),
        ("cim_config_resp_success_total", 1.0),
        ("cim_config_resp_unused_total", 1.0),
        ("cim_config_resp_failure_total", 1.0),
        ("cim_nats_CONFIG_message_count", 3.0),
    ] {
        until(&format!("{name} is {expected}"), || (value(name) - expected).abs() < 0.5);
    }
    assert!(value("cim_config_push_attempt_total") > 3.5);
    let expected = OLD.into_iter().filter(|(name, _)| *name != LOST_COMMIT);
    assert_eq!(old_families(&pod.daemon), expected.map(|(name, kind)| (name.to_owned(), kind)).collect());
}

#[test]
fn a_result_that_cannot_be_stored_in_time_is_a_failed_commit_and_no_failed_push() {
    let Some(etcd) = Etcd::single() else { return };
    let app = Application::start(Manners { status: Some(202), told: Told::Never, ..Manners::default() });
    let daemon = Daemon::start(&format!(
        "{}[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"etcd\"\nms_revision = \"1\"\netcd.endpoints = [{:?}]\netcd.request_timeout = \"1s\"\n\
         [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n",
        app.setting(),
        etcd.endpoints()[0]
    ));
    app.connect(daemon.nats());
    assert!(daemon.register().starts_with("HTTP/1.1 200 "));
    until("the values of the start", || !etcd.etcdctl(&["get", "commit-config/", "--prefix"]).is_empty());
    let lease = etcd.etcdctl(&["lease", "grant", "5"]);
    let lease = format!("--lease={}", lease.split(' ').nth(1).unwrap());
    let key = "change-set/ns1/svc/v1/ms/app.json/7";
    let _ = etcd.etcdctl(&["put", &lease, key, "[]"]);
    until("the call", || daemon.metric("cim_config_push_success_total") > 0.5);
    etcd.member(0).pause();
    let paused = Instant::now();
    let result = format!(r#"{{"change-set-key":"{key}","revision":"7","status":"success"}}"#);
    let mut wire = daemon.connect();
    wire.publish("CONFIG", result.as_bytes());
    wire.flush();
    // And that of the last call that was made before it: one that still waits for its answer would be carried out first.
    until("the end of the lease", || paused.elapsed() > Duration::from_secs(8));
    assert!(daemon.metric(LOST_COMMIT) < 0.5, "only the store can tell that the lease has ended");
    etcd.member(0).resume();
    until("the commit is given up", || daemon.metric(LOST_COMMIT) > 0.5);
    assert!(daemon.metric("cim_config_push_failure_total") < 0.5, "the push has not failed");
    assert!(daemon.metric("cim_config_push_success_total") > 0.5);
}

#[test]
fn whatever_format_is_asked_for_the_text_format_comes_and_ends_as_recorded() {
    let daemon = Daemon::start("");
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../../vectors/metrics.json")).unwrap();
    let cases = recorded["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "openmetrics accept").unwrap();
    let header = case["input"]["header"].as_str().unwrap();
    let request = format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n\r\n");
    let answer = daemon.exchange(request.as_bytes());
    let kind = "content-type: text/plain; version=0.0.4; charset=utf-8\r\n";
    assert!(case["expected"]["headers"]["text"].as_str().unwrap().to_ascii_lowercase().contains(kind));
    assert!(
        answer.contains(kind) && answer.ends_with(case["expected"]["body_end"].as_str().unwrap()),
        "{answer}"
    );
}

/// `enable_kpi` of `cim.json`.
fn document(enable_kpi: bool) -> serde_json::Value {
    json!({"cimConfig": {
        "lmaas": { "logging_mode": "STDOUT" },
        "cim_settings": { "enable_kpi": enable_kpi },
        "app_settings": { "http2_enabled": false }
    }})
}

#[test]
fn without_kpis_the_page_is_empty_as_recorded_and_everything_else_works() {
    let pod = Pod::of_files(document(false), "", "");
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../../vectors/metrics.json")).unwrap();
    let case =
        recorded["cases"].as_array().unwrap().iter().find(|case| case["name"] == "enable_kpi false").unwrap();
    let outline = |answer: &str| {
        let mut lines: Vec<_> = answer.split("\r\n").map(str::to_ascii_lowercase).collect();
        lines.retain(|line| !line.starts_with("date:"));
        lines.sort();
        lines
    };
    let expected = outline(case["expected"]["response"]["text"].as_str().unwrap());
    assert_eq!(outline(&pod.daemon.get("/metrics").unwrap()), expected);
    let mut wire = pod.daemon.connect();
    wire.publish("LOG", b"a line");
    wire.publish("CONFIG", b"{}");
    wire.flush();
    pod.change(1);
    pod.commits("1");
    assert_eq!(outline(&pod.daemon.get("/metrics").unwrap()), expected);
    let patch = json!([{"op": "replace", "path": "/cimConfig/cim_settings/enable_kpi", "value": true}]);
    pod.change_own(2, &patch);
    until("the page tells something", || pod.daemon.metric("cim_config_resp_received_total") > 1.5);
    assert!(pod.daemon.metric("cim_total_messages_counter") > 0.5, "what came before is counted");
    let patch = json!([{"op": "replace", "path": "/cimConfig/cim_settings/enable_kpi", "value": false}]);
    pod.change_own(3, &patch);
    until("the page is empty again", || outline(&pod.daemon.get("/metrics").unwrap()) == expected);
}
