//! The table of the sink: defaults, and every error text as people see it.
//!
//! `CIM_UPDATE_GOLDEN=1 cargo test -p cim-sink-kafka --test settings` rewrites `tests/golden/settings.txt`; review the
//! difference.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::fmt::Write as _;
use std::path::Path;

use cim_core::{LogFormat, Problem};
use cim_sink_kafka::{KIND, KafkaSettings, properties};
use serde_json::{Value, json};

const SECRET: &str = "canary-7231";

fn problems(table: &Value) -> Vec<Problem> {
    (KIND.validate)(table, LogFormat::Json)
}

fn with(more: Value) -> Value {
    let mut table = json!({ "brokers": ["kafka:9092"] });
    table.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    table
}

#[test]
fn every_error_text() {
    let cases = [
        json!({}),
        json!({ "brokers": [] }),
        with(
            json!({ "brokers": ["kafka", "kafka:0", "http://kafka:9092", "a:1,b:2", "::1:9092", "[::1]:9092", "k:9092"] }),
        ),
        with(json!({ "topic": "x" })),
        with(json!({ "logs_topic": "", "events_topic": "my topic" })),
        with(json!({ "partitioning": "random" })),
        with(json!({ "compression": "lz5" })),
        with(json!({ "max_message": "10B" })),
        with(json!({ "max_message": "8MiB" })),
        with(json!({ "give_up_after": "soon" })),
        with(json!({ "sasl": { "mechanism": "PLAIN", "username": "u" } })),
        with(json!({ "sasl": { "mechanism": "GSSAPI", "username": "u", "password": SECRET } })),
        with(
            json!({ "sasl": { "mechanism": "PLAIN", "username": "", "password": SECRET, "password_file": "/p" } }),
        ),
        with(
            json!({ "tls": { "certificate_file": "/c", "key_password": SECRET, "key_password_file": "/p" } }),
        ),
        with(json!({ "properties": { "linger.ms": 5, "acks": 1, "soket.timeout.ms": 5, "nonsense": true } })),
        with(json!({ "properties": { "sasl.password": SECRET } })),
        with(json!({ "properties": { "socket.timeout.ms": "a while" } })),
        with(json!({ "properties": { "broker.address.family": "v5" } })),
        with(json!({ "properties": { "max.in.flight": 9 } })),
        with(json!({ "properties": { "socket.max.fails": 0 } })),
    ];
    let mut text = String::new();
    for case in &cases {
        writeln!(text, "{}", case.to_string().replace(SECRET, "<secret>")).unwrap();
        let found = problems(case);
        assert!(!found.is_empty(), "nothing wrong with {case}");
        for problem in found {
            writeln!(text, "    {problem}").unwrap();
        }
    }
    assert!(!text.contains(SECRET), "a secret is shown:\n{text}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/settings.txt");
    if std::env::var_os("CIM_UPDATE_GOLDEN").is_some() {
        std::fs::write(&file, &text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(file).unwrap());
}

#[test]
fn what_is_allowed_passes_and_is_known_to_the_library() {
    let values = |name: &str| match name {
        name if name.ends_with(".enable") || name.ends_with(".disable") => json!(true),
        "api.version.request" | "topic.metadata.refresh.sparse" => json!(true),
        "broker.address.family" => json!("v4"),
        "client.dns.lookup" => json!("use_all_dns_ips"),
        "debug" => json!("broker"),
        "max.in.flight" => json!(1),
        "compression.level" => json!(3),
        "broker.version.fallback" => json!("0.10.0"),
        "socket.timeout.ms" | "socket.connection.setup.timeout.ms" => json!(5_000),
        "client.id" | "client.rack" => json!("x"),
        _ => json!(50_000),
    };
    for name in properties::ALLOWED.iter().filter(|name| !name.starts_with("ssl.")) {
        let found = problems(&with(json!({ "properties": { *name: values(name) } })));
        assert_eq!(found, [], "{name}");
    }
}

/// No property is in both lists, and the guide names all that may be set.
#[test]
fn the_guide_lists_the_properties() {
    let guide = include_str!("../../../docs/guide/kafka.md");
    for name in properties::ALLOWED {
        assert!(!properties::OWNED.iter().any(|(owned, _)| owned == name), "{name} is in both lists");
        assert!(guide.contains(&format!("`{name}`")), "docs/guide/kafka.md lacks `{name}`");
    }
}

#[test]
fn what_the_build_lacks_is_said() {
    let tls = problems(&with(json!({ "tls": {} })));
    let scram = json!({ "mechanism": "SCRAM-SHA-512", "username": "u", "password": SECRET });
    let scram = problems(&with(json!({ "sasl": scram })));
    let texts: Vec<_> = [tls, scram].into_iter().flatten().map(|problem| problem.to_string()).collect();
    let lacking = [
        "tls: TLS is not part of this build; build with `--features tls`",
        "sasl.mechanism: SCRAM-SHA-512 is not part of this build; build with `--features tls`",
    ];
    assert!(texts.is_empty() || texts == lacking, "{texts:?}");
}

#[test]
fn defaults_are_those_of_the_guide() {
    let settings = KafkaSettings::read(&with(json!({}))).unwrap();
    assert_eq!((settings.logs_topic.as_str(), settings.events_topic.as_str()), ("LOGS", "EVENT"));
    assert_eq!((settings.headers, settings.max_message.get()), (true, 1_200_000));
    assert_eq!(problems(&with(json!({}))), []);
    let shown = format!(
        "{:?}",
        KafkaSettings::read(&with(json!({
            "sasl": { "mechanism": "PLAIN", "username": "u", "password": SECRET }
        })))
    );
    assert!(!shown.contains(SECRET) && shown.contains("***"), "{shown}");
}
