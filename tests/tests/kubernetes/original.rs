//! A pod of the original in a cluster, which finds its infrastructure as there: by an annotation and a service.

use std::io::{BufRead, BufReader};
use std::net::{SocketAddr, TcpListener};
use std::sync::mpsc;

use cim_services::{Etcd, Kubernetes, until};
use cim_testkit::CannedHttp;
use cim_tests::Daemon;
use cim_tests::cluster::{ANNOTATIONS, Berth, LABELS, NODE, PATIENCE, POD};
use serde_json::{Value, json};

/// Starts a pod under the old name, with that one file below `opt/conf`.
fn start(berth: &Berth<'_>, file: &str, content: &Value) -> Daemon {
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("opt/logs")).unwrap();
    std::fs::create_dir_all(home.path().join("opt/conf/static")).unwrap();
    std::fs::write(home.path().join("opt/conf").join(file), content.to_string()).unwrap();
    let address = berth.kubernetes.address();
    let (token, ca) = (berth.file("token"), berth.file("ca.crt"));
    Daemon::start_as_original(
        home,
        &[
            ("K8S_NAMESPACE", berth.namespace.name()),
            ("K8S_POD_ID", POD),
            ("KUBERNETES_SERVICE_HOST", &address.ip().to_string()),
            ("KUBERNETES_SERVICE_PORT", &address.port().to_string()),
            ("CIM__ORCHESTRATOR__TOKEN_FILE", token.to_str().unwrap()),
            ("CIM__ORCHESTRATOR__CA_FILE", ca.to_str().unwrap()),
        ],
    )
}

/// The lines that a receiver of logs gets.
fn receiver() -> (SocketAddr, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (tell, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let tell = tell.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let _ = tell.send(line);
                }
            });
        }
    });
    (address, lines)
}

fn log(daemon: &Daemon, text: &str) {
    let log = cim_wire::Log {
        container_id: b"c1"[..].into(),
        container_name: b"app"[..].into(),
        payload: Some(text.as_bytes().into()),
    };
    let mut out = Vec::new();
    log.encode_flatbuffer(&mut out);
    let mut wire = daemon.connect();
    wire.publish("LOG", &out);
    wire.flush();
}

#[test]
fn without_common_infra_json_the_service_of_the_annotation_is_asked_until_it_answers_and_remembered() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let Some(etcd) = Etcd::single() else { return };
    let (agent, lines) = receiver();
    let infra = json!({
        "etcd_url": etcd.member(0).address().to_string(), "kafka_brokers": null, "logging_svc_url": agent.to_string(),
        "topoengine_fqdn": "te:1", "apigw_rest_fqdn": null, "tpaas_fqdn": "t:1",
    });
    // The body of an error is no configuration, whatever it holds.
    let broken =
        CannedHttp::answer("500 Internal Server Error", &[], "{\"logging_svc_url\":\"127.0.0.1:1\"}");
    let answers = vec![broken, CannedHttp::answer("200 OK", &[], &infra.to_string())];
    let service = CannedHttp::start(answers).unwrap();
    let gateway = service.address().to_string();

    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    let mut annotations = ANNOTATIONS.to_vec();
    annotations.push(("topogw.fqdn", &gateway));
    berth.namespace.create_pod(POD, NODE, LABELS, &annotations);

    let document = json!({"cimConfig": {"lmaas": {"logging_mode": "TCP", "flush_timeout": 5}}});
    let mut daemon = start(&berth, "cim.json", &document);
    let answer = daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}\n{}", daemon.stderr());
    for part in [
        format!(r#""tmaas_fqdn":"{gateway}""#),
        r#""topo_engine_fqdn":"te:1""#.to_owned(),
        format!(r#""apigw_rest_fqdn":"cmaas.{}.svc.cluster.local:8008""#, berth.namespace.name()),
    ] {
        assert!(answer.contains(&part), "{part}: {answer}");
    }
    assert_eq!(service.requests()[0], "GET /api/v1/tmaas/config/common-infra HTTP/1.1");
    assert!(service.requests().len() >= 2);
    log(&daemon, "one");
    let line = lines.recv_timeout(PATIENCE).unwrap();
    assert!(line.contains(r#""log":"one""#), "{line}");
    until("changes are watched", PATIENCE, || daemon.metric("cim_config_watching") > 0.5);

    // The next start needs neither the service nor the API server.
    berth.end_pod();
    daemon.kill_and_restart();
    log(&daemon, "two");
    let line = lines.recv_timeout(PATIENCE).unwrap();
    assert!(line.contains(r#""log":"two""#), "{line}");
    assert!(daemon.register().contains(r#""topo_engine_fqdn":"te:1""#));
}

#[test]
fn a_pod_without_a_cim_json_writes_files_and_gets_its_map_at_the_first_registration() {
    let Some(kubernetes) = Kubernetes::shared() else { return };
    let Some(etcd) = Etcd::single() else { return };
    let berth = Berth::bare(kubernetes);
    berth.grant(&[]);
    berth.namespace.create_pod(POD, NODE, LABELS, ANNOTATIONS);
    let infra = json!({"etcd_url": etcd.member(0).address().to_string(), "log_format": "json"});
    let daemon = start(&berth, "static/common-infra.json", &infra);
    let given = r#","lmaas":{"max_age":3},"app_settings":{"app_port":8181}"#;
    assert!(daemon.register_with(given).starts_with("HTTP/1.1 200"), "{}", daemon.stderr());
    log(&daemon, "one");
    let file = daemon.home().join(format!("opt/logs/{POD}_{}_app-c1.log", berth.namespace.name()));
    until("the line", PATIENCE, || std::fs::read_to_string(&file).is_ok_and(|text| text == "one\n"));
    let map = || {
        let maps = berth.namespace.kubectl(&["get", "configmaps", "-o", "json"]);
        let maps: Value = serde_json::from_str(&maps).unwrap();
        let documents = maps["items"].as_array().unwrap().iter();
        documents.filter_map(|map| map["data"]["cim.json"].as_str().map(str::to_owned)).next()
    };
    until("the map", PATIENCE, || map().is_some());
    let made: Value = serde_json::from_str(&map().unwrap()).unwrap();
    let document = &made["cimConfig"];
    assert_eq!(document["lmaas"]["max_age"], 3, "as the application gave it");
    assert_eq!(document["app_settings"]["app_port"], 8181);
    assert_eq!(document["lmaas"]["buffer_size"], 10_000, "as the original has it");
}
