//! The known applications as they are, each through the whole program: vesgw, the Java applications, a network function of the
//! guide. What an application says of itself at its end: `lifecycle`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::{SyncSender, sync_channel};

use cim_tests::application::Manners;
use cim_tests::pod::Pod;
use cim_tests::until;
use serde_json::{Value, json};

fn workers(count: i32) -> Value {
    json!([{"op": "replace", "path": "/limits/workers", "value": count}])
}

/// A patch that fits no document of this file.
fn misfit() -> Value {
    json!([{"op": "remove", "path": "/limits/absent"}])
}

fn paths(pod: &Pod) -> Vec<String> {
    pod.app.calls().into_iter().map(|call| call.path).collect()
}

/// Registers as vesgw does: again and again without a pause, until the answer is 200. Tells that it was refused.
fn register_without_pause(api: SocketAddr, refusals: &SyncSender<()>) {
    let body = r#"{"container_id":"pod-1","container_name":"vesgw"}"#;
    let head = "POST /api/v1/_operations/xgvela/register HTTP/1.1\r\nHost: localhost:6060\r\nUser-Agent: Go-http-client/1.1";
    let request = format!(
        "{head}\r\nContent-Length: {}\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let try_once = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(api)?;
        stream.set_read_timeout(Some(cim_tests::PATIENCE))?;
        stream.write_all(request.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    };
    until("the registration", || {
        let is_registered = try_once().is_ok_and(|answer| answer.starts_with("HTTP/1.1 200"));
        if !is_registered {
            // That it was once is enough.
            let _ = refusals.try_send(());
        }
        is_registered
    });
}

#[test]
fn vesgw_registers_without_a_pause_and_is_believed_whatever_it_says() {
    let mut pod = Pod::with(Manners::vesgw(), "");
    pod.app.mounts(&json!({"ves.json": {"limits": {"workers": 4}}}));
    pod.daemon.signal("KILL");
    assert_eq!(pod.daemon.ended(), None, "by the signal");
    let api = pod.daemon.api();
    let (refusals, refused) = sync_channel(1);
    let registering = std::thread::spawn(move || register_without_pause(api, &refusals));
    refused.recv_timeout(cim_tests::PATIENCE).expect("it is refused before the program is started");
    pod.daemon.start_again();
    registering.join().unwrap();

    pod.change_document("ves.json", 4, &workers(8));
    pod.commits("4");
    assert_eq!(pod.app.document("ves.json"), Some(json!({"limits": {"workers": 8}})));
    pod.change_document("ves.json", 5, &misfit());
    pod.commits("5");
    assert_eq!(pod.story("ves.json", 5)["state"], "applied", "nobody else knows");
    assert_eq!(pod.app.document("ves.json"), Some(json!({"limits": {"workers": 8}})));
    assert_eq!(paths(&pod), ["/updateConfig", "/updateConfig"], "it has no other path");
}

#[test]
fn a_java_application_that_fails_on_a_patch_is_called_again_until_the_time_is_over() {
    let pod = Pod::with(Manners::java(), "patience = \"3s\"\n");
    pod.app.mounts(&json!({"cmaas.json": {"limits": {"workers": 4}}}));
    // As Spring sends it: a body of JSON that calls itself text.
    pod.register();
    pod.change_document("cmaas.json", 4, &workers(8));
    pod.commits("4");
    pod.change_document("cmaas.json", 5, &misfit());
    pod.commits("-1");
    pod.change_document("cmaas.json", 6, &workers(16));
    pod.commits("6");
    let revisions = pod.app.revisions();
    let called = revisions.iter().filter(|revision| **revision == 5).count();
    assert!(called > 1 && revisions.is_sorted(), "{revisions:?}");
    let history = pod.daemon.cim(&["config", "history", "--output", "json"]);
    let history: Value = serde_json::from_str(&history).unwrap();
    let outcomes = [4, 5, 6].map(|revision| {
        let changes = history.as_array().unwrap();
        let change = changes.iter().find(|change| change["revision"] == revision).unwrap();
        [change["state"].clone(), change["reason"].clone()]
    });
    assert_eq!(outcomes[0], [json!("applied"), Value::Null]);
    assert_eq!(outcomes[1], [json!("failed"), json!("the application answered 500")]);
    assert_eq!(outcomes[2], [json!("applied"), Value::Null]);
    assert_eq!(pod.app.document("cmaas.json"), Some(json!({"limits": {"workers": 16}})));
    assert!(pod.daemon.metric("cim_config_push_failure_total") > 1.5);
}

#[test]
fn a_network_function_of_the_guide_is_configured_first_and_says_of_each_change_what_it_is_to_it() {
    let pod = Pod::with(Manners::of_the_guide(), "nf_revision = \"0\"\n");
    pod.put("config/ns1/svc/0", &json!({"nf.json": {"limits": {"workers": 4}}}).to_string());
    pod.register();
    pod.event("NotConfigured");
    until("the first configuration", || pod.app.document("nf.json").is_some());
    pod.event("Configured");
    let says = |text: &str| pod.daemon.get("/statusz").unwrap().contains(text);
    until("it is known", || says("\"day_one\": \"configured\""));

    pod.change_document("nf.json", 4, &workers(8));
    pod.commits("4");
    pod.change_document("other.json", 5, &workers(8));
    pod.commits("-2");
    assert_eq!(pod.story("other.json", 5)["state"], "unused");
    pod.change_document("nf.json", 6, &misfit());
    pod.commits("-1");
    assert_eq!(pod.story("nf.json", 6)["reason"], "the application reported a failure");
    pod.change_document("nf.json", 7, &workers(16));
    pod.commits("7");
    assert_eq!(pod.app.revisions(), [4, 5, 6, 7], "each is handed over once");
    assert_eq!(pod.app.document("nf.json"), Some(json!({"limits": {"workers": 16}})));
}
