//! Ends as the original was seen to do them (`tests/vectors/config.json`), without the deletion of the pod.

use std::time::Duration;

use cim_tests::application::Manners;
use cim_tests::pod::Pod;
use serde_json::Value;

use crate::stage::{FILES, end};

const IDENTITY: &str = "[identity]\nnamespace = \"ns1\"\npod = \"pod-x\"\nmicroservice = \"svcx\"\nversion = \"v1\"\n\
    tmaas = { nf_type = \"xgvela\", nf_id = \"xgvela1\" }\n";

fn cases() -> Vec<Value> {
    let document: Value = serde_json::from_str(include_str!("../../vectors/config.json")).unwrap();
    let cases = document["cases"].as_array().unwrap().clone();
    let name = |case: &Value| case["name"].as_str().unwrap().to_owned();
    cases.into_iter().filter(|case| name(case).starts_with("shutdown: ")).collect()
}

/// The one event that differs in its time only.
fn announced(pod: &Pod) -> Vec<String> {
    let file = pod.daemon.home().join("logs/pod-x_ns1_events.jsonl");
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let timeless = |line: &str| {
        let event: Value = serde_json::from_str(line).unwrap();
        line.replace(&event["eventTime"].to_string(), "<now>")
    };
    text.lines().map(timeless).collect()
}

#[test]
fn the_application_is_told_announced_and_waited_for_as_recorded() {
    let cases = cases();
    assert_eq!(cases.len(), 7);
    for case in &cases {
        let (name, input, expected) = (&case["name"], &case["input"], &case["expected"]);
        // SIGHUP is another load of the configuration here.
        let signal = match input["signal"].as_str().unwrap() {
            "15" => "TERM",
            "2" => "INT",
            _ => continue,
        };
        let status = input["app_status"].as_u64().map(|status| u16::try_from(status).unwrap());
        let grace = input["deletionGracePeriodSeconds"].as_u64().unwrap_or_default();
        let more = format!("[lifecycle]\ngrace = \"{grace}s\"\n{FILES}");
        let mut pod = Pod::as_told(Manners { status, ..Manners::default() }, &more, IDENTITY);
        pod.register();
        let mut wire = pod.daemon.connect();
        wire.publish("LOG", b"buffered");
        wire.flush();
        let (code, took) = end(&mut pod.daemon, signal);
        assert_eq!(code, Some(0), "{name}: {}", pod.daemon.stderr());
        // The retransmission of the original slept before it wrote.
        let seconds = expected["seconds"].as_f64().filter(|seconds| *seconds < 10.0).unwrap_or_default();
        let seconds = Duration::from_secs_f64(seconds);
        // Who waits in vain waits for more than ten seconds, or beyond the grace.
        let most = seconds + Duration::from_secs(8);
        let most = if grace > 0 { most.min(Duration::from_secs(grace)) } else { most };
        assert!(took >= seconds && took < most, "{name}: {took:?}");
        let calls = pod.app.calls();
        assert_eq!(calls.len(), 1, "{name}");
        assert_eq!((calls[0].path.as_str(), calls[0].body.as_str()), ("/api/v1/_operations/shutdown", ""));
        let recorded: Vec<_> = expected["kafka_events"].as_array().unwrap().iter().collect();
        assert_eq!(
            announced(&pod),
            recorded.iter().map(|text| text.as_str().unwrap()).collect::<Vec<_>>(),
            "{name}"
        );
        let log = std::fs::read_to_string(pod.daemon.home().join("logs/pod-x_ns1_app-.log")).unwrap();
        assert_eq!(log, "buffered\n", "{name}");
    }
}
