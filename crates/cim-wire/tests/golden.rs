//! Every case of the recorded LOG and EVENT vectors, byte for byte.
//!
//! A case is checked here, or stands by name in one of the lists below with the part that checks it; the lists are
//! counted, so that a new case cannot slip by. The cases that differ on purpose are those that
//! `docs/reference/differences.md` lists, no more and no less.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_wire::{
    Class, Encoding, Event, EventEncoder, Log, LogContext, LogEncoder, LogFormat, Pair, SniffRules,
    SourceHeaders, event_key, log_file_name, sniff, verify,
};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

#[path = "../../../tests/vectors/listed.rs"]
mod listed;
use listed::listed;

/// Cases about files on disk, which the file sink checks.
const OF_THE_FILE_SINK: [&str; 3] = ["rotation", "buffering", "file deleted underneath"];

/// Cases about rates, which the benches show.
const OF_THE_BENCHES: [&str; 1] = ["throughput"];

/// Listed differences that lie outside this crate: what the file sink and the process do.
const NOT_OF_ENCODING: [&str; 3] = ["buffering", "own log line of the sidecar", "throughput"];

/// The cases found to differ are exactly those that the page lists.
fn compare_with_the_page(file: &str, different: &[String]) {
    let of_encoding = |name: &String| !NOT_OF_ENCODING.contains(&name.as_str());
    let listed: BTreeSet<_> = listed(file).into_iter().filter(of_encoding).collect();
    assert_eq!(
        different.iter().cloned().collect::<BTreeSet<_>>(),
        listed,
        "docs/reference/differences.md, {file}"
    );
}

fn cases(text: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(text).unwrap();
    document["cases"].as_array().unwrap().clone()
}

fn log_cases() -> Vec<Value> {
    cases(include_str!("../../../tests/vectors/log.json"))
}

fn event_cases() -> Vec<Value> {
    cases(include_str!("../../../tests/vectors/event.json"))
}

fn name(case: &Value) -> &str {
    case["name"].as_str().unwrap()
}

fn from_hex(text: &str) -> Vec<u8> {
    assert_eq!(text.len() % 2, 0);
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The input of a case; a long one is rebuilt by repeating the last byte of its prefix, and must hash right.
fn input(case: &Value) -> Option<Vec<u8>> {
    let input = &case["input"];
    if let Some(hex) = input["hex"].as_str() {
        return Some(from_hex(hex));
    }
    let mut bytes = from_hex(input["hex_prefix"].as_str()?);
    let suffix = from_hex(input["hex_suffix"].as_str().unwrap());
    let length = usize::try_from(input["length"].as_u64().unwrap()).unwrap();
    let fill = *bytes.last().unwrap();
    bytes.resize(length - suffix.len(), fill);
    bytes.extend_from_slice(&suffix);
    assert_eq!(sha256(&bytes), input["sha256"].as_str().unwrap());
    Some(bytes)
}

/// Compares with a byte string of the vectors.
fn check(label: &str, expected: &Value, actual: &[u8]) {
    if let Some(text) = expected["text"].as_str() {
        assert_eq!(String::from_utf8_lossy(actual), text, "{label}");
        assert_eq!(actual, text.as_bytes(), "{label}");
    } else if let Some(hex) = expected["hex"].as_str() {
        assert_eq!(actual, from_hex(hex), "{label}");
    } else {
        assert_eq!(actual.len() as u64, expected["length"].as_u64().unwrap(), "{label}: length");
        assert!(actual.starts_with(&from_hex(expected["hex_prefix"].as_str().unwrap())), "{label}: prefix");
        assert!(actual.ends_with(&from_hex(expected["hex_suffix"].as_str().unwrap())), "{label}: suffix");
        assert_eq!(sha256(actual), expected["sha256"].as_str().unwrap(), "{label}: hash");
    }
}

/// The recording's toolchain wrote BS and FF in a short form; the product, and this program, write the long one.
fn with_long_escapes(case: &str, expected: &Value) -> Value {
    if case != "html characters and separators" {
        return expected.clone();
    }
    let text = expected["text"].as_str().unwrap();
    assert!(text.contains("\\b\\f"), "the artefact is gone: drop this exception");
    serde_json::json!({ "text": text.replace("\\b\\f", "\\u0008\\u000c") })
}

/// Says whether every byte was as recorded.
fn check_log(case: &Value, payload: &[u8]) -> bool {
    let name = name(case);
    let expected = &case["expected"];
    assert_eq!(sniff(Class::Log, None, payload, SniffRules::ALL), Encoding::FlatBuffer, "{name}");
    verify(Class::Log, Encoding::FlatBuffer, payload).unwrap();
    let log = Log::decode(Encoding::FlatBuffer, payload, b"unused").unwrap();
    let context = LogContext { namespace: "ns1".to_owned(), pod: "pod-1".to_owned() };
    let record = |format, end: &[u8]| {
        let mut out = Vec::new();
        LogEncoder::new(&context, format).encode(&log, &mut out);
        out.extend_from_slice(end);
        out
    };
    let file = log_file_name("pod-1", "ns1", &log.container_name, &log.container_id);
    let wanted = expected["file_name"]["text"].as_str().unwrap();
    assert_eq!(file, wanted.replace("<pod>", "pod-1").replace("<own container id>", ""), "{name}");
    check(name, &expected["file"], &record(LogFormat::Text, b"\n"));
    if expected.get("stdout_json").is_none() {
        return true;
    }
    let mut same = with_long_escapes(name, &expected["stdout_json"]) == expected["stdout_json"];
    check(name, &with_long_escapes(name, &expected["stdout_json"]), &record(LogFormat::Json, b"\n"));
    check(name, &with_long_escapes(name, &expected["tcp_json"]), &record(LogFormat::Json, b""));
    check(name, &expected["stdout_text"], &record(LogFormat::Text, b"\n"));
    check(name, &expected["tcp_text"], &record(LogFormat::Text, b"\n"));
    let kafka_text = &expected["kafka_text"]["value"];
    if kafka_text.is_null() {
        // The original published a tombstone; the encoder gives an empty value.
        assert!(["name only", "id only"].contains(&name), "{name}: a tombstone nobody decided about");
        assert_eq!(log.payload, None);
        assert_eq!(record(LogFormat::Text, b""), b"");
        same = false;
    } else {
        check(name, kafka_text, &record(LogFormat::Text, b""));
    }
    if expected["kafka_json"].is_string() {
        // Refused by the original's producer for its size; the encoder has no such limit.
        assert_eq!(name, "just below max payload");
        same = false;
    } else {
        let kafka_json = &expected["kafka_json"]["value"];
        check(name, &with_long_escapes(name, kafka_json), &record(LogFormat::Json, b""));
    }
    same
}

#[test]
fn logs() {
    let mut different = Vec::new();
    let (mut checked, mut malformed, mut elsewhere) = (0, 0, 0);
    for case in log_cases() {
        let name = name(&case);
        if OF_THE_FILE_SINK.contains(&name) {
            elsewhere += 1;
        } else if name == "mode FILEANDSTDOUT" {
            check_file_and_stdout(&case);
            checked += 1;
        } else if let Some(word) = name.strip_prefix("malformed: ") {
            check_malformed_log(word, &input(&case).unwrap());
            malformed += 1;
            different.push(name.to_owned());
        } else {
            if !check_log(&case, &input(&case).unwrap()) {
                different.push(name.to_owned());
            }
            checked += 1;
        }
    }
    assert_eq!((checked, malformed, elsewhere), (20, 5, OF_THE_FILE_SINK.len()));
    compare_with_the_page("log.json", &different);
}

fn check_file_and_stdout(case: &Value) {
    let log = Log {
        container_id: b"cid".into(),
        container_name: b"app".into(),
        payload: Some(case["input"]["payload"].as_str().unwrap().as_bytes().into()),
    };
    let context = LogContext { namespace: "ns1".to_owned(), pod: "pod-1".to_owned() };
    for (format, member) in [(LogFormat::Json, "stdout"), (LogFormat::Text, "file")] {
        let mut out = Vec::new();
        LogEncoder::new(&context, format).encode(&log, &mut out);
        out.push(b'\n');
        check(member, &case["expected"][member], &out);
    }
}

/// The original crashed on all but `zeros`, which it took for an empty message.
fn check_malformed_log(word: &str, payload: &[u8]) {
    let reason = match word {
        "empty" => "truncated",
        // An offset beyond a cut looks like any other wrong offset.
        "bad root" | "plain text" | "truncated" => "bad_offset",
        "zeros" => "bad_vtable",
        other => panic!("malformed case {other} has no decision"),
    };
    let old_rules = sniff(Class::Log, None, payload, SniffRules::FLATBUFFERS_ONLY);
    assert_eq!(old_rules, Encoding::FlatBuffer);
    assert_eq!(verify(Class::Log, old_rules, payload).unwrap_err().reason(), reason, "{word}");
    let encoding = sniff(Class::Log, None, payload, SniffRules::ALL);
    let result = verify(Class::Log, encoding, payload);
    // Text is welcome except under the original's name.
    assert_eq!(result.is_ok(), word == "plain text", "{word}");
}

fn source_headers(recorded: &Value) -> SourceHeaders {
    let text = |member: &str| recorded[member].as_str().unwrap_or_default().to_owned();
    SourceHeaders {
        pod_uuid: text("pod_uuid"),
        uhn: text("uhn"),
        cnfc_uuid: text("cnfc_uuid"),
        pod_id: text("podId"),
        microservice: text("microservice"),
        nf: text("nf"),
        nf_prefix: text("nfPrefix"),
        nf_type: text("nfType"),
        svc_version: text("svcVersion"),
        vendor_id: text("vendorId"),
        xgvela_id: text("xgvelaId"),
        nf_class: text("nfClass"),
        nf_id: text("nfId"),
        nf_service_id: text("nfServiceId"),
        nf_service_type: text("nfServiceType"),
    }
}

/// The identity of the recording.
fn recorded_pod(pod: &str, microservice: &str) -> SourceHeaders {
    SourceHeaders {
        pod_uuid: "11111111-2222-3333-4444-555555555555".to_owned(),
        uhn: "uhn-1".to_owned(),
        cnfc_uuid: "cnfc-1".to_owned(),
        pod_id: pod.to_owned(),
        microservice: microservice.to_owned(),
        nf: "xgvela1".to_owned(),
        nf_prefix: "ns1".to_owned(),
        nf_type: "xgvela".to_owned(),
        svc_version: "v1".to_owned(),
        vendor_id: "xgvela".to_owned(),
        xgvela_id: "xgvela1".to_owned(),
        nf_class: "xgvela".to_owned(),
        nf_id: "xgvela1".to_owned(),
        nf_service_id: "svc-1".to_owned(),
        nf_service_type: "svc".to_owned(),
    }
}

fn identity_of(case: &Value) -> SourceHeaders {
    if name(case) == "pod with few labels and annotation members" {
        return SourceHeaders {
            pod_id: "pod-1".to_owned(),
            microservice: "svc".to_owned(),
            nf: "amf1".to_owned(),
            nf_prefix: "ns1".to_owned(),
            nf_type: "amf".to_owned(),
            svc_version: "v0".to_owned(),
            xgvela_id: "xgvela1".to_owned(),
            nf_id: "amf1".to_owned(),
            ..SourceHeaders::default()
        };
    }
    match case["note"].as_str().unwrap() {
        "pod pod-v, label svcv" => recorded_pod("pod-v", "svcv"),
        _ => recorded_pod("pod-1", "svc"),
    }
}

/// Says whether every byte was as recorded.
fn check_app_event(case: &Value, payload: &[u8]) -> bool {
    let name = name(case);
    let headers = identity_of(case);
    assert_eq!(sniff(Class::Event, None, payload, SniffRules::ALL), Encoding::FlatBuffer, "{name}");
    verify(Class::Event, Encoding::FlatBuffer, payload).unwrap();
    let event = Event::decode(Encoding::FlatBuffer, payload).unwrap();
    let mut out = Vec::new();
    EventEncoder::new(&headers).encode(&event, &mut out);
    let expected = case["expected"]["value"]["text"].as_str().unwrap();
    let actual = String::from_utf8(out).unwrap();
    if name == "full" {
        // The original forgot two lists. Without them the bytes are equal.
        let added = ",\"thresholdInfo\":[{\"name\":\"t\",\"value\":\"1\"}],\"monitoredAttributes\":[{\"name\":\"m\",\"value\":\"2\"}]";
        assert_eq!(actual.matches(added).count(), 1, "{actual}");
        assert_eq!(actual.replace(added, ""), expected);
    } else {
        assert_eq!(actual, expected, "{name}");
    }
    if !actual.contains("\\ufffd") {
        check_json_way_back(&headers, &actual);
    }
    let key = event_key(&headers.nf_type, &headers.xgvela_id, &headers.nf_id);
    assert_eq!(key, case["expected"]["key"].as_str().unwrap(), "{name}");
    actual == expected
}

/// An application may send the same event as JSON: the outcome is the same.
fn check_json_way_back(headers: &SourceHeaders, json: &str) {
    assert_eq!(sniff(Class::Event, None, json.as_bytes(), SniffRules::ALL), Encoding::Json);
    let event = Event::decode(Encoding::Json, json.as_bytes()).unwrap();
    let mut again = Vec::new();
    EventEncoder::new(headers).encode(&event, &mut again);
    assert_eq!(String::from_utf8(again).unwrap(), json);
}

/// Events of the sidecar itself have no payload: read back from their JSON, they must encode to the same bytes.
fn check_own_event(case: &Value) {
    let expected = case["expected"]["value"]["text"].as_str().unwrap().replace("<now>", "1617181723000");
    let headers = source_headers(&serde_json::from_str::<Value>(&expected).unwrap()["sourceHeaders"]);
    let event = Event::decode(Encoding::Json, expected.as_bytes()).unwrap();
    let mut out = Vec::new();
    EventEncoder::new(&headers).encode(&event, &mut out);
    assert_eq!(String::from_utf8(out).unwrap(), expected, "{}", name(case));
}

/// The original lost an event whose JSON passed 1 MiB. Here it is encoded; limits belong to the sink.
fn check_large_event() {
    let value = "<".repeat(200_000);
    let event = Event {
        event_name: b"BIG".into(),
        event_time: 1,
        container_id: b"c".into(),
        managed_object: Some(vec![Pair::new("k", &value)]),
        ..Event::default()
    };
    let mut payload = Vec::new();
    event.encode_flatbuffer(&mut payload);
    assert_eq!(Event::decode(Encoding::FlatBuffer, &payload).unwrap(), event);
    let mut out = Vec::new();
    EventEncoder::new(&recorded_pod("pod-1", "svc")).encode(&event, &mut out);
    assert!(out.len() > 1_200_000);
}

#[test]
fn events() {
    let mut different = Vec::new();
    let (mut app, mut own, mut malformed, mut elsewhere) = (0, 0, 0, 0);
    for case in event_cases() {
        let name = name(&case);
        if OF_THE_BENCHES.contains(&name) {
            elsewhere += 1;
        } else if name.starts_with("own event ") {
            check_own_event(&case);
            own += 1;
        } else if name.starts_with("malformed: ") {
            let payload = input(&case).unwrap();
            let error = verify(Class::Event, Encoding::FlatBuffer, &payload).unwrap_err();
            assert_eq!(error.reason(), "bad_offset");
            malformed += 1;
            different.push(name.to_owned());
        } else if name == "event whose JSON exceeds 1 MiB" {
            check_large_event();
            app += 1;
            different.push(name.to_owned());
        } else {
            if !check_app_event(&case, &input(&case).unwrap()) {
                different.push(name.to_owned());
            }
            app += 1;
        }
    }
    assert_eq!((app, own, malformed, elsewhere), (21, 11, 1, OF_THE_BENCHES.len()));
    compare_with_the_page("event.json", &different);
}
