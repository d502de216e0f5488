//! What a person asks and orders about configuration: `cim config status`, `history`, `diff`, `rollback` and `push`, answered by
//! the running program. Explaining a change: `configuration`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_tests::application::{Manners, Told};
use cim_tests::pod::Pod;
use cim_tests::until;
use serde_json::{Value, json};

const TABLE: &str = "level document                 revision  state       calls  reason\n";

/// What the command answers; it must not fail.
fn answer(pod: &Pod, arguments: &[&str]) -> String {
    let outcome = pod.daemon.outcome(&[&["config"], arguments].concat());
    let complaint = String::from_utf8(outcome.stderr).unwrap();
    assert_eq!((outcome.status.code(), complaint.as_str()), (Some(0), ""), "{arguments:?}");
    String::from_utf8(outcome.stdout).unwrap()
}

/// What the command complains of, without the word `error`; it must fail with that code and answer nothing.
fn refusal(pod: &Pod, code: i32, arguments: &[&str]) -> String {
    let outcome = pod.daemon.outcome(&[&["config"], arguments].concat());
    let complaint = String::from_utf8(outcome.stderr).unwrap();
    assert_eq!((outcome.status.code(), outcome.stdout.as_slice()), (Some(code), &b""[..]), "{complaint}");
    complaint.strip_prefix("error: ").expect(&complaint).trim_end().to_owned()
}

/// Has the last change taken back, once its result is stored: until then the program refuses.
fn rollback(pod: &Pod) -> std::process::Output {
    let mut outcome = None;
    until("the result is stored", || {
        let now = pod.daemon.outcome(&["config", "rollback", "app.json"]);
        let waits = String::from_utf8_lossy(&now.stderr).contains("is at work; wait for its result");
        outcome = Some(now);
        !waits
    });
    outcome.unwrap()
}

fn loaded() -> Pod {
    Pod::loaded("", &json!({"app.json": {"a": {"b": 1}}}))
}

/// Writes a patch beside the store.
fn patch(pod: &Pod, text: &str) -> String {
    let path = pod.daemon.home().join("patch.json");
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn status_and_history_tell_each_change_in_a_line_for_people_and_as_a_document_for_programs() {
    let pod = Pod::with(Manners { status: Some(202), told: Told::Never, ..Manners::default() }, "");
    let head = |registered: &str| {
        format!(
            "source       watching\napplication  {registered}\nday one      idle\ncommits      0 waiting\n"
        )
    };
    until("the watch", || answer(&pod, &["status"]) == head("not registered yet"));
    assert_eq!(answer(&pod, &["history"]), "no change has a result yet\n");
    assert_eq!(answer(&pod, &["history", "--output", "json"]), "[]\n");

    pod.register();
    pod.change(4);
    until("push", || pod.app.revisions() == [4]);
    let row = "ms    app.json                        4  pushed          1  \n";
    until("the status", || {
        answer(&pod, &["status"]) == format!("{}{TABLE}{}\n", head("registered"), row.trim_end())
    });
    pod.app.behave(Manners::default());
    pod.register();
    pod.commits("4");
    pod.app.behave(Manners { word: "failure", ..Manners::default() });
    pod.change(5);
    pod.commits("-1");
    let rows = "ms    app.json                        4  applied         2  \n\
        ms    app.json                        5  failed          1  the application reported a failure\n";
    assert_eq!(answer(&pod, &["history"]), format!("{TABLE}{rows}"));

    let status: Value = serde_json::from_str(&answer(&pod, &["status", "--output", "json"])).unwrap();
    let document = &status["documents"][0];
    assert_eq!(
        (&document["data_key"], &document["revision"], &document["state"], &document["settled_revision"]),
        (&json!("app.json"), &json!(5), &json!("failed"), &json!(5))
    );
    let history: Value = serde_json::from_str(&answer(&pod, &["history", "--output", "json"])).unwrap();
    let revisions: Vec<_> = history.as_array().unwrap().iter().map(|change| &change["revision"]).collect();
    assert_eq!(revisions, [4, 5]);
}

#[test]
fn diff_shows_what_the_last_change_changed_and_rollback_has_the_application_take_it_back() {
    let mut pod = loaded();
    pod.change(4);
    pod.commits("4");
    let shown: Value = serde_json::from_str(&answer(&pod, &["diff", "app.json"])).unwrap();
    assert_eq!(shown, json!([{"op": "replace", "path": "/a/b", "value": "<x>&"}]));
    let history = answer(&pod, &["history"]);
    until("it is remembered", || {
        let memory = std::fs::read_to_string(pod.daemon.home().join("spool/configuration.json"));
        memory.is_ok_and(|memory| memory.contains(r#""before":{"app.json""#))
    });
    pod.daemon.kill_and_restart();
    assert_eq!(answer(&pod, &["history"]), history, "the next process tells the same");
    let shown: Value = serde_json::from_str(&answer(&pod, &["diff", "app.json"])).unwrap();
    assert_eq!(shown[0]["value"], "<x>&");

    let outcome = rollback(&pod);
    assert_eq!(outcome.stdout, b"app.json is what it was before its last change\n");
    assert_eq!((outcome.status.code(), outcome.stderr.as_slice()), (Some(0), &b""[..]));
    assert_eq!(pod.app.document("app.json"), Some(json!({"a": {"b": 1}})));
    let calls = pod.app.calls();
    let call = calls.last().unwrap();
    assert_eq!(
        call.member("change-set-key"),
        "change-set/ns1/svc/v1/ms/app.json/0",
        "no change of the store"
    );
    assert_eq!(call.member("revision"), "0");
    let back: Value = serde_json::from_str(&call.member("config-patch")).unwrap();
    assert_eq!(back, json!([{"op": "replace", "path": "/a/b", "value": 1}]));
    assert_eq!(
        pod.committed("ms").as_deref(),
        Some("4"),
        "the config server is told of its own changes only"
    );

    // The way back is gone once, and the next change is one again.
    for command in ["diff", "rollback"] {
        let text = refusal(&pod, 1, &[command, "app.json"]);
        assert!(text.contains("what `app.json` was before its last change is not known"), "{text}");
    }
    pod.change(5);
    pod.commits("5");
    let shown: Value = serde_json::from_str(&answer(&pod, &["diff", "app.json"])).unwrap();
    assert_eq!(shown[0]["value"], "<x>&");
}

#[test]
fn a_document_whose_past_is_not_known_is_neither_compared_nor_rolled_back() {
    let pod = loaded();
    pod.put("change-set/ns1/svc/v1/ms/mounted.json/4", r#"[{"op":"add","path":"/x","value":1}]"#);
    pod.commits("4");
    let before = pod.app.calls().len();
    // Never changed; changed, but never seen whole; never heard of.
    for document in ["app.json", "mounted.json", "none.json"] {
        for command in ["diff", "rollback"] {
            let text = refusal(&pod, 1, &[command, document]);
            let why = format!("what `{document}` was before its last change is not known");
            assert!(text.contains(&why), "{command}: {text}");
        }
    }
    assert_eq!(pod.app.calls().len(), before, "the application is not bothered");
}

#[test]
fn a_rollback_that_the_application_refuses_says_so_and_may_be_tried_again() {
    let pod = loaded();
    pod.change(4);
    pod.commits("4");
    pod.app.behave(Manners { status: Some(500), ..Manners::default() });
    let outcome = rollback(&pod);
    assert_eq!((outcome.status.code(), outcome.stdout.as_slice()), (Some(1), &b""[..]));
    assert_eq!(outcome.stderr, b"error: app.json is not rolled back: the application answered 500\n");
    let shown: Value = serde_json::from_str(&answer(&pod, &["diff", "app.json"])).unwrap();
    assert_eq!(shown[0]["value"], "<x>&", "the change is in force");
    pod.app.behave(Manners::default());
    let _ = answer(&pod, &["rollback", "app.json"]);
    assert_eq!(pod.app.document("app.json"), Some(json!({"a": {"b": 1}})));
}

#[test]
fn without_a_running_cim_every_question_says_whom_it_looked_for() {
    let mut pod = Pod::start("");
    pod.daemon.signal("KILL");
    assert_eq!(pod.daemon.ended(), None, "by the signal");
    let questions: [&[&str]; 5] = [
        &["status"],
        &["history"],
        &["explain", "app.json"],
        &["diff", "app.json"],
        &["rollback", "app.json"],
    ];
    let spool = pod.daemon.home().join("spool");
    for question in questions {
        assert_eq!(refusal(&pod, 1, question), format!("no cim runs on the spool {}", spool.display()));
    }
    pod.daemon.edit(&format!("dir = \"{}\"", spool.display()), "");
    for question in questions {
        let text = "a running cim is asked through its spool directory; set `dir` in [spool]";
        assert_eq!(refusal(&pod, 1, question), text);
    }
}

#[test]
fn a_pushed_change_gets_the_next_revision_or_the_one_that_is_named() {
    let pod = loaded();
    let patch = patch(&pod, r#"[{"op":"replace","path":"/a/b","value":7}]"#);
    let push = |more: &[&str]| answer(&pod, &[&["push", &patch, "--document", "app.json"], more].concat());
    let is_in = |level: &str, revision: i32| {
        let file = pod.path(&format!("change-set/ns1/svc/v1/{level}/app.json/{revision}"));
        format!("revision {revision} of app.json is in {}\n", file.display())
    };
    assert_eq!(push(&[]), is_in("ms", 1));
    pod.commits("1");
    assert_eq!(pod.app.document("app.json"), Some(json!({"a": {"b": 7}})));
    assert_eq!(push(&["--revision", "9"]), is_in("ms", 9));
    pod.commits("9");
    assert_eq!(push(&[]), is_in("ms", 10), "after the highest");
    pod.commits("10");
    assert_eq!(push(&["--level", "nf", "--revision", "11"]), is_in("nf", 11));
    until("the commit", || pod.committed("nf").as_deref() == Some("11"));
    assert_eq!(pod.app.revisions(), [1, 9, 10, 11]);
}

#[test]
fn what_cannot_be_pushed_is_refused_before_anything_is_written() {
    let pod = Pod::registered("");
    pod.change(4);
    pod.commits("4");
    let good = patch(&pod, "[]");
    let push = |code, file: &str, more: &[&str]| refusal(&pod, code, &[&["push", file], more].concat());
    let app = ["--document", "app.json"];

    let again = push(1, &good, &["--document", "app.json", "--revision", "4"]);
    assert_eq!(
        again,
        "revision 4 of app.json is there already, and no change is handed over twice; leave `--revision` out for the next one"
    );
    let absent = push(1, "absent.json", &app);
    assert_eq!(absent, "absent.json: No such file or directory (os error 2)");
    for (text, why) in [
        ("{\"op\": \"add\"}", "not a JSON patch: invalid type: map, expected a sequence at line 1 column 0"),
        ("[", "not a JSON patch: EOF while parsing a list at line 1 column 1"),
        ("", "not a JSON patch: EOF while parsing a value at line 1 column 0"),
    ] {
        let file = pod.daemon.home().join("wrong.json");
        std::fs::write(&file, text).unwrap();
        let file = file.display().to_string();
        assert_eq!(push(1, &file, &app), format!("{file}: {why}"));
    }
    for name in ["../app.json", "a/b", "..", ""] {
        let text = push(2, &good, &["--document", name]);
        assert!(text.contains("a document has a plain name without `/`"), "{text}");
    }
    for revision in ["0", "2147483648", "seven"] {
        let text = push(2, &good, &["--document", "app.json", "--revision", revision]);
        assert!(text.contains(&format!("invalid value '{revision}' for '--revision <REVISION>'")), "{text}");
    }
    let text = push(2, &good, &["--document", "app.json", "--level", "pod"]);
    assert!(text.contains("[possible values: ms, nf]"), "{text}");
    pod.daemon.edit("source = \"file\"", "source = \"none\"");
    let text = push(1, &good, &app);
    assert_eq!(
        text,
        "changes are pushed into the source `file` only; set `source = \"file\"` in [configuration]"
    );

    let files: Vec<_> = std::fs::read_dir(pod.path("change-set/ns1/svc/v1/ms/app.json")).unwrap().collect();
    assert_eq!(files.len(), 1, "{files:?}");
}
