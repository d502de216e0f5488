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

/// The rights that `cim manifest` prints; their token is `token` in the directory of the program.
fn grant(kubernetes: &Kubernetes, namespace: &Namespace<'_>, home: &Path) {
    let arguments = ["manifest", "--rbac", "--namespace", namespace.name(), "--service-account", "cim"];
    let manifest = Command::new(binary()).args(arguments).output().unwrap();
    kubernetes.apply(&String::from_utf8(manifest.stdout).unwrap());
    std::fs::write(home.join("token"), namespace.token("cim")).unwrap();
    let user = format!("--as=system:serviceaccount:{}:cim", namespace.name());
    for (verb, resource) in [("get", "pods"), ("create", "configmaps")] {
        let question = ["auth", "can-i", verb, resource, &user, "--namespace", namespace.name()];
        cim_services::until("rights", PATIENCE, || kubernetes.try_kubectl(&question).is_ok());
    }
}

/// What the image has, and an empty source.
fn build_in(home: &Path, document: &Value) {
    std::fs::create_dir_all(home.join("opt/config")).unwrap();
    std::fs::write(home.join("opt/config/cim.json"), document.to_string()).unwrap();
    std::fs::create_dir_all(home.join("store")).unwrap();
}

/// A pod `pod-1` with rights and what the image has.
fn prepare(kubernetes: &Kubernetes, namespace: &Namespace<'_>, home: &Path) {
    grant(kubernetes, namespace, home);
    let labels = [("microSvcName", "svc"), ("uhn", "u"), ("cnfc_uuid", "c")];
    let annotations = [("svcVersion", "v1"), ("xgvela.com/tmaas", TMAAS)];
    namespace.create_pod("pod-1", "node-1", &labels, &annotations);
    build_in(home, &json!({"cimConfig": {"lmaas": {"logging_mode": "FILE", "max_age": 7}}}));
}

fn start(kubernetes: &Kubernetes, namespace: &Namespace<'_>, home: tempfile::TempDir) -> Daemon {
    start_pod(kubernetes, namespace, home, "pod-1")
}

fn start_pod(
    kubernetes: &Kubernetes,
    namespace: &Namespace<'_>,
    home: tempfile::TempDir,
    pod: &str,
) -> Daemon {
    let settings = format!(
        "[spool]\ndir = \"{{home}}/spool\"\n[configuration]\nsource = \"file\"\nfile.dir = \"{{home}}/store\"\n\
         [orchestrator]\ntype = \"kubernetes\"\nhost = \"{}\"\nport = {}\ntoken_file = \"{{home}}/token\"\nca_file = \"{}\"\n\
         request_timeout = \"20s\"\n[identity]\nnamespace = \"{}\"\npod = \"{pod}\"\n",
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
    put_for("svc", daemon, namespace, revision, patch);
}

fn put_for(service: &str, daemon: &Daemon, namespace: &Namespace<'_>, revision: i32, patch: &Value) {
    let folder = format!("store/change-set/{}/{service}/v1/ms/cim.json", namespace.name());
    let folder = daemon.home().join(folder);
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(".fresh"), patch.to_string()).unwrap();
    std::fs::rename(folder.join(".fresh"), folder.join(revision.to_string())).unwrap();
}

fn commits(daemon: &Daemon, namespace: &Namespace<'_>, value: &str) {
    commits_at(&format!("commit-config/{}/svc/v1/ms/cim/pod-1", namespace.name()), daemon, value);
}

fn commits_at(key: &str, daemon: &Daemon, value: &str) {
    let key = daemon.home().join("store").join(key);
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

/// The words of a YANG module from its first container on; what descriptions say is free.
fn words(yang: &str) -> Vec<String> {
    let mut rest = &yang[yang.find("container cimConfig").unwrap()..];
    let mut text = String::new();
    while let Some((before, after)) = rest.split_once("description") {
        text.push_str(before);
        rest = after.split_once("\";").unwrap().1;
    }
    text.push_str(rest);
    for sign in ["{", "}", ";"] {
        text = text.replace(sign, &format!(" {sign} "));
    }
    text.split_whitespace().map(str::to_owned).collect()
}

#[test]
fn the_map_of_the_first_registration_and_its_commits_are_as_recorded() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let vectors: Value = serde_json::from_str(include_str!("../vectors/config.json")).unwrap();
    let named = |case: &&Value| case["name"] == "ConfigMap created at first registration";
    let case = vectors["cases"].as_array().unwrap().iter().find(named).unwrap();
    let request = case["expected"]["request"].as_str().unwrap();
    let recorded: Value = serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap();
    let parsed = |text: &Value| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap();

    let namespace = kubernetes.namespace();
    let home = tempfile::tempdir().unwrap();
    grant(kubernetes, &namespace, home.path());
    let tmaas = recorded["metadata"]["annotations"]["xgvela.com/tmaas"].as_str().unwrap();
    let labels = [("microSvcName", "svck"), ("uhn", "u"), ("cnfc_uuid", "c")];
    namespace.create_pod("pod-k", "node-1", &labels, &[("svcVersion", "v1"), ("xgvela.com/tmaas", tmaas)]);
    // As in the image: what the registration says otherwise is told by the case.
    let mut built_in = parsed(&recorded["data"]["cim.json"]);
    built_in["cimConfig"]["lmaas"]["max_age"] = json!(7);
    built_in["cimConfig"]["lmaas"]["logging_mode"] = json!("FILE");
    built_in["cimConfig"]["app_settings"]["app_port"] = json!(9999);
    build_in(home.path(), &built_in);
    let daemon = start_pod(kubernetes, &namespace, home, "pod-k");
    cim_services::until("the pod is known", PATIENCE, || {
        daemon.get("/statusz").unwrap().contains("\"known\": true")
    });
    let body = case["input"]["register_body"].as_str().unwrap();
    let answer = daemon.call("POST", "/api/v1/_operations/xgvela/register", body.as_bytes());
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    cim_services::until("the map", PATIENCE, || map(&namespace).is_some());

    let mut made = map(&namespace).unwrap();
    let mut recorded = recorded;
    let own = namespace.name();
    assert_eq!(made["metadata"]["annotations"]["nwFnPrefix"], own);
    made["metadata"]["annotations"]["nwFnPrefix"] = json!("ns1");
    for member in ["name", "labels", "annotations"] {
        assert_eq!(made["metadata"][member], recorded["metadata"][member], "{member}");
    }
    let (made, recorded) = (made["data"].take(), recorded["data"].take());
    assert_eq!(parsed(&made["cim.json"]), parsed(&recorded["cim.json"]));
    assert_eq!(words(made["cim.yang"].as_str().unwrap()), words(recorded["cim.yang"].as_str().unwrap()));
    for member in ["__CFG_TYPE", "revision", "updatePolicy.json"] {
        assert_eq!(made[member], recorded[member], "{member}");
    }
    assert_eq!(made.as_object().unwrap().len(), recorded.as_object().unwrap().len());

    let expected = |part: &str| {
        let (key, value) = case["expected"][part].as_object().unwrap().iter().next().unwrap();
        (key.replace("/ns1/", &format!("/{own}/")), value.as_str().unwrap().to_owned())
    };
    let (key, value) = expected("commits");
    commits_at(&key, &daemon, &value);
    let (key, value) = expected("self_update_commit");
    let patch = json!([{"op": "replace", "path": "/cimConfig/lmaas/max_age", "value": 4}]);
    put_for("svck", &daemon, &namespace, value.parse().unwrap(), &patch);
    commits_at(&key, &daemon, &value);
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

/// A role of before there were maps: the first attempt is refused, and nobody waits for the next.
#[test]
fn a_creation_that_is_refused_delays_no_registration_and_is_made_once_the_right_is_there() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let namespace = kubernetes.namespace();
    let home = tempfile::tempdir().unwrap();
    prepare(kubernetes, &namespace, home.path());
    let full = namespace.kubectl(&["get", "role", "cim", "-o", "json"]);
    let mut role: Value = serde_json::from_str(&full).unwrap();
    let rules = role["rules"].as_array_mut().unwrap();
    for rule in rules.iter_mut().filter(|rule| rule["resources"] == json!(["configmaps"])) {
        rule["verbs"].as_array_mut().unwrap().retain(|verb| verb != "create");
    }
    rules.retain(|rule| rule["verbs"] != json!([]));
    // Whoever applies must not say which version is replaced.
    let metadata = json!({"name": "cim", "namespace": namespace.name()});
    role["metadata"] = metadata.clone();
    kubernetes.apply(&role.to_string());
    let user = format!("--as=system:serviceaccount:{}:cim", namespace.name());
    let question = ["auth", "can-i", "create", "configmaps", &user, "--namespace", namespace.name()];
    cim_services::until("the lack of the right", PATIENCE, || kubernetes.try_kubectl(&question).is_err());

    let daemon = start(kubernetes, &namespace, home);
    cim_services::until("the pod is known", PATIENCE, || {
        daemon.get("/statusz").unwrap().contains("\"known\": true")
    });
    let asked = std::time::Instant::now();
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    cim_services::until("the refusal", PATIENCE, || {
        let said = daemon.stderr();
        said.contains("the ConfigMap of cim.json cannot be made; it is tried again")
            && said.contains("create configmaps")
    });
    assert_eq!(map(&namespace), None);
    let mut role: Value = serde_json::from_str(&full).unwrap();
    role["metadata"] = metadata;
    kubernetes.apply(&role.to_string());
    cim_services::until("the map", PATIENCE, || map(&namespace).is_some());
    commits(&daemon, &namespace, "0");
}
