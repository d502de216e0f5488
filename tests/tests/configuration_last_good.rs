//! A first configuration that the application does not take, where the last good one stands in for it
//! (`on_exhausted = "last_good"`), through the whole program.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use cim_tests::application::Manners;
use cim_tests::pod::Pod;
use cim_tests::until;
use serde_json::{Value, json};

#[test]
fn a_first_configuration_that_is_not_taken_gives_way_to_the_last_one_that_was() {
    let day_one = "day_one = { attempts = 2, on_exhausted = \"last_good\" }\n";
    let document = |mark: &str| json!({"nf.json": {"mark": mark}});
    let mut pod = Pod::loaded(day_one, &document("good"));
    // What was good is remembered over a kill.
    until("memory", || {
        let memory = std::fs::read_to_string(pod.daemon.home().join("spool/configuration.json"));
        memory.is_ok_and(|memory| memory.contains("\"last_good\":\"") && memory.contains("\"loaded\""))
    });
    pod.daemon.signal("KILL");
    assert_eq!(pod.daemon.ended(), None, "by the signal");
    pod.app.behave(Manners { refuses: Some("bad"), ..Manners::of_the_guide() });
    // Before the start, so that the first reading of the source finds it.
    pod.put("config/ns1/svc/0", &document("bad").to_string());
    pod.daemon.start_again();
    let marks = || -> Vec<String> {
        let calls = pod.app.calls().into_iter();
        let bodies = calls.map(|call| serde_json::from_str::<Value>(&call.body).unwrap());
        bodies.map(|body| body["nf.json"]["mark"].as_str().unwrap().to_owned()).collect()
    };
    // The source is read again after the restart, in one piece; what is asked for then is what it holds.
    pod.register();
    pod.event("NotConfigured");
    until("the last good one", || marks().last().is_some_and(|mark| mark == "good") && marks().len() > 1);
    assert_eq!(marks(), ["good", "bad", "bad", "good"]);
    assert_eq!(pod.app.document("nf.json"), Some(json!({"mark": "good"})));
    until("announcement", || pod.daemon.stdout().contains("LoadConfigRequestFailure"));
    let says = |text: &str| pod.daemon.get("/statusz").unwrap().contains(text);
    until("it is given up", || says("\"day_one\": \"given_up\""));
    assert!(!pod.daemon.stderr().contains("the pod cannot be restarted"), "nobody asks for another pod");
    // A document that is mended is loaded at once.
    pod.put("config/ns1/svc/0", &document("mended").to_string());
    until("the mended one", || pod.app.document("nf.json") == Some(json!({"mark": "mended"})));
}

#[test]
fn without_a_last_good_document_a_first_configuration_that_is_not_taken_is_held() {
    let day_one = "day_one = { attempts = 2, on_exhausted = \"last_good\" }\n";
    let pod = Pod::registered(&format!("{day_one}nf_revision = \"0\"\n"));
    pod.app.behave(Manners { refuses: Some("bad"), ..Manners::of_the_guide() });
    pod.put("config/ns1/svc/0", r#"{"nf.json":{"mark":"bad"}}"#);
    pod.event("NotConfigured");
    until("announcement", || pod.daemon.stdout().contains("LoadConfigRequestFailure"));
    pod.put("config/ns1/svc/0", r#"{"nf.json":{"mark":"mended"}}"#);
    until("the mended one", || pod.app.document("nf.json") == Some(json!({"mark": "mended"})));
    assert_eq!(pod.app.calls().len(), 3, "twice the bad one, once the mended one");
    assert!(!pod.daemon.stderr().contains("the pod cannot be restarted"), "nobody asks for another pod");
}
