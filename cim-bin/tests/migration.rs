//! The files of the original beside what `cim migrate` makes of them, and `cim config show --origins`, as a person at a desk runs
//! them.
//!
//! Invariant: a migrated file and the pair it came from are compared by what is in force, never by their texts.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;
use std::process::{Command, Output};

use serde_json::{Value, json};

/// A place of the files of the original, and one without any, as two pods see them.
struct Desk {
    home: tempfile::TempDir,
}

impl Desk {
    fn with(own: &Value, infra: &Value) -> Self {
        let desk = Self { home: tempfile::tempdir().unwrap() };
        std::fs::create_dir_all(desk.path("pair/opt/conf/static")).unwrap();
        std::fs::create_dir_all(desk.path("none/opt")).unwrap();
        std::fs::write(desk.path(Self::OWN), own.to_string()).unwrap();
        std::fs::write(desk.path(Self::INFRA), infra.to_string()).unwrap();
        std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_cim"), desk.path("NatsSubFb")).unwrap();
        desk
    }

    const OWN: &str = "pair/opt/conf/cim.json";
    const INFRA: &str = "pair/opt/conf/static/common-infra.json";

    fn path(&self, name: &str) -> String {
        self.home.path().join(name).display().to_string()
    }

    /// A command with the files of the original below `root`.
    fn run(&self, program: &str, root: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(program);
        command.args(arguments).env_clear().current_dir(self.home.path());
        command.env("CIM_LEGACY_ROOT", self.path(root));
        command.envs([
            ("K8S_NAMESPACE", "ns1"),
            ("K8S_POD_ID", "pod-1"),
            ("KUBERNETES_SERVICE_HOST", "127.0.0.1"),
        ]);
        command.output().unwrap()
    }

    /// What `config show` says is in force.
    fn shown(&self, program: &str, root: &str, more: &[&str]) -> Value {
        let arguments = [&["config", "show", "--output", "json"][..], more].concat();
        serde_json::from_str(&successful(&self.run(program, root, &arguments))).unwrap()
    }

    /// Writes `cim.toml` from the pair; the directory of logs, which the pair has by its place alone, is that of this desk.
    fn migrate(&self, more: &[&str]) -> String {
        let (own, infra) = (self.path(Self::OWN), self.path(Self::INFRA));
        let arguments = [&["migrate", "--cim-json", &own, "--common-infra", &infra][..], more].concat();
        let text = successful(&self.run(CIM, "none", &arguments));
        let here = format!("\"{}\"", self.path("pair/opt/logs"));
        std::fs::write(self.path("cim.toml"), text.replace("\"/opt/logs\"", &here)).unwrap();
        text
    }
}

const CIM: &str = env!("CARGO_BIN_EXE_cim");

fn successful(output: &Output) -> String {
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

const MODES: [&str; 5] = ["FILE", "TCP", "KAFKA", "STDOUT", "FILEANDSTDOUT"];

/// A pair with a value in every member that means something.
fn pair(mode: &str, again: &str, format: &str) -> (Value, Value) {
    let lmaas = json!({
        "logging_mode": mode, "max_file_size_in_mb": 3, "max_backup_files": 4, "max_age": 5, "buffer_size": 6000,
        "flush_timeout": 7, "prefer_local_daemonset": format == "text",
    });
    let own = json!({ "cimConfig": {
        "lmaas": lmaas,
        "cim_settings": { "log_level": "WARNING", "enable_kpi": false, "kafka_client_id": "shop #1" },
        "app_settings": { "app_port": 8081, "http2_enabled": true },
        "unknown": { "stays": ["here"] },
    }});
    let infra = json!({
        "etcd_url": "etcd:2379", "kafka_brokers": ["k1:9092", "k2:9092"], "logging_svc_url": "agent:5170",
        "logging_svc_tcp_port": "5175", "enable_retrx": again, "log_format": format,
        "apigw_rest_fqdn": "gateway:8080", "tmaas_fqdn": "topology:8081",
    });
    (own, infra)
}

#[test]
fn the_migrated_file_says_what_the_pair_says_in_every_mode() {
    for has_logs in [true, false] {
        for (mode, again, format) in MODES.iter().flat_map(|mode| {
            [("true", "json"), ("false", "text")].map(|(again, format)| (*mode, again, format))
        }) {
            let (own, infra) = pair(mode, again, format);
            let desk = Desk::with(&own, &infra);
            if has_logs {
                std::fs::create_dir(desk.path("pair/opt/logs")).unwrap();
            }
            let toml = desk.migrate(&[]);
            let migrated = desk.shown(CIM, "none", &["--config", "cim.toml"]);
            assert_eq!(migrated, desk.shown(CIM, "pair", &[]), "{mode}, logs: {has_logs}\n{toml}");
            assert_eq!(migrated["spool"]["dir"].is_string(), has_logs, "{toml}");
            assert_eq!(migrated["log"]["level"], "warn", "the pair was not read");

            let toml = desk.migrate(&["--as-original"]);
            let migrated = desk.shown(CIM, "none", &["--config", "cim.toml"]);
            let named = desk.shown(&desk.path("NatsSubFb"), "pair", &[]);
            assert_eq!(migrated, named, "{mode} as original, logs: {has_logs}\n{toml}");
            assert_eq!(migrated["api"]["paths"], "contract");
        }
    }
}

/// Files that give nothing, one of both alone, and the name alone.
#[test]
fn what_the_pair_leaves_out_is_left_out() {
    let desk = Desk::with(&json!({}), &json!({}));
    desk.migrate(&[]);
    assert_eq!(desk.shown(CIM, "none", &["--config", "cim.toml"]), desk.shown(CIM, "pair", &[]));

    let (_, infra) = pair("KAFKA", "true", "json");
    std::fs::write(desk.path(Desk::INFRA), infra.to_string()).unwrap();
    std::fs::remove_file(desk.path(Desk::OWN)).unwrap();
    let text = successful(&desk.run(CIM, "none", &["migrate", "--common-infra", &desk.path(Desk::INFRA)]));
    std::fs::write(desk.path("cim.toml"), text.replace("/opt/logs", &desk.path("pair/opt/logs"))).unwrap();
    assert_eq!(desk.shown(CIM, "none", &["--config", "cim.toml"]), desk.shown(CIM, "pair", &[]));
}

#[test]
fn files_with_problems_are_not_migrated_and_the_exit_code_is_2() {
    let desk =
        Desk::with(&json!({ "cimConfig": { "lmaas": { "max_age": 4000 } } }), &json!({ "etcd_url": 7 }));
    let (own, infra) = (desk.path(Desk::OWN), desk.path(Desk::INFRA));
    let output = desk.run(CIM, "none", &["migrate", "--cim-json", &own, "--common-infra", &infra]);
    let text = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0), "{text}");
    for problem in
        ["cim.json:1: cimConfig.lmaas.max_age: must be at most 30", "common-infra.json:1: etcd_url: expected"]
    {
        assert!(text.contains(problem), "{problem}\n{text}");
    }
    let absent = desk.run(CIM, "none", &["migrate", "--cim-json", &desk.path("nothing.json")]);
    assert_eq!(absent.status.code(), Some(2));
    let nothing = desk.run(CIM, "none", &["migrate"]);
    assert_eq!(nothing.status.code(), Some(2));
}

/// Every kind of place at once: name, pair, file of the operator, variables of both kinds, and defaults.
#[test]
fn origins_tell_where_each_value_came_from_and_none_has_none() {
    let (own, infra) = pair("KAFKA", "true", "json");
    let desk = Desk::with(&own, &infra);
    std::fs::create_dir(desk.path("pair/opt/logs")).unwrap();
    std::fs::write(desk.path("more.toml"), "[memory]\nbudget = \"48MiB\"\n").unwrap();
    let arguments = ["config", "show", "--origins", "--config", "more.toml"];
    let program = desk.path("NatsSubFb");
    let text = successful(&desk.run(&program, "pair", &arguments));
    let document = desk.run(&program, "pair", &[&arguments[..], &["--output", "json"]].concat());
    let document: Value = serde_json::from_str(&successful(&document)).unwrap();

    let (own, infra) = (desk.path(Desk::OWN), desk.path(Desk::INFRA));
    for (path, value, origin) in [
        ("/api/paths", json!("contract"), "program name NatsSubFb".to_owned()),
        ("/routes/logs/sink", json!("xgvela-kafka"), format!("{own}:1 (cimConfig.lmaas.logging_mode)")),
        ("/sinks/xgvela-kafka/brokers", json!(["k1:9092", "k2:9092"]), format!("{infra}:1 (kafka_brokers)")),
        ("/identity/pod", json!("pod-1"), "environment K8S_POD_ID".to_owned()),
        ("/orchestrator/host", json!("127.0.0.1"), "environment KUBERNETES_SERVICE_HOST".to_owned()),
        ("/memory/budget", json!("48MiB"), "more.toml:2".to_owned()),
        ("/spool/on_fault", json!("degrade"), "default".to_owned()),
        ("/registration/apigw_password", json!("***"), "program name NatsSubFb".to_owned()),
    ] {
        let found = document.pointer(path);
        assert_eq!(found, Some(&json!({ "value": value, "origin": origin })), "{path}");
        let path = path[1..].replace('/', ".");
        let line = text.lines().find(|line| line.starts_with(&format!("{path} = ")));
        let line = line.unwrap_or_else(|| panic!("{path}\n{text}"));
        assert!(
            line.starts_with(&format!("{path} = {value} ")) && line.ends_with(&format!("  # {origin}")),
            "{line}"
        );
    }
    assert_eq!(without_origin(&document, ""), Vec::<String>::new());
    for line in text.lines() {
        assert!(line.split_once("  # ").is_some_and(|(_, origin)| !origin.is_empty()), "{line}");
    }
    let usual = document.pointer("/spool/dir/origin").and_then(Value::as_str);
    assert_eq!(usual, Some("spool.shared_dir of files of the original"));
    assert!(!Path::new(&desk.path("pair/opt/logs/.cim")).exists(), "a look makes nothing");
}

/// The paths of values that stand there without an origin.
fn without_origin(document: &Value, at: &str) -> Vec<String> {
    let Value::Object(members) = document else { return vec![at.to_owned()] };
    if members.len() == 2 && members.contains_key("value") {
        let has_origin = members["origin"].as_str().is_some_and(|origin| !origin.is_empty());
        return if has_origin { Vec::new() } else { vec![at.to_owned()] };
    }
    members.iter().flat_map(|(name, value)| without_origin(value, &format!("{at}.{name}"))).collect()
}
