//! The examples of `docs/reference/wire-contract.md`, each encoded and compared.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_wire::{
    Class, Event, EventEncoder, Log, LogContext, LogEncoder, LogFormat, SniffRules, SourceHeaders, event_key,
    log_file_name, sniff,
};

const PAGE: &str = include_str!("../../../docs/reference/wire-contract.md");

/// The identity that the page states for all examples.
fn identity() -> SourceHeaders {
    let text = str::to_owned;
    SourceHeaders {
        pod_id: text("pod-1"),
        microservice: text("svc"),
        nf: text("amf1"),
        nf_prefix: text("ns1"),
        nf_type: text("amf"),
        svc_version: text("v0"),
        xgvela_id: text("xgvela1"),
        nf_id: text("amf1"),
        ..SourceHeaders::default()
    }
}

fn bytes(shown: &str) -> Vec<u8> {
    match shown.strip_prefix("hex:") {
        Some(hex) => {
            (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
        }
        None => shown.as_bytes().to_vec(),
    }
}

/// What the product makes of the payload, under the name of that line of an example.
fn output(class: Class, payload: &[u8], line: &str) -> String {
    let encoding = sniff(class, None, payload, SniffRules::ALL);
    let mut out = Vec::new();
    if class == Class::Event {
        let event = Event::decode(encoding, payload).unwrap();
        match line {
            "event" => EventEncoder::new(&identity()).encode(&event, &mut out),
            "key" => out = event_key("amf", "xgvela1", "amf1").into_bytes(),
            other => panic!("an event has no line `{other}`"),
        }
        return String::from_utf8(out).unwrap();
    }
    let log = Log::decode(encoding, payload, b"app").unwrap();
    let context = LogContext { namespace: "ns1".to_owned(), pod: "pod-1".to_owned() };
    match line {
        "json" => LogEncoder::new(&context, LogFormat::Json).encode(&log, &mut out),
        "text" => LogEncoder::new(&context, LogFormat::Text).encode(&log, &mut out),
        "file" => out = log_file_name("pod-1", "ns1", &log.container_name, &log.container_id).into_bytes(),
        other => panic!("a log has no line `{other}`"),
    }
    String::from_utf8(out).unwrap()
}

#[test]
fn the_examples_of_the_page_are_true() {
    let mut compared = 0;
    for block in PAGE.split("\n```example\n").skip(1) {
        let (block, _) = block.split_once("\n```\n").expect("a closed block");
        let mut lines = block.lines().map(|line| line.split_once(' ').unwrap());
        let (subject, payload) = lines.next().unwrap();
        let class = match subject {
            "LOG" => Class::Log,
            "EVENT" => Class::Event,
            other => panic!("{other} is no subject with examples"),
        };
        let payload = bytes(payload.trim_start());
        for (name, expected) in lines {
            assert_eq!(output(class, &payload, name), expected.trim_start(), "{block}");
            compared += 1;
        }
    }
    assert!(compared >= 18, "only {compared} lines were compared");
}
