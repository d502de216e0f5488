//! What reaches the application.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cim_services::{Kafka, Outgoing};
use cim_tests::{skip, tool};
use serde_json::Value;

use crate::application::{PATH, Stage, event, events};

/// Sent last, to know that everything before it was judged.
const LAST: &str = "{\"last\":true}";

#[test]
fn recorded_headers_are_judged_as_recorded_and_each_record_by_its_own() {
    let Some(kafka) = Kafka::shared() else { return };
    let document: Value = serde_json::from_str(include_str!("../../vectors/nats.json")).unwrap();
    let cases = document["cases"].as_array().unwrap().iter();
    let cases: Vec<_> =
        cases.filter(|case| case["name"].as_str().unwrap().starts_with("EVENT-NOTIFICATION: ")).collect();
    assert_eq!(cases.len(), 7);
    let stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(cases[0]["input"]["subscription"].as_str().unwrap());
    let mut expected = Vec::new();
    let mut records = Vec::new();
    for (number, case) in cases.iter().enumerate() {
        let value = format!("{{\"event\":{}}}", number + 1);
        let headers = case["input"]["headers"].as_object().unwrap();
        let headers: Vec<_> =
            headers.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap())).collect();
        records.push(Outgoing::new(&headers, value.as_bytes()));
        // What the original got wrong by remembering the headers of the record before is not kept.
        let is_delivered = match case["name"].as_str().unwrap() {
            "EVENT-NOTIFICATION: header spelling localNfId" => false,
            "EVENT-NOTIFICATION: after replay without replay header (B-51)" => true,
            _ => !case["expected"]["delivered"].is_null(),
        };
        if is_delivered {
            expected.push(value);
        }
    }
    records.push(Outgoing::new(
        &[("localEventName", "A"), ("nfNamingCode", "amf"), ("localNfID", "l1")],
        LAST.as_bytes(),
    ));
    expected.push(LAST.to_owned());
    kafka.produce(&stage.topic, &records);
    let received: Vec<_> = expected.iter().map(|_| String::from_utf8(wire.message()).unwrap()).collect();
    assert_eq!(received, expected);
    assert!(
        (stage.daemon.metric("cim_subscription_records_left_out_total{reason=\"replay\"}") - 1.0).abs() < 0.5
    );
}

#[test]
fn a_lone_event_arrives_at_once_and_with_quoted_headers_too() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["NFServiceInstanceDeleted"],"localNfId":["l1"]}"#);
    let quoted = [
        ("localEventName", "\"NFServiceInstanceDeleted\""),
        ("localNfID", "\"l1\""),
        ("replay", "\"false\""),
    ];
    let mut times = Vec::new();
    for number in 0..5 {
        let record = match number % 2 {
            0 => event("NFServiceInstanceDeleted", "plain"),
            _ => Outgoing::new(&quoted, b"quoted"),
        };
        kafka.produce(&stage.topic, std::slice::from_ref(&record));
        let produced = Instant::now();
        assert_eq!(wire.message(), record.value);
        times.push(produced.elapsed());
    }
    // The original took up to ten seconds for one. The machine may hold one up, and not all of them.
    let (fastest, slowest) = (times.iter().min().unwrap(), times.iter().max().unwrap());
    assert!(*fastest < Duration::from_secs(1) && *slowest < Duration::from_secs(5), "{times:?}");
    let again = [quoted[0], quoted[1], ("replay", "\"true\"")];
    kafka.produce(
        &stage.topic,
        &[Outgoing::new(&again, b"replayed"), event("NFServiceInstanceDeleted", LAST)],
    );
    assert_eq!(wire.message(), LAST.as_bytes(), "a replay is left out");
}

#[test]
fn an_event_that_several_of_a_thousand_subscriptions_ask_for_comes_once() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    for number in 0..1_000 {
        stage.create(&format!(
            "{{\"localEventName\":[\"E{}\"],\"nfNamingCode\":[\"amf\",\"t{number}\"]}}",
            number % 500
        ));
    }
    stage.wait_for("reading");
    let mut records = events("E7", 0..200);
    records.extend(events("E500", 0..200));
    records.push(event("E499", LAST));
    kafka.produce(&stage.topic, &records);
    for number in 0..200 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
    assert_eq!(wire.message(), LAST.as_bytes());
}

#[test]
fn records_of_any_form_stop_nothing() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start_with(kafka, "", &[("max.message.bytes", "20000000")]);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["A",""]}"#);
    let bare = Outgoing { value: b"no headers".to_vec(), ..Outgoing::default() };
    let mut odd = event("A", "odd headers");
    odd.headers.push(("localNfID".to_owned(), None));
    odd.headers.push(("nfNamingCode".to_owned(), Some(vec![0xff; 4])));
    odd.headers.push(("many".to_owned(), Some(vec![b'x'; 100_000])));
    odd.headers.extend((0..1_000).map(|number| (format!("h{number}"), Some(Vec::new()))));
    let mut nameless = event("A", "no name");
    nameless.headers.retain(|(name, _)| name != "localEventName");
    let large = event("A", &"x".repeat(10 << 20));
    kafka.produce(&stage.topic, &[bare, odd, nameless, large, event("A", "")]);
    // A header whose name is no text.
    let mut kcat = Command::new("kcat");
    kcat.args(["-P", "-q", "-b", &kafka.bootstrap(), "-t", &stage.topic, "-H", "localEventName=A", "-H"]);
    kcat.arg(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"\xff\xfe=1"));
    let mut kcat = kcat.stdin(Stdio::piped()).spawn().unwrap();
    std::io::Write::write_all(&mut kcat.stdin.take().unwrap(), b"nameless header").unwrap();
    assert!(kcat.wait().unwrap().success());
    kafka.produce(&stage.topic, &[event("A", LAST)]);
    for value in ["odd headers", "", "nameless header", LAST] {
        assert_eq!(String::from_utf8(wire.message()).unwrap(), value);
    }
    assert!(
        (stage.daemon.metric("cim_subscription_records_left_out_total{reason=\"too_large\"}") - 1.0).abs()
            < 0.5
    );
}

#[test]
fn the_nats_command_line_receives_what_was_subscribed_to() {
    let Some(kafka) = Kafka::shared() else { return };
    let program = tool("bin/nats");
    if !program.exists() {
        return skip("the nats command line is not installed");
    }
    let stage = Stage::start(kafka);
    let url = format!("nats://{}", stage.daemon.nats());
    let mut command = Command::new(program);
    command.args(["-s", &url, "--no-context", "sub", "EVENT-NOTIFICATION", "--raw", "--count", "3"]);
    let client = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    // It may subscribe later than this: what nobody listens to waits.
    kafka.produce(&stage.topic, &events("A", 1..4));
    let output = client.wait_with_output().unwrap();
    assert_eq!(
        String::from_utf8_lossy(&output.stdout).split_whitespace().collect::<Vec<_>>(),
        ["1", "2", "3"]
    );
}

#[test]
fn another_filter_counts_from_the_next_event_and_without_subscriptions_nothing_is_read() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start(kafka);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    let id = stage.subscribe(r#"{"localEventName":["A"]}"#);
    kafka.produce(&stage.topic, &[event("A", "1"), event("B", "2")]);
    assert_eq!(wire.message(), b"1");
    stage.wait_read(2);
    let one = format!("{PATH}/{id}");
    assert!(stage.daemon.call("PUT", &one, br#"{"localEventName":["B"]}"#).starts_with("HTTP/1.1 200"));
    kafka.produce(&stage.topic, &[event("A", "3"), event("B", "4")]);
    assert_eq!(wire.message(), b"4");
    assert!(stage.daemon.call("DELETE", &one, b"").starts_with("HTTP/1.1 204"));
    stage.wait_for("idle");
    kafka.produce(&stage.topic, &[event("B", "5")]);
    // Reading goes on where it ended, as in the original.
    stage.subscribe(r#"{"localEventName":["B"]}"#);
    assert_eq!(wire.message(), b"5");
}

#[test]
fn reading_may_begin_some_time_ago() {
    let Some(kafka) = Kafka::shared() else { return };
    let stage = Stage::start_with(kafka, "start_ago = \"1h\"\n", &[]);
    // Two hours old, half an hour, and fresh.
    let mut records = events("A", 0..6);
    records.iter_mut().for_each(|record| record.age_ms = 30 * 60 * 1000);
    records[..3].iter_mut().for_each(|record| record.age_ms = 2 * 60 * 60 * 1000);
    kafka.produce(&stage.topic, &records);
    let mut wire = stage.daemon.connect();
    wire.subscribe("EVENT-NOTIFICATION");
    stage.subscribe(r#"{"localEventName":["A"]}"#);
    kafka.produce(&stage.topic, &events("A", 6..8));
    for number in 3..8 {
        assert_eq!(wire.message(), number.to_string().as_bytes());
    }
}
