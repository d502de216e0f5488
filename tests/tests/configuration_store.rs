//! The whole program on an etcd that makes it hard: tokens that run out, no room left, values as large as it takes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::time::{Duration, Instant};

use cim_services::{Etcd, EtcdPlan, EtcdVersion};
use cim_tests::application::{Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::{publication, until};

const COMMIT: &str = "commit-config/ns1/svc/v1/ms/pod-1";

fn key(revision: i32) -> String {
    format!("change-set/ns1/svc/v1/ms/app.json/{revision}")
}

fn readiness(pod: &Pod) -> String {
    let page = pod.daemon.get("/readyz").unwrap();
    page.lines().find(|line| line.contains("configuration: ")).unwrap().to_owned()
}

/// How often somebody logged in, as the member counts it.
fn logins(etcd: &Etcd) -> f64 {
    let page = cim_bench::http::get(etcd.member(0).address(), "/metrics").unwrap();
    cim_bench::http::metric(&page, "grpc_server_handled_total", "grpc_method=\"Authenticate\"")
}

/// Tokens of two seconds, signed, so that the member cannot make them last: a watch is begun with one, and results are stored
/// with others.
fn tokens_run_out(version: EtcdVersion) {
    const LIFE: Duration = Duration::from_secs(2);
    let secret = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(secret.path(), "a key that signs tokens").unwrap();
    let token = format!("--auth-token=jwt,sign-method=HS256,ttl=2s,priv-key={}", secret.path().display());
    let Some(etcd) = EtcdPlan::new().version(version).argument(&token).start() else { return };
    let root = etcd.enable_auth(
        "root",
        "cim",
        "canary",
        &["change-set/", "config/", "commit-config/", "cim-status/"],
    );
    let pod = Pod::of_etcd(&etcd.endpoints(), "etcd.user = \"cim\"\netcd.password = \"canary\"\n");
    pod.register();
    for revision in 1..4 {
        let before = logins(&etcd);
        let old = Instant::now();
        until("every token is too old", || old.elapsed() > LIFE + Duration::from_millis(100));
        let _ = root.etcdctl(&["put", &key(revision), "[]"]);
        until("commit", || {
            root.etcdctl(&["get", "--print-value-only", COMMIT]).trim() == revision.to_string()
        });
        // One login is that of etcdctl.
        assert!(logins(&etcd) > before + 1.5, "the old token is still good");
    }
    assert_eq!(pod.app.revisions(), [1, 2, 3]);
    assert!(pod.daemon.metric("cim_config_watching") > 0.5);
    assert!(!pod.daemon.stderr().contains("canary"));
}

#[test]
fn a_token_that_runs_out_under_a_watch_and_a_report_costs_no_change() {
    tokens_run_out(EtcdVersion::Current);
}

#[test]
fn a_token_that_runs_out_under_a_watch_and_a_report_of_the_oldest_version_costs_no_change() {
    tokens_run_out(EtcdVersion::Oldest);
}

#[test]
fn a_store_that_runs_full_between_push_and_result_takes_the_result_once_there_is_room() {
    for version in EtcdVersion::ALL {
        let plan = EtcdPlan::new().version(version).argument("--quota-backend-bytes=1000000");
        let Some(etcd) = plan.start() else { return };
        let mut pod = Pod::of_etcd(&etcd.endpoints(), "");
        pod.app.behave(Manners { status: Some(202), told: Told::Never, ..Manners::default() });
        pod.register();
        let _ = etcd.put_for(&key(1), "[]", 180);
        until("the change is handed over", || pod.app.revisions() == [1]);
        let mut filled = 0;
        while etcd.member(0).etcdctl(&["put", &format!("fill/{filled}"), &"x".repeat(100_000)]).is_ok() {
            filled += 1;
        }
        until("nothing waits yet", || readiness(&pod).contains(" watching; "));

        let mut wire = pod.daemon.connect();
        let result = format!(r#"{{"change-set-key":"{}","revision":"1","status":"success"}}"#, key(1));
        wire.send(&publication("CONFIG", result.as_bytes()));
        wire.flush();
        let is_held_up = |pod: &Pod| {
            let text = readiness(pod);
            text.contains("degraded: watching, but results are not stored (1 wait)")
                && text.contains("database space exceeded")
        };
        until("it is said that the store is full", || is_held_up(&pod));
        assert_eq!(etcd.get(COMMIT), None);
        until("it is remembered", || {
            let memory = std::fs::read_to_string(pod.daemon.home().join("spool/configuration.json"));
            memory.is_ok_and(|memory| memory.contains(r#""unstored":[{"#))
        });
        pod.daemon.kill_and_restart();
        until("the next process says so too", || is_held_up(&pod));
        assert!(pod.daemon.get("/readyz").unwrap().starts_with("HTTP/1.1 200"), "the pod stays in service");

        let _ = etcd.etcdctl(&["del", "--prefix", "fill/"]);
        etcd.compact(etcd.revision());
        let _ = etcd.etcdctl(&["defrag"]);
        let _ = etcd.etcdctl(&["alarm", "disarm"]);
        until("commit", || etcd.get(COMMIT).as_deref() == Some("1"));
        until("ready", || readiness(&pod).contains(" watching; 1 documents changed"));
        assert_eq!(pod.app.revisions(), [1], "it is not handed over again");
    }
}

#[test]
fn a_patch_of_a_mebibyte_reaches_the_application_byte_for_byte() {
    for version in EtcdVersion::ALL {
        let Some(etcd) = EtcdPlan::new().version(version).start() else { return };
        let pod = Pod::of_etcd(&etcd.endpoints(), "");
        pod.register();
        // Of everything that is written otherwise in JSON, and of every length of UTF-8.
        let unit = "\u{1}\t\"\\/<>&'\u{7f}\u{e9}\u{2028}\u{20ac}\u{1f980} ";
        let mut value = unit.repeat((1 << 20) / unit.len());
        value.push_str(&"x".repeat((1 << 20) - value.len()));
        assert_eq!(value.len(), 1 << 20);
        etcd.put(&key(1), &value);
        until("commit", || etcd.get(COMMIT).as_deref() == Some("1"));
        let handed = pod.app.calls()[0].member("config-patch");
        assert_eq!(handed.len(), value.len());
        assert!(handed == value, "{} differs", version.number());
    }
}
