//! The application at the end: told, listened to, waited for.

use std::time::{Duration, Instant};

use cim_tests::application::{Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::{publication, until};

use crate::stage::{LONGEST, delivered, end, events, names, numbered, own_time, pod};

const SHUTDOWN: &str = "/api/v1/_operations/shutdown";

fn is_told(pod: &Pod) {
    until("the application is told", || pod.app.calls().iter().any(|call| call.path == SHUTDOWN));
}

/// What the application was told, by the event.
fn status(pod: &Pod) -> Vec<String> {
    let events = events(&pod.daemon);
    let told = events.iter().filter(|event| event["eventName"] == "ApplicationShutdownInitiated");
    told.map(|event| event["additionalInfo"][0]["value"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn everything_the_application_says_before_its_farewell_is_delivered_and_the_farewell_too() {
    for farewell in ["ShutdownSuccess", "ShutdownFailure"] {
        let mut pod = pod(Manners::default(), "grace = \"20s\"");
        let mut wire = pod.daemon.connect();
        let asked = Instant::now();
        pod.daemon.signal("TERM");
        is_told(&pod);
        let mut said = 0;
        while asked.elapsed() < Duration::from_secs(2) {
            wire.publish("LOG", format!("line {said}").as_bytes());
            wire.flush();
            said += 1;
        }
        pod.event(farewell);
        assert_eq!(pod.daemon.ended(), Some(0), "{}", pod.daemon.stderr());
        let took = asked.elapsed();
        assert!(took > Duration::from_secs(2) && took < Duration::from_secs(6), "{took:?}");
        assert_eq!(delivered(&pod.daemon, "pod-1_ns1_app-.log"), numbered(said));
        assert_eq!(names(&pod.daemon), ["ApplicationShutdownInitiated", farewell]);
    }
}

#[test]
fn other_answers_of_success_are_no_failure_and_nobody_is_waited_for() {
    for code in [202, 204] {
        let mut pod = pod(Manners { status: Some(code), ..Manners::default() }, "grace = \"20s\"");
        let (exit, took) = end(&mut pod.daemon, "TERM");
        assert_eq!(exit, Some(0));
        assert!(took < Duration::from_secs(4), "{code}: {took:?}");
        assert_eq!(status(&pod), ["success"], "{code}");
    }
}

#[test]
fn an_application_that_does_not_answer_costs_no_more_than_the_grace() {
    let mut pod = pod(Manners { thinks: Duration::from_secs(60), ..Manners::default() }, "grace = \"5s\"");
    let (exit, took) = end(&mut pod.daemon, "TERM");
    assert_eq!(exit, Some(0), "{}", pod.daemon.stderr());
    let own = own_time(&pod.daemon);
    assert!(own < Duration::from_secs(5) && took < LONGEST, "{own:?} of {took:?}");
    assert!(names(&pod.daemon).is_empty(), "without an answer there is no event");
}

#[test]
fn a_result_that_comes_while_the_application_is_waited_for_is_committed() {
    let mut pod = pod(Manners { told: Told::Never, ..Manners::default() }, "grace = \"20s\"");
    pod.change(4);
    until("push", || pod.app.revisions() == [4]);
    pod.daemon.signal("TERM");
    is_told(&pod);
    let mut wire = pod.daemon.connect();
    let result =
        r#"{"change-set-key":"change-set/ns1/svc/v1/ms/app.json/4","revision":"4","status":"success"}"#;
    wire.publish("CONFIG", result.as_bytes());
    // In one write with its PING: the program ends soon after a farewell.
    let farewell = publication("EVENT", br#"{"eventName":"ShutdownSuccess"}"#);
    wire.send(&[&farewell[..], b"PING\r\n"].concat());
    wire.pong();
    assert_eq!(pod.daemon.ended(), Some(0), "{}", pod.daemon.stderr());
    assert_eq!(pod.committed("ms").as_deref(), Some("4"));
    let names = names(&pod.daemon);
    assert!(names.contains(&"CimCommitConfigSuccess".to_owned()), "{names:?}");
}

#[test]
fn a_second_signal_ends_the_waiting() {
    let mut pod = pod(Manners::default(), "grace = \"20s\"");
    pod.daemon.signal("TERM");
    is_told(&pod);
    until("the event", || pod.daemon.metric("cim_records_delivered_total") > 0.5);
    let (exit, took) = end(&mut pod.daemon, "TERM");
    assert_eq!(exit, Some(0), "{}", pod.daemon.stderr());
    assert!(took < Duration::from_secs(4), "{took:?}");
}

#[test]
fn a_native_sidecar_neither_tells_nor_waits() {
    for lifecycle in ["mode = \"native\"", "shutdown_call = \"never\""] {
        let mut pod = pod(Manners::default(), lifecycle);
        let (exit, took) = end(&mut pod.daemon, "TERM");
        assert_eq!(exit, Some(0));
        assert!(took < Duration::from_secs(4), "{took:?}");
        assert!(pod.app.calls().is_empty() && names(&pod.daemon).is_empty());
    }
}

#[test]
fn many_farewells_and_late_ones_block_nobody() {
    let mut pod = pod(Manners::default(), "grace = \"20s\"");
    let mut wire = pod.daemon.connect();
    for n in 0..1000 {
        wire.publish("EVENT", br#"{"eventName":"ShutdownSuccess"}"#);
        wire.publish("LOG", format!("line {n}").as_bytes());
    }
    wire.flush();
    until("delivery", || pod.daemon.metric("cim_records_held") < 0.5);
    assert_eq!(delivered(&pod.daemon, "pod-1_ns1_app-.log"), numbered(1000));
    pod.daemon.signal("TERM");
    is_told(&pod);
    // What was said before the end was asked for does not count.
    wire.flush();
    for _ in 0..1000 {
        let _ = wire.try_send(&publication("EVENT", br#"{"eventName":"ShutdownSuccess"}"#));
    }
    assert_eq!(pod.daemon.ended(), Some(0), "{}", pod.daemon.stderr());
}
