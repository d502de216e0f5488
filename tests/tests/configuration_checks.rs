//! Changes that are judged before they are handed over, and applications that are read back afterwards: through the whole
//! program, with files as the source.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_tests::application::Manners;
use cim_tests::pod::Pod;
use serde_json::{Value, json};

const READ_BACK: &str = "on_failure = \"tolerate\"\nconfirm.read_back = \"/config/{data_key}\"\n";

/// A pod whose application was handed its first configuration.
fn loaded(more: &str) -> Pod {
    let app = json!({"a": {"b": 1}, "workers": 4});
    Pod::loaded(more, &json!({"app.json": app, "free.json": {"workers": 4}}))
}

fn workers(count: impl Into<Value>) -> Value {
    json!([{"op": "replace", "path": "/workers", "value": count.into()}])
}

#[test]
fn a_change_that_does_not_fit_the_schema_is_refused_with_place_and_text_and_never_handed_over() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("app.schema.json");
    let schema = json!({
        "type": "object",
        "required": ["a"],
        "properties": {"workers": {"type": "integer", "maximum": 16}},
    });
    std::fs::write(&file, schema.to_string()).unwrap();
    let pod = loaded(&format!("schemas = {{ \"app.json\" = \"{}\" }}\n", file.display()));
    let refusals = [
        (workers(17), "/workers: value is greater than the maximum of 16"),
        (workers("many"), "/workers: value is not of type \"integer\""),
        (json!([{"op": "remove", "path": "/a"}]), "the document: \"a\" is a required property"),
    ];
    for (revision, (patch, why)) in (4..).zip(refusals) {
        pod.change_document("app.json", revision, &patch);
        let story = pod.status(revision);
        assert_eq!(story["state"], "refused");
        let reason = format!("refused before it was handed over: `app.json` would not fit its schema: {why}");
        assert_eq!(story["reason"], reason.as_str());
        pod.commits("-2");
    }
    // What fits is handed over, and so is what has no schema.
    pod.change_document("app.json", 7, &workers(16));
    pod.commits("7");
    pod.change_document("free.json", 8, &workers("many"));
    pod.commits("8");
    assert_eq!(pod.app.revisions(), [7, 8]);
    assert_eq!(pod.app.document("app.json").unwrap()["workers"], 16);
}

#[test]
fn an_application_that_says_success_and_changes_nothing_is_found_out_and_undone() {
    let pod = loaded(READ_BACK);
    pod.app.behave(Manners { lies: true, ..Manners::default() });
    pod.change(4);
    let story = pod.status(4);
    assert_eq!(story["state"], "rolled_back");
    let reason = "reading back /config/app.json: the application has another document than the change makes";
    assert_eq!(story["reason"], reason);
    pod.commits("-2");
    // What leads back goes under the same key: the application may have changed something after all.
    let calls = pod.app.calls();
    let undo: Value = serde_json::from_str(&calls.last().unwrap().member("config-patch")).unwrap();
    assert_eq!(undo, json!([{"op": "replace", "path": "/a/b", "value": 1}]));
    assert_eq!(pod.app.revisions(), [4, 4]);
    // Of an honest one the next change is believed, and it begins where the last honest one ended.
    pod.app.behave(Manners::default());
    pod.change_document("app.json", 5, &workers(8));
    pod.commits("5");
    assert_eq!(pod.app.document("app.json"), Some(json!({"a": {"b": 1}, "workers": 8})));
}

#[test]
fn an_application_that_cannot_show_what_the_change_makes_has_it_undone_and_the_reason_kept() {
    let pod = loaded(READ_BACK);
    let shows = [
        (404, "", "the application answered 404"),
        (500, "{}", "the application answered 500"),
        (200, "", "the answer is not the document"),
        (200, "workers = 4", "the answer is not the document"),
        (200, "{\"a\":{\"b\":\"<x>&\"}", "the answer is not the document"),
        (200, "null", "the application has another document than the change makes"),
        (200, "{\"a\":{\"b\":\"<x>&\"}}", "the application has another document than the change makes"),
        (200, "{\"workers\":4}", "the application has another document than the change makes"),
    ];
    for (revision, (status, body, why)) in (4..).zip(shows) {
        pod.app.shows(status, body);
        pod.change(revision);
        let story = pod.status(revision);
        assert_eq!(story["state"], "rolled_back", "{status} {body}: {story}");
        assert_eq!(story["reason"], format!("reading back /config/app.json: {why}"), "{status} {body}");
    }
    pod.commits("-2");
    assert_eq!(pod.app.document("app.json"), Some(json!({"a": {"b": 1}, "workers": 4})), "all are undone");
}

#[test]
fn a_change_that_is_read_back_as_made_is_applied_however_the_document_is_written() {
    let pod = loaded(READ_BACK);
    pod.app.shows(200, "\n{ \"workers\": 4,\r\n  \"a\": { \"b\": \"\\u003cx\\u003e&\" } }\n");
    pod.change(4);
    pod.commits("4");
    assert_eq!(pod.status(4)["state"], "applied");
}
