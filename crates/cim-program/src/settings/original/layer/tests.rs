//! What each member of `cim.json` and `common-infra.json` leads to, and what is said of those that cannot be.

use super::*;
use proptest::prelude::*;

use crate::settings::document::Layer;

fn original(document: Option<Value>, infra: Option<Value>) -> Original {
    let mut original = Original::none(std::path::Path::new("/root"));
    if let Some(infra) = infra {
        let mut places = Places::default();
        places.note("", Place::Document("common-infra.json".to_owned()));
        let value = infra.as_object().unwrap().clone();
        original.infra = Some(Layer { name: "common-infra.json".to_owned(), value, places });
    }
    match document {
        Some(document) => original.with_document("cim.json", json!({ "cimConfig": document })),
        None => original,
    }
}

/// Kinds by their names alone; `etcd` is one of them if that is said.
fn registry(etcd: bool) -> Registry {
    let mut registry = Registry::new();
    if etcd {
        registry.sources_mut().add(cim_core::SourceKind {
            name: "etcd",
            summary: "",
            schema: || json!({}),
            validate: |_| Vec::new(),
            build: |_, _| Err(cim_core::Problem::new("", "not here")),
        });
    } else {
        registry.sources_mut().compiled_out("etcd", "config-etcd");
    }
    registry
}

fn map(document: Option<Value>, infra: Option<Value>) -> Mapped {
    original(document, infra).map(&|_| false, &registry(true), Surroundings::default())
}

/// What any file of the original leads to.
fn only_the_spool() -> Value {
    json!({"spool": {"shared_dir": "/root/opt/logs"}})
}

fn settings(document: Value, infra: Value) -> Value {
    let mapped = map(Some(document), Some(infra));
    assert_eq!(mapped.problems, []);
    Value::Object(mapped.layer.value)
}

#[test]
fn every_mode_has_its_sinks() {
    let infra = json!({"logging_svc_url": "fb:5175", "kafka_brokers": ["k:9092"]});
    for (mode, sink, fallback, sinks) in [
        ("FILE", json!("xgvela-file"), Value::Null, vec!["xgvela-file", "xgvela-kafka"]),
        ("STDOUT", json!("console"), Value::Null, vec!["xgvela-kafka"]),
        (
            "FILEANDSTDOUT",
            json!(["console", "xgvela-file"]),
            Value::Null,
            vec!["xgvela-file", "xgvela-kafka"],
        ),
        ("TCP", json!("xgvela-tcp"), json!("xgvela-file"), vec!["xgvela-file", "xgvela-kafka", "xgvela-tcp"]),
        ("KAFKA", json!("xgvela-kafka"), json!("xgvela-file"), vec!["xgvela-file", "xgvela-kafka"]),
    ] {
        let settings = settings(json!({"lmaas": {"logging_mode": mode}}), infra.clone());
        assert_eq!(settings["routes"]["logs"]["sink"], sink, "{mode}");
        assert_eq!(settings["routes"]["logs"]["fallback"], fallback, "{mode}");
        assert_eq!(settings["routes"]["events"]["sink"], "xgvela-kafka", "{mode}");
        let names: Vec<_> = settings["sinks"].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(names, sinks, "{mode}");
    }
}

#[test]
fn limits_become_those_of_the_files() {
    let lmaas = json!({"max_file_size_in_mb": 50, "max_backup_files": 20, "max_age": 30, "buffer_size": 1000, "flush_timeout": 5});
    let settings = settings(json!({ "lmaas": lmaas }), json!({}));
    let expected = json!({
        "type": "file", "dir": "/root/opt/logs", "max_size": "50MiB", "max_files": 20, "max_age": "30d", "buffer": "1000B",
        "flush": "5s",
    });
    assert_eq!(settings["sinks"]["xgvela-file"], expected);
}

#[test]
fn the_rest_goes_where_it_belongs() {
    let document = json!({
        "cim_settings": {"enable_kpi": false, "log_level": "WARNING", "kafka_client_id": "me", "app_port": "7"},
        "app_settings": {"app_port": 8080, "http2_enabled": true},
    });
    let infra = json!({
        "etcd_url": "etcd:2379", "kafka_brokers": ["k:9092"], "log_format": "text", "enable_retrx": "true",
        "apigw_rest_fqdn": "gw:1", "topoengine_fqdn": "te:2",
    });
    let settings = settings(document, infra);
    assert_eq!(settings["log"]["level"], "warn");
    assert_eq!(settings["metrics"], json!({"enabled": false}));
    assert_eq!(settings["application"], json!({"url": "http://localhost:8080", "http2": true}));
    assert_eq!(settings["sinks"]["xgvela-kafka"]["properties"], json!({"client.id": "me"}));
    assert_eq!(settings["configuration"], json!({"source": "etcd", "etcd": {"endpoints": ["etcd:2379"]}}));
    assert_eq!(settings["routes"]["logs"]["format"], "text");
    assert_eq!(settings["registration"], json!({"apigw_rest_fqdn": "gw:1", "topo_engine_fqdn": "te:2"}));
}

#[test]
fn under_the_name_of_the_original_records_have_no_headers() {
    let headers = |as_original| {
        let around = Surroundings { as_original, ..Surroundings::default() };
        let original = original(Some(json!({})), Some(json!({"kafka_brokers": ["k:9092"]})));
        let value = Value::Object(original.map(&|_| false, &registry(true), around).layer.value);
        value["sinks"]["xgvela-kafka"]["headers"].clone()
    };
    assert_eq!(headers(true), json!(false));
    assert_eq!(headers(false), Value::Null);
}

#[test]
fn spilled_lines_are_sent_again_where_that_is_wanted() {
    for (wanted, mode) in [("true", json!("copy")), ("false", Value::Null), ("TRUE", Value::Null)] {
        let infra = json!({"logging_svc_url": "fb:5175", "enable_retrx": wanted});
        let settings = settings(json!({"lmaas": {"logging_mode": "TCP"}}), infra);
        assert_eq!(settings["routes"]["logs"]["fallback_mode"], mode, "{wanted}");
    }
}

#[test]
fn an_empty_document_means_files_and_no_document_means_nothing() {
    assert_eq!(settings(json!({}), json!({}))["routes"]["logs"]["sink"], "xgvela-file");
    assert_eq!(Value::Object(map(None, Some(json!({}))).layer.value), only_the_spool());
    let settings = Value::Object(map(None, Some(json!({"kafka_brokers": ["k:9092"]}))).layer.value);
    assert_eq!(settings["routes"], json!({"events": {"sink": "xgvela-kafka"}}));
}

#[test]
fn the_document_of_the_program_is_sound_and_means_files() {
    let original = Original::none(std::path::Path::new("/")).or_default();
    let mapped = original.map(&|_| false, &registry(true), Surroundings::default());
    assert_eq!(mapped.problems, []);
    assert_eq!(Value::Object(mapped.layer.value)["routes"]["logs"]["sink"], "xgvela-file");
}

#[test]
fn members_that_are_null_or_empty_in_common_infra_are_as_good_as_absent() {
    let infra = json!({"etcd_url": null, "kafka_brokers": [], "logging_svc_url": "", "log_format": null, "apigw_rest_fqdn": ""});
    assert_eq!(settings(json!({}), infra), settings(json!({}), json!({})));
}

#[test]
fn a_route_that_the_operator_decides_is_the_operators_altogether() {
    let original = original(
        Some(json!({"lmaas": {"logging_mode": "TCP"}})),
        Some(json!({"log_format": "text", "kafka_brokers": ["k:9092"], "etcd_url": "e:1"})),
    );
    let operator: Operator<'_> = &|keys| keys.last() == Some(&"sink") || keys == ["configuration", "source"];
    let mapped = original.map(operator, &registry(true), Surroundings::default());
    assert_eq!(mapped.problems, []);
    assert_eq!(Value::Object(mapped.layer.value), only_the_spool());
}

#[test]
fn a_source_that_is_not_in_the_build_is_told() {
    let mapped = original(None, Some(json!({"etcd_url": "e:1"}))).map(
        &|_| false,
        &registry(false),
        Surroundings::default(),
    );
    assert_eq!(Value::Object(mapped.layer.value), only_the_spool());
    assert!(mapped.warnings[0].to_string().contains("`--features config-etcd`"), "{}", mapped.warnings[0]);
}

#[test]
fn files_of_the_original_are_picked_up_only_where_a_fallback_wrote_them() {
    let infra =
        |again: &str| json!({"logging_svc_url": "fb:1", "kafka_brokers": ["k:1"], "enable_retrx": again});
    for (mode, again, is_picked_up) in [
        ("TCP", "true", true),
        ("KAFKA", "true", true),
        ("TCP", "false", false),
        ("FILE", "true", false),
        ("STDOUT", "true", false),
        ("FILEANDSTDOUT", "true", false),
    ] {
        let found = settings(json!({"lmaas": {"logging_mode": mode}}), infra(again));
        assert_eq!(found.pointer("/leftovers/dir").is_some(), is_picked_up, "{mode} {again}");
    }
}

#[test]
fn the_agent_of_the_own_node_takes_the_place_of_the_service_where_nodes_are_known() {
    let document = json!({"lmaas": {"logging_mode": "TCP", "prefer_local_daemonset": true}});
    for (port, expected) in [(json!("5171"), 5171), (json!("none"), 5170), (Value::Null, 5170)] {
        let original = original(Some(document.clone()), Some(json!({"logging_svc_tcp_port": port})));
        let around = Surroundings { knows_nodes: true, ..Surroundings::default() };
        let mapped = original.map(&|_| false, &registry(true), around);
        assert_eq!(mapped.problems, []);
        let agent = &Value::Object(mapped.layer.value)["sinks"]["xgvela-tcp"]["node_agent"];
        assert_eq!(*agent, json!({"selector": "k8s-app=fluent-bit", "port": expected}));
    }
    let mapped = map(Some(document), Some(json!({"logging_svc_url": "fb:1"})));
    assert!(mapped.warnings[0].to_string().contains("needs an orchestrator that knows nodes"));
}

#[test]
fn values_know_the_member_they_came_from() {
    let mapped = map(Some(json!({"lmaas": {"max_age": 3}})), None);
    let place = mapped.layer.places.of("sinks.xgvela-file.max_age").to_string();
    assert_eq!(place, "cim.json (cimConfig.lmaas.max_age)");
}

/// Members with a range: section, name, least, most.
const RANGES: [(&str, &str, u64, u64); 9] = [
    ("lmaas", "max_file_size_in_mb", 1, 50),
    ("lmaas", "max_backup_files", 1, 20),
    ("lmaas", "max_age", 1, 30),
    ("lmaas", "buffer_size", 1_000, 100_000),
    ("lmaas", "flush_timeout", 5, 30),
    ("cim_settings", "num_garp_count", 0, 5),
    ("cim_settings", "remote_svc_retry_count", 1, 600),
    ("cim_settings", "ttl_timeout", 1, 600),
    ("app_settings", "app_port", 5_000, 10_000),
];

proptest! {
    #[test]
    fn a_number_is_taken_exactly_within_its_range(at in 0..RANGES.len(), from_edge in -2..3i64, upper in any::<bool>()) {
        let (section, name, least, most) = RANGES[at];
        let value = i64::try_from(if upper { most } else { least }).unwrap() + from_edge;
        let mapped = map(Some(json!({ section: { name: value } })), None);
        let within = u64::try_from(value).is_ok_and(|value| (least..=most).contains(&value));
        prop_assert_eq!(mapped.problems.is_empty(), within, "{} = {}: {:?}", name, value, mapped.problems);
        let path = format!("cimConfig.{section}.{name}");
        prop_assert!(mapped.problems.iter().all(|problem| problem.problem.path == path));
    }

    #[test]
    fn whatever_a_document_holds_the_answer_is_settings_or_problems(text in r#"[\[\]{}":,a-z0-9 ]{0,40}"#) {
        if let Ok(value) = serde_json::from_str::<Value>(&text) {
            let mapped = map(Some(value), None);
            prop_assert!(mapped.problems.is_empty() || mapped.layer.value.is_empty());
        }
    }
}
