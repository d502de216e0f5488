//! Registrations, and paths that lead nowhere, as the original was seen to answer them (`tests/vectors/http.json`).
//!
//! Left out: the cases that `docs/reference/differences.md` lists.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[path = "../vectors/listed.rs"]
mod listed;

use cim_tests::Daemon;
use serde_json::Value;

const SETTINGS: &str = "[registration]\napigw_username = \"admin\"\napigw_password = \"admin\"\n\
    [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n\
    tmaas = { vendor_id = \"xgvela\", xgvela_id = \"xgvela1\", nf_class = \"xgvela\", nf_type = \"xgvela\", nf_id = \"xgvela1\", \
    nf_service_id = \"svc-1\", nf_service_type = \"svc\" }\n";

/// A case with a file of its own.
const INFRA: &str = "register: common-infra gives fqdns";

/// The bytes of a recorded message.
fn bytes(message: &Value) -> Vec<u8> {
    if let Some(text) = message["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    let hex = message["hex"].as_str().unwrap();
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Status line, header lines and body. Names of headers are lower case here, and their order and the date mean nothing.
fn outline(answer: &str) -> (String, Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let mut lines = head.split("\r\n");
    let status = lines.next().unwrap().to_owned();
    let header = |line: &str| {
        let (name, value) = line.split_once(": ").unwrap();
        format!("{}: {value}", name.to_ascii_lowercase())
    };
    let mut headers: Vec<_> = lines.map(header).filter(|line| !line.starts_with("date: ")).collect();
    headers.sort();
    (status, headers, body.to_owned())
}

/// What is played, by the beginning of a name: registrations, and paths that lead nowhere.
const PLAYED: [&str; 5] = ["register: ", "unknown path", "unclean path", "health-like path", "root"];
/// Cases of no importance whose answer is left to the HTTP library.
const FREE: [&str; 1] = ["register: no host header"];

#[test]
fn registrations_and_paths_are_answered_as_recorded() {
    let daemon = Daemon::start(SETTINGS);
    let document: Value = serde_json::from_str(include_str!("../vectors/http.json")).unwrap();
    let listed = listed::listed("http.json");
    let mut played = 0;
    for case in document["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        let is_played = PLAYED.iter().any(|start| name.starts_with(start));
        if !is_played || listed.contains(name) || FREE.contains(&name) || name == INFRA {
            continue;
        }
        let answer = daemon.exchange(&bytes(&case["input"]["request"]));
        let recorded = String::from_utf8(bytes(&case["expected"]["response"])).unwrap();
        assert_eq!(outline(&answer), outline(&recorded), "{name}");
        played += 1;
    }
    assert_eq!(played, 21);
}

/// The original answered ten of them after three seconds; here they are answered at once, all alike.
#[test]
fn ten_first_calls_at_once_are_answered_alike_and_so_is_every_later_one() {
    let document: Value = serde_json::from_str(include_str!("../vectors/http.json")).unwrap();
    let cases = document["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "register: second call").unwrap();
    let (request, recorded) = (bytes(&case["input"]["request"]), bytes(&case["expected"]["response"]));
    let recorded = outline(&String::from_utf8(recorded).unwrap());
    let mut daemon = Daemon::start(&format!("spool.dir = \"{{home}}/spool\"\n{SETTINGS}"));
    let together = |daemon: &Daemon| {
        let start = std::sync::Barrier::new(10);
        std::thread::scope(|scope| {
            let call = || {
                start.wait();
                outline(&daemon.exchange(&request))
            };
            let calls: Vec<_> = (0..10).map(|_| scope.spawn(call)).collect();
            calls.into_iter().map(|call| call.join().unwrap()).collect::<Vec<_>>()
        })
    };
    assert!(together(&daemon).iter().all(|answer| *answer == recorded));
    assert!(together(&daemon).iter().all(|answer| *answer == recorded));
    assert!(daemon.get("/statusz").unwrap().contains("\"registered\": true"));
    daemon.kill_and_restart();
    assert!(daemon.get("/statusz").unwrap().contains("\"registered\": true"), "it is remembered");
    assert!(together(&daemon).iter().all(|answer| *answer == recorded));
}

#[test]
fn the_addresses_of_common_infra_are_told_as_recorded() {
    let document: Value = serde_json::from_str(include_str!("../vectors/http.json")).unwrap();
    let case = document["cases"].as_array().unwrap().iter().find(|case| case["name"] == INFRA).unwrap();
    let home = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(home.path().join("opt/conf/static")).unwrap();
    let infra = r#"{"apigw_rest_fqdn":"gw.example:1","topoengine_fqdn":"te.example:2","kafka_brokers":null}"#;
    std::fs::write(home.path().join("opt/conf/static/common-infra.json"), infra).unwrap();
    let daemon = Daemon::start_in(home, SETTINGS, Daemon::spawn);
    let answer = daemon.exchange(&bytes(&case["input"]["request"]));
    let recorded = String::from_utf8(bytes(&case["expected"]["response"])).unwrap();
    assert_eq!(outline(&answer), outline(&recorded));
}
