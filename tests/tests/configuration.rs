//! Configuration through the whole program, with files as the source: pushed, answered, committed, announced.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure"
)]

use std::time::Duration;

use cim_tests::application::{Manners, Told};
use cim_tests::pod::{PATCH, Pod};
use cim_tests::until;

#[test]
fn a_change_is_pushed_answered_committed_and_announced_in_that_order() {
    let pod = Pod::registered("");
    pod.put("change-set/ns1/svc/v1/nf/app.json/9", PATCH);
    until("commit", || pod.committed("nf").as_deref() == Some("9"));
    let call = &pod.app.calls()[0];
    assert_eq!(
        call.body,
        r#"{"change-set-key":"change-set/ns1/svc/v1/nf/app.json/9","config-patch":"[{\"op\":\"replace\",\"path\":\"/a/b\",\"value\":\"\u003cx\u003e\u0026\"}]","data-key":"app.json","revision":"9"}"#
    );
    assert_eq!(pod.status(9)["state"], "applied");
    until("announcements", || pod.daemon.stdout().contains("CimCommitConfigSuccess"));
    let text = pod.daemon.stdout();
    let lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines[0]["eventName"], "CimConfigUpdateSuccess");
    assert_eq!(lines[1]["eventName"], "CimCommitConfigSuccess");
    let headers = lines[0]["sourceHeaders"].as_object().unwrap();
    let names: Vec<_> = headers.keys().map(String::as_str).collect();
    assert_eq!(names, ["microservice", "nf", "nfPrefix", "nfType", "podId", "svcVersion"]);
    assert_eq!(lines[1]["additionalInfo"][0]["value"], "commit-config/ns1/svc/v1/nf/pod-1");
    assert_eq!(lines[0]["containerId"], "cid1");
}

#[test]
fn changes_wait_for_the_registration_and_come_in_order() {
    let pod = Pod::start("");
    for revision in [3, 10, 2] {
        pod.change(revision);
    }
    until("changes are seen", || pod.daemon.metric("cim_config_changes_received_total") > 2.5);
    assert!(pod.app.calls().is_empty());
    pod.register();
    pod.commits("10");
    assert_eq!(pod.app.revisions(), [2, 3, 10]);
}

#[test]
fn the_word_of_the_application_decides_what_is_committed() {
    for (word, on_failure, value) in
        [("unused", "report", "-2"), ("broken", "report", "-1"), ("failure", "tolerate", "-2")]
    {
        let pod =
            Pod::with(Manners { word, ..Manners::default() }, &format!("on_failure = \"{on_failure}\"\n"));
        pod.register();
        pod.change(4);
        pod.commits(value);
    }
}

#[test]
fn an_application_that_answers_badly_is_called_again_and_success_in_time_counts() {
    for status in [Some(500), Some(404), Some(302), None] {
        let pod = Pod::with(Manners { status, told: Told::Never, ..Manners::default() }, "");
        pod.register();
        pod.change(4);
        until("repetition", || pod.app.revisions().len() > 2);
        assert_eq!(pod.committed("ms"), None, "nothing is told before the time is up");
        pod.app.behave(Manners::default());
        pod.commits("4");
        assert!(pod.daemon.metric("cim_config_push_failure_total") > 1.5);
    }
}

/// A pod whose calls end after that time.
fn hasty(timeout: Duration, manners: Manners) -> Pod {
    let mut pod = Pod::with(manners, "");
    let timeout = format!("application.timeout = \"{}ms\"\napplication.url", timeout.as_millis());
    pod.daemon.edit("application.url", &timeout);
    pod.daemon.kill_and_restart();
    pod.register();
    pod
}

#[test]
fn an_application_that_hangs_without_a_word_is_called_again_and_success_in_time_counts() {
    let thinks = Duration::from_millis(1500);
    let manners = Manners { thinks, told: Told::Never, ..Manners::default() };
    let pod = hasty(Duration::from_millis(200), manners);
    pod.change(4);
    until("repetition", || pod.app.revisions().len() > 2);
    assert_eq!(pod.committed("ms"), None, "nothing is told before the time is up");
    pod.app.behave(Manners::default());
    pod.commits("4");
    assert!(pod.daemon.metric("cim_config_push_failure_total") > 1.5);
}

#[test]
fn a_result_beats_the_failure_of_its_own_call() {
    // The result has to be there before the call fails, or the change is handed over again.
    let thinks = Duration::from_secs(4);
    let pod = hasty(Duration::from_secs(2), Manners { thinks, ..Manners::default() });
    pod.change(4);
    pod.commits("4");
    until("the failure of the call", || pod.daemon.metric("cim_config_push_failure_total") > 0.5);
    pod.change(5);
    pod.commits("5");
    assert_eq!(pod.app.revisions(), [4, 5]);
}

#[test]
fn an_application_that_says_nothing_is_taken_by_its_answer() {
    let pod = Pod::with(Manners { told: Told::Never, ..Manners::default() }, "result_within = \"300ms\"\n");
    pod.register();
    pod.change(4);
    pod.commits("4");
    assert_eq!(pod.status(4)["reason"], "the application answered 200 and published no result");
}

#[test]
fn results_after_the_answer_and_results_told_twice_count_once() {
    for told in [Told::After, Told::Twice] {
        let pod = Pod::with(Manners { told, ..Manners::default() }, "");
        pod.register();
        pod.change(4);
        pod.change(5);
        pod.commits("5");
        assert_eq!(pod.app.revisions(), [4, 5]);
        until("count", || pod.daemon.metric("cim_config_changes_total{result=\"applied\"}") > 1.5);
    }
}

#[test]
fn a_killed_cim_goes_on_where_it_was_and_needs_no_registration() {
    let mut pod = Pod::registered("");
    pod.change(4);
    pod.commits("4");
    until("memory", || {
        let memory = std::fs::read_to_string(pod.daemon.home().join("spool/configuration.json"));
        memory.is_ok_and(|memory| memory.contains("\"settled\":4"))
    });
    pod.daemon.kill_and_restart();
    pod.change(5);
    pod.commits("5");
    assert_eq!(pod.app.revisions(), [4, 5], "what is settled is not pushed again");
}

#[test]
fn an_application_that_registers_again_gets_what_has_no_result() {
    let pod = Pod::with(Manners { status: Some(202), told: Told::Never, ..Manners::default() }, "");
    pod.register();
    pod.change(4);
    until("push", || pod.app.revisions() == [4]);
    pod.app.behave(Manners::default());
    pod.register();
    pod.commits("4");
    assert_eq!(pod.app.revisions(), [4, 4]);
}

#[test]
fn a_change_is_explained_while_it_waits_while_its_result_cannot_be_stored_and_afterwards() {
    let pod = Pod::with(Manners { status: Some(202), told: Told::Never, ..Manners::default() }, "");
    pod.register();
    pod.change(4);
    pod.change(5);
    until("push", || pod.app.revisions() == [4]);
    let explained = |revision| pod.daemon.cim(&["config", "explain", "app.json", revision]);
    let text = pod.daemon.cim(&["config", "explain", "app.json"]);
    assert!(text.starts_with("app.json (ms), revision 4: pushed\n"), "{text}");
    until("the one behind it", || explained("4").contains("behind it  1 later change waits\n"));

    pod.put("commit-config", "a file in the place of the folder with the results");
    let mut wire = pod.daemon.connect();
    let result =
        br#"{"change-set-key":"change-set/ns1/svc/v1/ms/app.json/4","revision":"4","status":"success"}"#;
    wire.publish("CONFIG", result);
    wire.flush();
    until("the result", || explained("4").starts_with("app.json (ms), revision 4: applied\n"));
    let text = explained("4");
    assert!(text.contains("next       its result is being written until the store takes it"), "{text}");
    let text = explained("5");
    assert!(text.starts_with("app.json (ms), revision 5: received\n"), "{text}");

    std::fs::remove_file(pod.path("commit-config")).unwrap();
    pod.commits("4");
    until("the change behind it", || pod.app.revisions() == [4, 5]);
    let text = explained("4");
    assert!(text.contains("next       nothing\n"), "{text}");
    let text = explained("9");
    assert!(text.contains("nothing is known of revision 9 of app.json; `cim config history`"), "{text}");
}

#[test]
fn messages_on_config_that_make_no_sense_are_counted_and_harm_nobody() {
    let pod = Pod::registered("");
    pod.change(4);
    pod.commits("4");
    let mut wire = pod.daemon.connect();
    let messages: [&[u8]; 9] = [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        br#"{"change-set-key":"a/b"}"#,
        br#"{"change-set-key":"change-set/other/any/v7/ms/z.json/5","revision":"5","status":"success"}"#,
        br#"{"change-set-key":"change-set/ns1/svc/v1/ms/app.json/4","revision":"r","status":"success"}"#,
        br#"{"change-set-key":"change-set/ns1/svc/v1/ms/none.json/4","status":"success"}"#,
        br#"{"change-set-key":7,"status":[[[]]]}"#,
    ];
    for message in messages {
        wire.publish("CONFIG", message);
    }
    wire.publish("CONFIG", "[".repeat(60_000).as_bytes());
    wire.flush();
    until("count", || pod.daemon.metric("cim_config_results_ignored_total") > 9.5);
    assert_eq!(pod.committed("ms").as_deref(), Some("4"));
    assert!(!pod.path("commit-config/other").exists());
    pod.change(5);
    pod.commits("5");
}

#[test]
fn a_result_with_numbers_for_texts_counts() {
    let pod = Pod::with(Manners { told: Told::Never, ..Manners::default() }, "");
    pod.register();
    pod.change(4);
    until("push", || pod.app.revisions() == [4]);
    let mut wire = pod.daemon.connect();
    let text = br#"{"change-set-key":"change-set/ns1/svc/v1/ms/app.json/4","revision":4,"status":"success","x":{"y":1}}"#;
    wire.publish("CONFIG", text);
    wire.flush();
    pod.commits("4");
}

#[test]
fn keys_of_others_and_keys_that_are_none_are_left_alone() {
    let pod = Pod::registered("");
    for key in [
        "change-set/ns1/svc/x",
        "change-set/ns1/svc/v9/ms/cim.json/7",
        "change-set/ns1/svc/v1/ms/app.json/r1",
        "change-set/ns1/svc/v1/ms/app.json/7/8",
        "change-set/ns1/svcgw/v1/ms/app.json/7",
    ] {
        pod.put(key, PATCH);
    }
    pod.change(4);
    pod.commits("4");
    assert_eq!(pod.app.revisions(), [4]);
    std::fs::remove_file(pod.path("change-set/ns1/svc/x")).unwrap();
    pod.change(5);
    pod.commits("5");
    until("the count", || pod.daemon.metric("cim_config_odd_keys_total") > 3.5);
}

#[test]
fn the_values_of_the_start_are_committed_at_the_registration_and_never_below_what_is_stored() {
    let pod = Pod::start("ms_revision = \"3\"\nnf_revision = \"2\"\n");
    pod.put("commit-config/ns1/svc/v1/nf/pod-1", "7");
    pod.register();
    pod.commits("3");
    assert_eq!(pod.committed("nf").as_deref(), Some("7"));
}

#[test]
fn a_change_that_makes_the_application_ill_is_undone_and_the_reason_kept() {
    let more = "confirm = { probe = \"/health\", window = \"300ms\", interval = \"50ms\", failures = 3 }\n\
        nf_revision = \"0\"\n";
    let pod = Pod::registered(more);
    pod.put("config/ns1/svc/0", r#"{"app.json":{"a":{"b":1}}}"#);
    pod.event("NotConfigured");
    until("first configuration", || !pod.app.calls().is_empty());
    until("it is known", || pod.daemon.get("/statusz").unwrap().contains("\"day_one\": \"loaded\""));
    pod.change(4);
    pod.commits("4");
    pod.app.health(503);
    pod.put("change-set/ns1/svc/v1/ms/app.json/5", r#"[{"op":"replace","path":"/a/b","value":"ill"}]"#);
    pod.commits("-2");
    let calls = pod.app.calls();
    let undo: serde_json::Value =
        serde_json::from_str(&calls.last().unwrap().member("config-patch")).unwrap();
    assert_eq!(undo, serde_json::json!([{"op": "replace", "path": "/a/b", "value": "<x>&"}]));
    let status = pod.status(5);
    assert_eq!(status["state"], "rolled_back");
    assert_eq!(status["reason"], "the probe /health failed 3 times in a row: answered 503");
}

#[test]
fn a_change_that_does_not_fit_is_refused_before_it_is_handed_over() {
    let pod = Pod::registered("dry_run = true\nnf_revision = \"0\"\n");
    pod.put("config/ns1/svc/0", r#"{"app.json":{"c":1}}"#);
    pod.event("NotConfigured");
    until("first configuration", || pod.daemon.get("/statusz").unwrap().contains("\"day_one\": \"loaded\""));
    pod.change(4);
    pod.commits("-2");
    assert_eq!(pod.app.revisions(), [0i32; 0]);
    let reason = pod.status(4)["reason"].as_str().unwrap().to_owned();
    assert!(reason.starts_with("refused before it was handed over: operation 0"), "{reason}");
}

#[test]
fn the_first_configuration_is_handed_over_byte_for_byte_when_it_is_asked_for() {
    let document = "{\"app.json\":{\"b\":1,\"a\":9007199254740993,\"f\":1.0,\"e\":1e3,\"x\":\"<&>\"},\"big\":12345678901234567890.123}";
    let pod = Pod::start("nf_revision = \"4\"\n");
    pod.put("config/ns1/svc/4", document);
    pod.put("config/ns1/svcgw/4", "{\"other\":{}}");
    pod.register();
    pod.event("NotConfigured");
    until("loadConfig", || !pod.app.calls().is_empty());
    let call = &pod.app.calls()[0];
    assert_eq!((call.path.as_str(), call.body.as_str()), ("/api/v1/_operations/loadConfig", document));
    pod.event("Configured");
    pod.event("NotConfigured");
    until("another", || pod.app.calls().len() == 2);
}

#[test]
fn a_first_configuration_that_is_not_taken_is_given_up_once_and_the_pod_lives_on() {
    let manners = Manners { status: Some(500), ..Manners::default() };
    let pod =
        Pod::with(manners, "nf_revision = \"0\"\nday_one = { attempts = 2, on_exhausted = \"hold\" }\n");
    pod.put("config/ns1/svc/0", "{}");
    pod.register();
    pod.event("NotConfigured");
    until("announcement", || pod.daemon.stdout().contains("LoadConfigRequestFailure"));
    assert_eq!(pod.app.calls().len(), 2);
    assert!(pod.daemon.stdout().contains("Load Changes Manually"));
    pod.app.behave(Manners::default());
    pod.put("config/ns1/svc/0", "{\"new\":{}}");
    until("the next document", || pod.app.calls().len() == 3);
}
