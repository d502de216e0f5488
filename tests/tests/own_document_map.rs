//! `cim.json` as a ConfigMap, with a real Kubernetes API server: made at the first registration, adopted, committed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use cim_services::Kubernetes;
use cim_services::kubernetes::Namespace;
use cim_tests::{Daemon, binary, until};
use serde_json::{Value, json};

const NAME: &str = "svc-cim-v1-mgmt-cfg";
const TMAAS: &str = r#"{"vendorId":"v","xgvelaId":"x1","nfClass":"c","nfType":"amf","nfId":"amf1","nfServiceId":"svc-1","nfServiceType":"svc"}"#;
/// Longest wait for the API server, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A pod `pod-1` with the rights that `cim manifest` prints; its token is `token` in the directory of the program.
fn prepare(kubernetes: &Kubernetes, namespace: &Namespace<'_>, home: &Path) {
    let arguments = ["manifest", "--rbac", "--namespace", namespace.name(), "--service-account", "cim"];
    let manifest = Command::new(binary()).args(arguments).output().unwrap();
    kubernetes.apply(&String::from_utf8(manifest.stdout).unwrap());
    std::fs::write(home.join("token"), namespace.token("cim")).unwrap();
    let user = format!("--as=system:serviceaccount:{}:cim", namespace.name());
    for (verb, resource) in [("get", "pods"), ("create", "configmaps")] {
        let question = ["auth", "can-i", verb, resource, &user, "--namespace", namespace.name()];
        cim_services::until("rights", PATIENCE, || kubernetes.try_kubectl(&question).is_ok());
    }
    let labels = [("microSvcName", "svc"), ("uhn", "u"), ("cnfc_uuid", "c")];
    let annotations = [("svcVersion", "v1"), ("xgvela.com/tmaas", TMAAS)];
    namespace.create_pod("pod-1", "node-1", &labels, &annotations);
    std::fs::create_dir_all(home.join("opt/config")).unwrap();
    let built_in = json!({"cimConfig": {"lmaas": {"logging_mode": "FILE", "max_age": 7}}});
    std::fs::write(home.join("opt/config/cim.json"), built_in.to_string()).unwrap();
    std::fs::create_dir_all(home.join("store")).unwrap();
}

fn start(kubernetes: &Kubernetes, namespace: &Namespace<'_>, home: tempfile::TempDir) -> Daemon {
    let settings = format!(
        "[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"file\"\nfile.dir = \"{{home}}/store\"\n\
         [orchestrator]\ntype = \"kubernetes\"\nhost = \"{}\"\nport = {}\ntoken_file = \"{{home}}/token\"\nca_file = \"{}\"\n\
         request_timeout = \"20s\"\n[identity]\nnamespace = \"{}\"\npod = \"pod-1\"\n",
        kubernetes.address().ip(),
        kubernetes.address().port(),
        kubernetes.ca_file().display(),
        namespace.name(),
    );
    Daemon::start_in(home, &settings, Daemon::spawn)
}

fn map(namespace: &Namespace<'_>) -> Option<Value> {
    let text = namespace.kubectl(&["get", "configmap", NAME, "--ignore-not-found", "-o", "json"]);
    (!text.trim().is_empty()).then(|| serde_json::from_str(&text).unwrap())
}

fn put(daemon: &Daemon, namespace: &Namespace<'_>, revision: i32, patch: &Value) {
    let folder = format!("store/change-set/{}/svc/v1/ms/cim.json", namespace.name());
    let folder = daemon.home().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".fresh"), patch.to_string()).unwrap();
    std::fs::rename(folder.join(".fresh"), folder.join(revision.to_string())).unwrap();
}

fn commits(daemon: &Daemon, namespace: &Namespace<'_>, value: &str) {
    let key = daemon.home().join(format!("store/commit-config/{}/svc/v1/ms/cim/pod-1", namespace.name()));
    cim_services::until(&format!("commit of {value}"), PATIENCE, || {
        std::fs::read_to_string(&key).is_ok_and(|stored| stored == value)
    });
}

#[test]
fn the_map_is_made_at_the_first_registration_and_results_have_its_key() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let namespace = kubernetes.namespace();
    let home = tempfile::tempdir().unwrap();
    prepare(kubernetes, &namespace, home.path());
    let daemon = start(kubernetes, &namespace, home);
    cim_services::until("the pod is known", PATIENCE, || {
        daemon.get("/statusz").unwrap().contains("\"known\": true")
    });
    assert_eq!(map(&namespace), None, "not before the registration");
    let given = r#","lmaas":{"max_age":3,"logging_mode":""},"app_settings":{"app_port":8181}"#;
    assert!(daemon.register_with(given).starts_with("HTTP/1.1 200"));
    cim_services::until("the map", PATIENCE, || map(&namespace).is_some());
    let made = map(&namespace).unwrap();
    let document: Value = serde_json::from_str(made["data"]["cim.json"].as_str().unwrap()).unwrap();
    assert_eq!(
        document,
        json!({"cimConfig": {
            "lmaas": {"logging_mode": "FILE", "max_age": 3, "prefer_local_daemonset": false},
            "app_settings": {"app_port": 8181, "http2_enabled": false},
        }})
    );
    assert_eq!(
        (&made["data"]["revision"], &made["metadata"]["labels"]["microSvcName"]),
        (&json!("0"), &json!("svc"))
    );
    commits(&daemon, &namespace, "0");
    put(
        &daemon,
        &namespace,
        4,
        &json!([{"op": "replace", "path": "/cimConfig/lmaas/logging_mode", "value": "STDOUT"}]),
    );
    commits(&daemon, &namespace, "4");
    let mut wire = daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    until("standard output", || daemon.stdout().contains("line 0"));
    assert!(
        !daemon.home().join("store/commit-config").join(namespace.name()).join("svc/v1/ms/pod-1").exists()
    );
}

#[test]
fn a_map_that_exists_counts_before_what_the_image_has_and_survives_a_kill() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let namespace = kubernetes.namespace();
    let home = tempfile::tempdir().unwrap();
    prepare(kubernetes, &namespace, home.path());
    let document = json!({"cimConfig": {"lmaas": {"logging_mode": "STDOUT"}}}).to_string();
    let literals = [format!("--from-literal=cim.json={document}"), "--from-literal=revision=9".to_owned()];
    let _ = namespace.kubectl(&["create", "configmap", NAME, &literals[0], &literals[1]]);
    let mut daemon = start(kubernetes, &namespace, home);
    cim_services::until("the map", PATIENCE, || {
        daemon.stderr().contains("cim.json of the ConfigMap is in force")
    });
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    commits(&daemon, &namespace, "9");
    daemon.kill_and_restart();
    let mut wire = daemon.connect();
    wire.publish("LOG", b"line 0");
    wire.flush();
    until("standard output", || daemon.stdout().contains("line 0"));
    assert!(!daemon.home().join("opt/logs").exists(), "at no moment did what the image has count");
}
