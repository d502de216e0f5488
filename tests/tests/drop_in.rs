//! A pod of the original that changes the image and nothing else: the old name, variables and files, and the old paths.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cim_core::null::NullSink;
use cim_core::settings::SpoolSettings;
use cim_core::{Cim, Identity, Sink};
use cim_tests::{Daemon, until};
use serde_json::{Value, json};

/// What every chart sets.
const POD: [(&str, &str); 2] = [("K8S_NAMESPACE", "ns1"), ("K8S_POD_ID", "pod-1")];

/// The files of a pod that writes its logs to the node.
fn home(cim_json: &Value, infra: &Value) -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("opt/conf/static")).unwrap();
    std::fs::create_dir_all(home.path().join("opt/logs")).unwrap();
    std::fs::write(home.path().join("opt/conf/cim.json"), cim_json.to_string()).unwrap();
    std::fs::write(home.path().join("opt/conf/static/common-infra.json"), infra.to_string()).unwrap();
    home
}

fn files() -> Value {
    json!({"cimConfig": {
        "lmaas": { "logging_mode": "FILE", "flush_timeout": 5 },
        "cim_settings": { "enable_kpi": true },
        "app_settings": { "app_port": 9999, "http2_enabled": false },
        "haaas": { "hb_interval": 100 }
    }})
}

fn start() -> Daemon {
    Daemon::start_as_original(home(&files(), &json!({"log_format": "json"})), &POD)
}

fn log(text: &str) -> Vec<u8> {
    log_of("vesgw", text)
}

fn log_of(container: &str, text: &str) -> Vec<u8> {
    let log = cim_wire::Log {
        container_id: b"c1"[..].into(),
        container_name: container.as_bytes().into(),
        payload: Some(text.as_bytes().into()),
    };
    let mut out = Vec::new();
    log.encode_flatbuffer(&mut out);
    out
}

fn logged(daemon: &Daemon) -> String {
    std::fs::read_to_string(daemon.home().join("opt/logs/pod-1_ns1_vesgw-c1.log")).unwrap_or_default()
}

#[test]
fn logs_go_into_the_file_of_the_original_and_the_spool_beside_it_is_closed_to_others() {
    let daemon = start();
    let mut client = daemon.connect();
    client.publish("LOG", &log("one line"));
    client.flush();
    until("the line", || logged(&daemon) == "one line\n");
    let spool: PathBuf = daemon.home().join("opt/logs/.cim/ns1_pod-1");
    assert!(spool.is_dir());
    for dir in [spool.parent().unwrap(), spool.as_path()] {
        assert_eq!(std::fs::metadata(dir).unwrap().permissions().mode() & 0o777, 0o700, "{}", dir.display());
    }
}

#[test]
fn in_mode_fileandstdout_a_line_goes_into_its_file_and_to_standard_output_as_recorded() {
    let vectors: Value = serde_json::from_str(include_str!("../vectors/log.json")).unwrap();
    let named = |case: &&Value| case["name"] == "mode FILEANDSTDOUT";
    let case = vectors["cases"].as_array().unwrap().iter().find(named).unwrap();
    let mut document = files();
    document["cimConfig"]["lmaas"]["logging_mode"] = "FILEANDSTDOUT".into();
    let daemon =
        Daemon::start_as_original(home(&document, &json!({"log_format": case["input"]["log_format"]})), &POD);
    let mut client = daemon.connect();
    client.publish("LOG", &log_of("app", case["input"]["payload"].as_str().unwrap()));
    client.flush();
    let expected = |part: &str| case["expected"][part]["text"].as_str().unwrap();
    until("standard output", || daemon.stdout() == expected("stdout"));
    let file = daemon.home().join("opt/logs/pod-1_ns1_app-c1.log");
    until("the file", || std::fs::read_to_string(&file).is_ok_and(|text| text == expected("file")));
    until("exact books", || daemon.books_balance());
}

/// What a pod leaves behind that is gone.
fn leave_spool(dir: &Path, pod: &str) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let identity = Identity { namespace: "ns1".into(), pod: pod.into(), ..Identity::default() };
        let spool = SpoolSettings { dir: Some(dir.to_owned()), ..SpoolSettings::default() };
        let sink = Sink::both(Arc::new(NullSink::new("null")));
        let cim = Cim::builder().identity(identity).spool(spool).sink("null", sink).start().unwrap();
        cim.intake().log("app", b"a line").await.unwrap();
        cim.stop(Duration::from_secs(5)).await;
    });
}

#[test]
fn spools_of_dead_pods_are_kept_within_their_limits_and_counted() {
    let spool_of = |home: &Path, pod: &str| home.join("opt/logs/.cim").join(format!("ns1_{pod}"));
    let home = home(&files(), &json!({}));
    leave_spool(&spool_of(home.path(), "pod-0"), "pod-0");
    let mut daemon = Daemon::start_as_original(home, &POD);
    let dead = spool_of(daemon.home(), "pod-0");
    let removed = "cim_spool_dead_pods_removed_bytes_total";
    until("its bytes to be counted", || daemon.metric("cim_spool_dead_pods_bytes") > 0.5);
    assert!(daemon.metric(removed) < 0.5 && dead.is_dir(), "the defaults leave it alone");
    let bytes = daemon.metric("cim_spool_dead_pods_bytes");

    daemon.set_variable("CIM__SPOOL__DEAD_PODS__MAX_BYTES", "1B");
    daemon.kill_and_restart();
    until("it to be removed", || !dead.exists());
    until("that to be counted", || daemon.metric(removed) > 0.5);
    assert!((daemon.metric(&format!("{removed}{{reason=\"max_bytes\"}}")) - bytes).abs() < 0.5);
    assert!(daemon.metric("cim_spool_dead_pods_bytes") < 0.5);
    assert!(daemon.stderr().contains("the spool of a dead pod was removed"), "{}", daemon.stderr());
    assert!(spool_of(daemon.home(), "pod-1").is_dir(), "the own one stays");
}

#[test]
fn a_pod_starts_although_somebody_holds_the_lock_of_its_spool_for_a_moment() {
    let home = home(&files(), &json!({}));
    let spool = home.path().join("opt/logs/.cim/ns1_pod-1");
    let label = spool.join("spool.meta");
    leave_spool(&spool, "pod-1");
    let mut holder = Command::new("flock");
    holder.arg(&spool).args(["-c", "echo held; exec sleep 0.5"]).stdout(Stdio::piped());
    let mut holder = holder.spawn().unwrap();
    let mut told = String::new();
    BufReader::new(holder.stdout.take().unwrap()).read_line(&mut told).unwrap();
    assert_eq!(told, "held\n");
    let label = || std::fs::read(&label).unwrap();
    let before = label();
    let _daemon = Daemon::start_as_original(home, &POD);
    assert!(holder.wait().unwrap().success());
    assert_eq!(label(), before, "another spool was made in its place");
}

#[test]
fn a_pod_starts_with_the_name_of_one_whose_spool_is_being_removed() {
    const FILES: usize = 10_000;
    let watching = home(&files(), &json!({}));
    let logs = watching.path().join("opt/logs");
    let dead = logs.join(".cim/ns1_pod-0");
    leave_spool(&dead, "pod-0");
    // So that its removal takes its time.
    std::fs::create_dir(dead.join("more")).unwrap();
    (0..FILES).for_each(|number| std::fs::write(dead.join(format!("more/{number}")), "").unwrap());
    let starting = home(&files(), &json!({}));
    std::fs::remove_dir(starting.path().join("opt/logs")).unwrap();
    std::os::unix::fs::symlink(&logs, starting.path().join("opt/logs")).unwrap();

    let _watcher =
        Daemon::start_as_original(watching, &[POD[0], POD[1], ("CIM__SPOOL__DEAD_PODS__MAX_BYTES", "1B")]);
    until("its name to be free", || !dead.exists());
    let started = Daemon::start_as_original(starting, &[POD[0], ("K8S_POD_ID", "pod-0")]);
    let mut client = started.connect();
    client.publish("LOG", &log("one line"));
    client.flush();
    until("the line", || {
        let text = std::fs::read_to_string(logs.join("pod-0_ns1_vesgw-c1.log"));
        text.is_ok_and(|text| text.contains("one line"))
    });
    until("nothing to be left of the other one", || !logs.join(".cim/.going-ns1_pod-0").exists());
    assert!(dead.join("spool.meta").exists(), "it has a spool");
    assert!(!started.stderr().contains("the spool directory is gone"), "{}", started.stderr());
}

#[test]
fn what_was_accepted_outlives_a_kill_in_a_pod_that_mounts_nothing_new() {
    let mut daemon = start();
    let mut client = daemon.connect();
    for nth in 0..500 {
        client.publish("LOG", &log(&format!("line {nth}")));
    }
    client.flush();
    daemon.kill_and_restart();
    let expected: BTreeSet<String> = (0..500).map(|nth| format!("line {nth}\n")).collect();
    // A line that was in the file and not yet noted as delivered comes again. One that is still being written is none.
    let seen = || -> BTreeSet<String> {
        let text = logged(&daemon);
        text.split_inclusive('\n').filter(|line| line.ends_with('\n')).map(str::to_owned).collect()
    };
    until("every line", || seen().len() >= 500);
    assert_eq!(seen(), expected);
}

#[test]
fn other_hosts_find_the_paths_of_the_original_and_nothing_else() {
    let daemon = start();
    let status = |path: &str| daemon.get(path).unwrap().split(' ').nth(1).unwrap().to_owned();
    assert_eq!(status("/metrics"), "200");
    for path in ["/statusz", "/readyz", "/livez", "/loglevel", "/"] {
        assert_eq!(status(path), "404", "{path}");
    }
    let answer = daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    assert!(answer.contains(r#""apigw_username":"admin","apigw_password":"admin""#), "{answer}");
}

#[test]
fn old_clients_get_a_greeting_without_anything_they_do_not_know() {
    let daemon = start();
    let mut greeting = String::new();
    BufReader::new(TcpStream::connect(daemon.nats()).unwrap()).read_line(&mut greeting).unwrap();
    assert!(greeting.starts_with("INFO {\"server_id\":"), "{greeting}");
    assert!(!greeting.contains("headers") && greeting.len() < 1024, "{greeting}");
}

#[test]
fn nothing_but_flatbuffers_is_a_log_there() {
    let daemon = start();
    let mut client = daemon.connect();
    client.publish("LOG", b"plain text");
    client.flush();
    until("the refusal", || daemon.metric("cim_records_refused_total") > 0.5);
    assert_eq!(daemon.metric("cim_records_accepted_total"), 0.0);
}

#[test]
fn without_a_directory_of_logs_it_starts_and_says_what_is_lost() {
    let home = home(&files(), &json!({}));
    std::fs::remove_dir(home.path().join("opt/logs")).unwrap();
    let mut document = files();
    document["cimConfig"]["lmaas"]["logging_mode"] = "STDOUT".into();
    std::fs::write(home.path().join("opt/conf/cim.json"), document.to_string()).unwrap();
    let daemon = Daemon::start_as_original(home, &POD);
    assert!(daemon.stderr().contains("no spool: level memory"), "{}", daemon.stderr());
}
