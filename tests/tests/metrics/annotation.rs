//! Annotation `xgvela.com/mmaas`, from a downward-API file: what it turns on, and that none of its values does harm.

use std::path::Path;

use cim_tests::Daemon;
use serde_json::{Value, json};

use crate::exporter::{Exporter, ask, scrape, status, ticks, waits};

/// The program in a pod with that annotation.
pub fn daemon(annotation: &str) -> Daemon {
    daemon_with(annotation, "")
}

/// The same with further settings.
pub fn daemon_with(annotation: &str, more: &str) -> Daemon {
    let home = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(home.path().join(name), text).unwrap();
    write("labels", "microSvcName=\"svc\"\n".to_owned());
    write("annotations", format!("xgvela.com/mmaas={}\n", serde_json::to_string(annotation).unwrap()));
    let settings = format!("{more}orchestrator = {{ type = \"standalone\", podinfo = \"{{home}}\" }}\n");
    Daemon::start_in(home, &settings, |home: &Path| Daemon::spawn(home))
}

fn recorded(name: &str) -> Value {
    let document: Value = serde_json::from_str(include_str!("../../vectors/metrics.json")).unwrap();
    document["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap().clone()
}

#[test]
fn the_recorded_annotation_has_its_pages_read_at_multiples_of_its_interval() {
    let exporter = Exporter::start("x 1\n");
    let mut annotation = recorded("aligned scrape request")["input"]["annotation"].clone();
    annotation["ports"] = json!([exporter.port.to_string()]);
    let daemon = daemon(&annotation.to_string());
    waits(&daemon, 1);
    let page = scrape(&daemon);
    let found = ticks(&page);
    assert!(!found.is_empty() && found.iter().all(|tick| tick % 5 == 0), "{found:?}");
    assert!(page.contains("\nx{aligned_ts="), "{page}");
}

#[test]
fn an_annotation_folded_over_lines_with_bare_numbers_is_read() {
    let exporter = Exporter::start("x 1\n");
    let text = format!(
        "{{\n  \"scrape\": \"true\",\n  \"ports\": [{}],\n  \"measurementInterval\": \"1s\",\n  \"maxRetention\": 3\n}}\n",
        exporter.port
    );
    let daemon = daemon(&text);
    waits(&daemon, 1);
    assert!(scrape(&daemon).contains("\nx{aligned_ts="));
}

#[test]
fn without_an_annotation_that_asks_there_is_no_such_page() {
    for annotation in ["{}", r#"{"scrape":"false","measurementInterval":"1s"}"#] {
        let daemon = daemon(annotation);
        assert!(ask(&daemon, "").starts_with("HTTP/1.1 404 "), "{annotation}");
        assert_eq!(status(&daemon), Value::Null, "{annotation}");
        assert!(!daemon.get("/readyz").unwrap().contains("clock-aligned"));
    }
}

#[test]
fn hostile_annotations_are_a_warning_and_a_degraded_line_and_the_rest_works() {
    let case = |name: &str| recorded(name)["input"]["annotation"].as_str().unwrap().to_owned();
    for (annotation, why) in [
        (case("aligned annotation: interval below one second"), "`measurementInterval` must be from 1s to 24h"),
        (case("aligned annotation: bad interval"), "`measurementInterval` is no span of time"),
        (case("aligned annotation: not json"), "cannot be read"),
        (
            r#"{"scrape":"true","ports":["1"],"path":"@evil/","measurementInterval":"1s","maxRetention":"3"}"#.to_owned(),
            "`path` must begin with",
        ),
        (
            r#"{"scrape":"true","measurementInterval":"1s","maxRetention":"99999999999"}"#.to_owned(),
            "`maxRetention` must be from 1 to 1000",
        ),
    ] {
        let daemon = daemon(&annotation);
        assert!(ask(&daemon, "").starts_with("HTTP/1.1 404 "), "{annotation}");
        let trouble = status(&daemon)["trouble"].as_str().unwrap().to_owned();
        assert!(trouble.contains(why) && trouble.contains("xgvela.com/mmaas"), "{trouble}");
        let readiness = daemon.get("/readyz").unwrap();
        assert!(readiness.contains("[+] clock-aligned metrics: degraded: annotation `xgvela.com/mmaas`"), "{readiness}");
        assert!(daemon.stderr().contains("no clock-aligned metrics: annotation `xgvela.com/mmaas`"), "{}", daemon.stderr());
        daemon.connect().flush();
    }
}

#[test]
fn the_configuration_counts_before_the_annotation() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("labels"), "").unwrap();
    std::fs::write(home.path().join("annotations"), "xgvela.com/mmaas=\"zz\"\n").unwrap();
    let settings =
        "orchestrator = { type = \"standalone\", podinfo = \"{home}\" }\nmetrics.aligned.interval = \"1s\"\n";
    let daemon = Daemon::start_in(home, settings, |home: &Path| Daemon::spawn(home));
    waits(&daemon, 1);
    assert_eq!(status(&daemon)["trouble"], Value::Null);
}
