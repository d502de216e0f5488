//! CIM's own document, `cim.json`, through the whole program: read at the start, changed at run time, remembered.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cim_services::Etcd;
use cim_tests::application::{Application, Manners};
use cim_tests::pod::Pod;
use cim_tests::{Daemon, until};
use serde_json::{Value, json};

/// A document as charts carry it, with sections and values that a sloppy reader loses.
fn chart() -> Value {
    json!({"cimConfig": {
        "lmaas": {
            "max_file_size_in_mb": 10, "max_backup_files": 10, "max_age": 7, "buffer_size": 10000, "flush_timeout": 10,
            "logging_mode": "FILE", "prefer_local_daemonset": false
        },
        "cim_settings": {
            "enable_kpi": false, "log_level": "INFO", "cim_file_log": true, "num_garp_count": 0, "remote_svc_retry_count": 60,
            "ttl_timeout": 1, "allow_http": true
        },
        "app_settings": { "http2_enabled": false },
        "haaas": { "hb_interval": 100, "hb_frequency": 5, "ha_timeout": 60 }
    }})
}

/// Logs are payloads alone.
const TEXT: &str = "// where things are\n{\"log_format\":\"text\",\"etcd_url\":null}";

fn replace(path: &str, value: impl Into<Value>) -> Value {
    json!([{"op": "replace", "path": format!("/cimConfig/{path}"), "value": value.into()}])
}

/// The lines `<word> <number>` of all log files.
fn logged(pod: &Pod) -> Vec<String> {
    let mut lines = Vec::new();
    let Ok(files) = std::fs::read_dir(pod.daemon.home().join("opt/logs")) else { return lines };
    for file in files.map(|file| file.unwrap().path()).filter(|file| file.is_file()) {
        lines.extend(std::fs::read_to_string(file).unwrap().lines().map(str::to_owned));
    }
    lines
}

fn printed(pod: &Pod) -> Vec<String> {
    pod.daemon.stdout().lines().filter(|line| line.starts_with("line ")).map(str::to_owned).collect()
}

#[test]
fn a_change_of_the_log_level_is_in_force_when_it_is_committed() {
    let pod = Pod::of_files(chart(), TEXT, "");
    pod.change_own(4, &replace("cim_settings/log_level", "ERROR"));
    pod.commits("4");
    pod.change(5);
    pod.commits("5");
    assert!(!pod.daemon.stderr().contains("change-set/ns1/svc/v1/ms/app.json/5"), "INFO is silent");
    pod.change_own(6, &replace("cim_settings/log_level", "INFO"));
    pod.commits("6");
    pod.change(7);
    pod.commits("7");
    assert!(pod.daemon.stderr().contains("change-set/ns1/svc/v1/ms/app.json/7"));
    assert_eq!(pod.app.revisions(), [5, 7], "its own document is not handed over");
    until("announcement", || pod.daemon.stdout().contains("CimConfigUpdateSuccess"));
}

#[test]
fn every_word_of_the_log_level_has_its_effect_while_the_process_runs() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let words = [
        ("DEBUG", "debug"),
        ("WARNING", "warn"),
        ("ALL", "debug"),
        ("ERROR", "error"),
        ("INFO", "info"),
        ("EXCEPTION", "error"),
    ];
    for (revision, (word, level)) in (4..).zip(words) {
        pod.change_own(revision, &replace("cim_settings/log_level", word));
        pod.commits(&revision.to_string());
        let told = pod.daemon.get("/loglevel").unwrap();
        assert!(told.ends_with(&format!("{{\"level\":\"{level}\"}}\n")), "{word}: {told}");
    }
    let before = pod.daemon.stderr().len();
    pod.change(20);
    pod.commits("20");
    assert_eq!(&pod.daemon.stderr()[before..], "", "nothing is said of what goes well");
    assert_eq!(pod.app.revisions(), [20]);
    let said = pod.daemon.stderr();
    assert!(
        !said.contains("haaas") && !said.contains("hb_interval"),
        "no document stands in the log: {said}"
    );
}

#[test]
fn the_next_change_goes_to_the_port_that_the_document_names_now() {
    let pod = Pod::of_files(chart(), TEXT, "");
    pod.change(4);
    pod.commits("4");
    let other = Application::start_where_cim_json_may_say(Manners::default());
    other.connect(pod.daemon.nats());
    pod.change_own(5, &replace("app_settings/app_port", other.port()));
    pod.commits("5");
    pod.change(6);
    pod.commits("6");
    assert_eq!((pod.app.revisions(), other.revisions()), (vec![4], vec![6]));
}

#[test]
fn logs_move_from_files_to_standard_output_and_none_is_lost() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let mut wire = pod.daemon.connect();
    for number in 0..2_000 {
        wire.publish("LOG", format!("line {number}").as_bytes());
        if number == 700 {
            wire.flush();
            until("the first lines are in the file", || logged(&pod).len() > 700);
            pod.change_own(4, &replace("lmaas/logging_mode", "STDOUT"));
        }
        if number == 1_300 {
            pod.commits("4");
        }
    }
    wire.flush();
    let all: Vec<_> = (0..2_000).map(|number| format!("line {number}")).collect();
    until("all of them", || logged(&pod).len() + printed(&pod).len() >= all.len());
    let (files, output) = (logged(&pod), printed(&pod));
    assert!(output.len() >= 699, "{}", output.len());
    assert_eq!([files, output].concat(), all);
    assert!(pod.daemon.books_balance());
}

#[test]
fn new_limits_hold_for_files_that_are_open() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let mut wire = pod.daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    until("the file", || logged(&pod).len() == 1);
    let patch = json!([
        {"op": "replace", "path": "/cimConfig/lmaas/max_file_size_in_mb", "value": 1},
        {"op": "replace", "path": "/cimConfig/lmaas/max_backup_files", "value": 2},
    ]);
    pod.change_own(4, &patch);
    pod.commits("4");
    let line = "x".repeat(1 << 19);
    for _ in 0..12 {
        wire.publish("LOG", line.as_bytes());
    }
    wire.flush();
    until("delivery", || pod.daemon.metric("cim_records_held") < 0.5);
    let sizes = || -> Vec<u64> {
        std::fs::read_dir(pod.daemon.home().join("opt/logs"))
            .unwrap()
            .filter_map(|file| file.unwrap().metadata().ok())
            .filter(std::fs::Metadata::is_file)
            .map(|file| file.len())
            .collect()
    };
    // The oldest one goes after the next one has begun.
    until("one at work and two rotated", || sizes().len() == 3);
    let sizes = sizes();
    assert!(sizes.iter().all(|size| *size <= 1 << 20), "{sizes:?}");
}

#[test]
fn a_shorter_time_to_the_disk_holds_for_files_that_are_open() {
    let mut document = chart();
    document["cimConfig"]["lmaas"]["flush_timeout"] = json!(30);
    let pod = Pod::of_files(document, TEXT, "");
    let mut wire = pod.daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    pod.change_own(4, &replace("lmaas/flush_timeout", 5));
    pod.commits("4");
    let published = Instant::now();
    wire.publish("LOG", b"line 1");
    wire.flush();
    until("both lines", || logged(&pod).len() == 2);
    assert!(published.elapsed() < Duration::from_secs(15), "{:?}", published.elapsed());
}

#[test]
fn sections_that_are_not_known_and_values_of_zero_and_false_are_kept() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let before = pod.file();
    let patch = json!([
        {"op": "replace", "path": "/cimConfig/haaas/hb_interval", "value": 200},
        {"op": "test", "path": "/cimConfig/cim_settings/num_garp_count", "value": 0},
        {"op": "test", "path": "/cimConfig/lmaas/prefer_local_daemonset", "value": false},
        {"op": "replace", "path": "/cimConfig/lmaas/new", "value": 1},
    ]);
    pod.change_own(4, &patch);
    pod.commits("4");
    let mut expected = before;
    expected["cimConfig"]["haaas"]["hb_interval"] = json!(200);
    expected["cimConfig"]["lmaas"]["new"] = json!(1);
    assert_eq!(pod.remembered(), expected);
}

#[test]
fn a_change_that_cannot_be_in_force_changes_nothing_and_says_why() {
    for (on_failure, value) in [("report", "-1"), ("tolerate", "-2")] {
        let pod = Pod::of_files(chart(), TEXT, &format!("on_failure = \"{on_failure}\"\n"));
        let before = pod.remembered();
        let refusals = [
            (replace("lmaas/max_age", 4000), "cimConfig.lmaas.max_age: must be at most 30, found 4000"),
            (
                replace("app_settings/app_port", "x"),
                "cimConfig.app_settings.app_port: expected a whole number",
            ),
            (replace("lmaas/logging_mode", "TCP"), "needs `logging_svc_url` in "),
            (replace("cim_settings/log_level", "LOUD"), "`LOUD` is not one of: "),
            (replace("absent/x", 1), "operation 0 of the patch, at `/cimConfig/absent/x`, cannot be applied"),
        ];
        for (revision, (patch, why)) in (4..).zip(refusals) {
            pod.change_own(revision, &patch);
            let story = pod.story("cim.json", revision);
            let reason = story["reason"].as_str().unwrap();
            let one_line = !reason.contains('\n');
            assert!(one_line && story["state"] == "failed" && reason.contains(why), "{patch}: {story}");
            until("commit", || pod.committed("ms").as_deref() == Some(value));
        }
        assert_eq!(pod.remembered(), before);
        pod.change(20);
        pod.commits("20");
        assert_eq!(pod.app.revisions(), [20], "the application is called where it was");
    }
}

#[test]
fn changes_for_another_service_or_version_are_left_alone() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let before = pod.remembered();
    let patch = replace("lmaas/max_age", 3).to_string();
    for key in ["change-set/ns1/svcgw/v1/ms/cim.json/4", "change-set/ns1/svc/v9/ms/cim.json/4"] {
        pod.put(key, &patch);
    }
    pod.change(5);
    pod.commits("5");
    assert_eq!(pod.remembered(), before);
    assert!(!pod.path("commit-config/ns1/svcgw").exists() && !pod.path("commit-config/ns1/svc/v9").exists());
}

#[test]
fn a_change_survives_a_kill_until_the_file_says_something_else() {
    let mut pod = Pod::of_files(chart(), TEXT, "");
    let first = pod.file();
    pod.change_own(4, &replace("lmaas/logging_mode", "STDOUT"));
    pod.commits("4");
    pod.daemon.kill_and_restart();
    assert_eq!(pod.remembered()["cimConfig"]["lmaas"]["logging_mode"], "STDOUT");
    let mut wire = pod.daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    until("standard output", || printed(&pod) == ["line 0"]);
    // The file comes as far as the change: nothing to do.
    let caught_up = pod.remembered();
    pod.refresh(&caught_up);
    until("it is read", || pod.daemon.stderr().matches("the configuration was read again").count() == 1);
    assert_eq!(pod.remembered(), caught_up);
    // It goes back: it wins, also over a restart.
    pod.refresh(&first);
    until("it is read", || pod.daemon.stderr().matches("the configuration was read again").count() == 2);
    pod.daemon.kill_and_restart();
    assert_eq!(pod.remembered(), first);
    let mut wire = pod.daemon.connect();
    wire.publish("LOG", b"line 1");
    wire.flush();
    until("the file", || logged(&pod) == ["line 1"]);
}

#[test]
fn a_change_that_arrives_after_the_file_that_holds_it_is_a_success() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let mut new = pod.file();
    new["cimConfig"].as_object_mut().unwrap().remove("haaas");
    pod.refresh(&new);
    until("the file is read", || pod.remembered() == new);
    pod.change_own(4, &json!([{"op": "remove", "path": "/cimConfig/haaas"}]));
    pod.commits("4");
    pod.change_own(5, &json!([{"op": "remove", "path": "/cimConfig/absent"}]));
    pod.commits("-1");
}

#[test]
fn a_file_that_is_wrong_or_gone_changes_nothing() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let before = pod.remembered();
    for (text, why) in [
        ("{", "EOF while parsing"),
        (r#"{"cimConfig":{"lmaas":{"max_age":0}}}"#, "must be at least 1, found 0"),
    ] {
        std::fs::write(pod.daemon.home().join("opt/conf/cim.json"), text).unwrap();
        until(why, || pod.daemon.stderr().contains(why));
    }
    std::fs::remove_file(pod.daemon.home().join("opt/conf/cim.json")).unwrap();
    until("it is missed", || pod.daemon.stderr().contains("the file of cim.json is gone"));
    assert_eq!(pod.remembered(), before);
    pod.change_own(4, &replace("lmaas/max_age", 3));
    pod.commits("4");
}

#[test]
fn a_file_of_the_operator_that_broke_meanwhile_spoils_no_change() {
    let pod = Pod::of_files(chart(), TEXT, "");
    pod.daemon.edit("[spool]", "[spool");
    until("it is told", || pod.daemon.stderr().contains("the configuration stays as it was"));
    pod.change_own(4, &replace("lmaas/max_age", 3));
    pod.commits("4");
}

#[test]
fn what_the_operator_says_wins() {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("opt/conf")).unwrap();
    std::fs::write(home.path().join("opt/conf/cim.json"), chart().to_string()).unwrap();
    let settings = "[spool]\ndir = \"{home}/spool\"\n[routes.logs]\nsink = \"console\"\nformat = \"text\"\n";
    let daemon = Daemon::start_in(home, settings, Daemon::spawn);
    let mut wire = daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    until("standard output", || daemon.stdout().contains("line 0"));
    assert!(!daemon.home().join("opt/logs").exists());
}

#[test]
fn logs_go_to_the_agent_that_common_infra_names_and_into_files_while_it_is_away() {
    let agent = TcpListener::bind("127.0.0.1:0").unwrap();
    let infra = json!({"logging_svc_url": agent.local_addr().unwrap().to_string(), "log_format": "text"});
    let mut document = chart();
    document["cimConfig"]["lmaas"]["logging_mode"] = json!("TCP");
    let pod = Pod::of_files(document, &infra.to_string(), "");
    let mut wire = pod.daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    let (stream, _) = agent.accept().unwrap();
    stream.set_read_timeout(Some(cim_tests::PATIENCE)).unwrap();
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).unwrap();
    assert_eq!(line, "line 0\n");
    until("delivery", || pod.daemon.metric("cim_records_held") < 0.5);
    drop(agent);
    wire.publish("LOG", b"line 1");
    wire.flush();
    until("the file", || logged(&pod) == ["line 1"]);
}

#[test]
fn http2_is_spoken_from_the_first_byte_where_the_document_says_so() {
    let pod = Pod::of_files(chart(), TEXT, "");
    let listener = (5_000..10_001u16).rev().find_map(|port| TcpListener::bind(("127.0.0.1", port)).ok());
    let listener = listener.unwrap();
    let patch = json!([
        {"op": "replace", "path": "/cimConfig/app_settings/app_port", "value": listener.local_addr().unwrap().port()},
        {"op": "replace", "path": "/cimConfig/app_settings/http2_enabled", "value": true},
    ]);
    pod.change_own(4, &patch);
    pod.commits("4");
    pod.change(5);
    let (mut stream, _) = listener.accept().unwrap();
    stream.set_read_timeout(Some(cim_tests::PATIENCE)).unwrap();
    let mut preface = [0; 24];
    stream.read_exact(&mut preface).unwrap();
    assert_eq!(&preface, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
}

#[test]
fn the_whole_way_through_etcd_with_the_address_of_common_infra() {
    let Some(etcd) = Etcd::single() else { return };
    let endpoint = etcd.endpoints()[0].replace("http://", "");
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("opt/conf/static")).unwrap();
    std::fs::write(home.path().join("opt/conf/cim.json"), chart().to_string()).unwrap();
    let infra = json!({"etcd_url": endpoint, "log_format": "text"}).to_string();
    std::fs::write(home.path().join("opt/conf/static/common-infra.json"), infra).unwrap();
    let settings = "[spool]\ndir = \"{home}/spool\"\n[identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\n\
        microservice = \"svc\"\nversion = \"v1\"\n";
    let daemon = Daemon::start_in(home, settings, Daemon::spawn);
    let patch = replace("lmaas/logging_mode", "STDOUT").to_string();
    let _ = etcd.etcdctl(&["put", "change-set/ns1/svc/v1/nf/cim.json/4", &patch]);
    until("commit", || etcd.get("commit-config/ns1/svc/v1/nf/pod-1").as_deref() == Some("4"));
    let mut wire = daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    until("standard output", || daemon.stdout().contains("line 0"));
}
