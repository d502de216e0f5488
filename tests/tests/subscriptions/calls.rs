//! Subscriptions over HTTP: as recorded, and what nobody recorded.

use std::collections::BTreeMap;

use cim_tests::Daemon;
use serde_json::Value;

use crate::application::{PATH, json};
use crate::listed;

const SPOOL: &str = "spool.dir = \"{home}/spool\"\n";

fn document() -> Value {
    serde_json::from_str(include_str!("../../vectors/http.json")).unwrap()
}

/// Status, content type and body.
fn outline(answer: &str) -> (String, String, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let kind = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type").then(|| value.to_owned())
    });
    (head.split(' ').nth(1).unwrap().to_owned(), kind.unwrap_or_default(), body.to_owned())
}

/// Whether a case is about subscriptions.
fn is_ours(name: &str) -> bool {
    ["subscription", "subscribe: ", "update: ", "get one ", "delete: "]
        .iter()
        .any(|start| name.starts_with(start))
}

#[test]
fn subscriptions_are_answered_as_recorded() {
    let daemon = Daemon::start(SPOOL);
    let listed = listed::listed("http.json");
    let mut id = String::new();
    let mut played = 0;
    for case in document()["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if !is_ours(name) || case["keep"] != true || listed.contains(name) {
            continue;
        }
        if name == "subscriptions: list empty" {
            assert!(daemon.register().starts_with("HTTP/1.1 200"));
        }
        let request = case["input"]["request"]["text"].as_str().unwrap();
        let answer = match request.split_once(" body ") {
            Some((_, body)) => daemon.call("POST", PATH, body.as_bytes()),
            None => daemon.exchange(request.replace("<id>", &id).as_bytes()),
        };
        if name == "subscribe: full filter" {
            id = json(&answer)["subscriptionId"].as_str().unwrap().to_owned();
            assert!(id.len() == 6 && id.chars().all(|digit| digit.is_ascii_digit()), "{id}");
        }
        let recorded = case["expected"]["response"]["text"].as_str().unwrap();
        let known = |text: &str| if id.is_empty() { text.to_owned() } else { text.replace(&id, "<id>") };
        assert_eq!(outline(&known(&answer)), outline(recorded), "{name}");
        played += 1;
    }
    assert!(played >= 17, "{played}");
}

#[test]
fn a_body_of_null_is_refused_and_changes_nothing() {
    let daemon = Daemon::start(SPOOL);
    let _ = daemon.register();
    let id = json(&daemon.call("POST", PATH, br#"{"localEventName":["A"]}"#))["subscriptionId"].clone();
    let one = format!("{PATH}/{}", id.as_str().unwrap());
    for (method, path) in [("POST", PATH), ("PUT", one.as_str())] {
        let answer = daemon.call(method, path, b"null");
        assert!(answer.starts_with("HTTP/1.1 400"), "{answer}");
        assert_eq!(json(&answer)["error"], "Invalid request body.");
    }
    let list = json(&daemon.get(PATH).unwrap());
    assert_eq!(list, serde_json::json!({ id.as_str().unwrap(): { "localEventName": ["A"] } }));
}

#[test]
fn bodies_that_are_no_filters_are_refused_and_the_next_request_is_served() {
    let daemon = Daemon::start(SPOOL);
    let _ = daemon.register();
    let large = format!("{{\"localEventName\":[\"{}\"]}}", "x".repeat(10 << 20));
    let deep = format!("{{\"localEventName\":{}", "[".repeat(30_000));
    for (status, body) in [
        ("400", &b"[]"[..]),
        ("400", br#"{"localEventName":{"a":1}}"#),
        ("400", br#"{"localEventName":[1]}"#),
        ("400", br#"{"localEventName":["A"],"nfNamingCode":"amf"}"#),
        ("400", br#"{"localEventName":["A"]} {}"#),
        ("400", br#"{"localEventName":1e400}"#),
        ("400", b"{\"localEventName\":[\"\xff\"]}"),
        ("400", deep.as_bytes()),
        ("413", large.as_bytes()),
        ("200", br#"{"localEventName":["A"],"localEventName":["B"]}"#),
    ] {
        let answer = daemon.call("POST", PATH, body);
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{shown}: {answer}");
    }
    let list = json(&daemon.get(PATH).unwrap());
    let filters: Vec<_> = list.as_object().unwrap().values().collect();
    assert_eq!(
        filters,
        [&serde_json::json!({ "localEventName": ["B"] })],
        "the last of several members counts"
    );
}

#[test]
fn subscriptions_work_before_the_registration_is_answered_and_never_sooner() {
    let daemon = Daemon::start(SPOOL);
    let body = br#"{"localEventName":["A"]}"#;
    for (method, path) in [("POST", PATH), ("GET", PATH), ("PATCH", PATH), ("DELETE", &format!("{PATH}/1"))] {
        let answer = daemon.call(method, path, body);
        assert!(
            answer.starts_with("HTTP/1.1 404") && answer.ends_with("404 page not found\n"),
            "{method}: {answer}"
        );
    }
    // Both on one connection, the second sent before the first is answered.
    let register =
        b"POST /api/v1/_operations/xgvela/register HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}";
    let create = format!(
        "POST {PATH} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let answers = daemon.exchange(&[&register[..], create.as_bytes(), body].concat());
    assert_eq!(answers.matches("HTTP/1.1 200").count(), 2, "{answers}");
}

#[test]
fn subscriptions_outlive_the_process_and_need_no_second_registration() {
    let mut daemon = Daemon::start(SPOOL);
    let _ = daemon.register();
    let mut known = BTreeMap::new();
    for name in ["A", "B", "C"] {
        let filter = serde_json::json!({ "localEventName": [name], "localNfId": ["l"] });
        let answer = json(&daemon.call("POST", PATH, filter.to_string().as_bytes()));
        known.insert(answer["subscriptionId"].as_str().unwrap().to_owned(), filter);
    }
    let (first, _) = known.pop_first().unwrap();
    assert!(daemon.call("DELETE", &format!("{PATH}/{first}"), b"").starts_with("HTTP/1.1 204"));
    daemon.kill_and_restart();
    assert_eq!(json(&daemon.get(PATH).unwrap()), serde_json::json!(known));
    let readiness = daemon.get("/readyz").unwrap();
    assert!(readiness.contains("[+] subscriptions: 2 subscriptions; no feed"), "{readiness}");
}

#[test]
fn another_pod_on_the_volume_of_the_one_before_begins_without_registration_and_subscriptions() {
    let mut daemon = Daemon::start(&format!("{SPOOL}[identity]\nuid = \"uid-1\"\n"));
    let _ = daemon.register();
    let subscribed = |daemon: &Daemon| daemon.call("POST", PATH, br#"{"localEventName":["A"]}"#);
    assert!(subscribed(&daemon).starts_with("HTTP/1.1 200"));
    daemon.edit("uid-1", "uid-2");
    daemon.kill_and_restart();
    assert!(subscribed(&daemon).starts_with("HTTP/1.1 404"), "nobody has registered in this pod");
    let _ = daemon.register();
    assert_eq!(json(&daemon.get(PATH).unwrap()), serde_json::json!({}));
    assert!(subscribed(&daemon).starts_with("HTTP/1.1 200"));
    daemon.kill_and_restart();
    assert_eq!(json(&daemon.get(PATH).unwrap()).as_object().unwrap().len(), 1, "its own it keeps");
}

#[test]
fn an_application_that_asks_for_answers_and_posts_the_same_at_each_start_has_one_subscription() {
    let mut daemon = Daemon::start(SPOOL);
    let _ = daemon.register();
    let posted =
        |daemon: &Daemon, body: &[u8]| json(&daemon.call("POST", PATH, body))["subscriptionId"].clone();
    let with_answers = br#"{"localEventName":["A"],"acknowledge":true}"#;
    let first = posted(&daemon, with_answers);
    daemon.kill_and_restart();
    assert_eq!(posted(&daemon, with_answers), first);
    let plain = br#"{"localEventName":["A"]}"#;
    assert_ne!(
        posted(&daemon, plain),
        posted(&daemon, plain),
        "without answers each is one more, as recorded"
    );
}

#[test]
fn clients_at_the_same_time_get_different_ids_and_all_of_them_are_kept() {
    let daemon = Daemon::start(SPOOL);
    let _ = daemon.register();
    let create = |number: usize| {
        let ids = (0..25).map(|at| {
            let body = format!("{{\"localEventName\":[\"E{number}-{at}\"]}}");
            json(&daemon.call("POST", PATH, body.as_bytes()))["subscriptionId"].as_str().unwrap().to_owned()
        });
        ids.collect::<Vec<_>>()
    };
    let ids: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let clients: Vec<_> = (0..8).map(|number| scope.spawn(move || create(number))).collect();
        clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    });
    assert_eq!(ids.len(), 200);
    let list = json(&daemon.get(PATH).unwrap());
    assert_eq!(list.as_object().unwrap().keys().cloned().collect::<std::collections::BTreeSet<_>>(), ids);
}
