//! Texts that other software and people read, as golden files: `CIM_UPDATE_GOLDEN=1` rewrites them.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure, and the environment says whether golden files are rewritten"
)]

use std::fmt::Write as _;
use std::path::Path;

use cim_core::{Document, Identity, Tmaas};
use cim_orchestrator_kubernetes::{Features, KubernetesSettings, Subject, config_map, rbac};

fn assert_golden(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name);
    if std::env::var_os("CIM_UPDATE_GOLDEN").is_some_and(|value| value == "1") {
        std::fs::write(&path, text).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, expected, "{} differs; CIM_UPDATE_GOLDEN=1 rewrites it", path.display());
}

fn subject() -> Subject {
    Subject { namespace: "n".into(), service_account: "cim".into() }
}

#[test]
fn the_manifest_for_everything_is_as_it_was() {
    assert_golden("rbac-all.yaml", &rbac(&subject(), Features::ALL));
}

#[test]
fn the_manifest_for_the_identity_alone_is_as_it_was() {
    assert_golden("rbac-identity.yaml", &rbac(&subject(), Features::default()));
}

#[test]
fn the_config_map_is_as_it_was() {
    let identity = Identity {
        namespace: "ns1".into(),
        pod: "pod-1".into(),
        microservice: "svck".into(),
        version: "v1".into(),
        tmaas: Tmaas {
            vendor_id: "xgvela".into(),
            xgvela_id: "xgvela1".into(),
            nf_class: "xgvela".into(),
            nf_type: "xgvela".into(),
            nf_id: "xgvela1".into(),
            nf_service_id: "svc-1".into(),
            nf_service_type: "svc".into(),
        },
        ..Identity::default()
    };
    let settings = serde_json::json!({"cimConfig": {"lmaas": {"max_age": 3, "logging_mode": "STDOUT"}}});
    let Document { name, labels, annotations, data } = config_map(&identity, &settings);
    let mut text = format!("name: {name}\n");
    for (title, members) in [("label", labels), ("annotation", annotations), ("data", data)] {
        for (key, value) in members {
            let _ = write!(text, "\n{title} {key}:\n{value}\n");
        }
    }
    assert_golden("config-map.txt", &text);
}

#[test]
fn settings_have_the_defaults_of_a_pod_and_wrong_ones_are_named() {
    let settings: KubernetesSettings = serde_json::from_str("{}").unwrap();
    assert_eq!(settings, KubernetesSettings::default());
    assert!(settings.problems().is_empty());
    let wrong = r#"{"request_timeout": "0s", "host": "https://kubernetes", "port": 0}"#;
    let settings: KubernetesSettings = serde_json::from_str(wrong).unwrap();
    let problems: Vec<String> = settings.problems().iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{problems:?}");
    assert!(serde_json::from_str::<KubernetesSettings>(r#"{"tokenfile": "x"}"#).is_err());
}
