//! The recorded conversations of the original server, each whole, and cut in two at every byte.
//!
//! Cases that end differently on purpose stand in `DIFFERENCES` with what happens instead and why, and on the page
//! `docs/reference/differences.md`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

#[path = "../../../tests/vectors/listed.rs"]
mod listed;
mod support;

use cim_nats::NatsConfig;
use listed::listed;
use serde_json::Value;
use std::path::Path;
use std::time::{Duration, Instant};
use support::{Ending, PATIENCE, Server, config};

/// Name, what the client receives, how it ends, why.
const DIFFERENCES: [(&str, &str, Ending, &str); 7] = [
    ("garbage bytes", "", Ending::Closed, UNKNOWN),
    ("HTTP request", "", Ending::Closed, UNKNOWN),
    ("empty line", "", Ending::Closed, UNKNOWN),
    ("UNSUB no args", "", Ending::Closed, UNKNOWN),
    ("client sends MSG", "", Ending::Closed, UNKNOWN),
    ("HPUB", "", Ending::Closed, "headers not asked for in CONNECT: plain close instead of an unlisted -ERR"),
    ("protocol 5", "", Ending::Closed, "plain close: clients end for good on an -ERR text they do not know"),
];
const UNKNOWN: &str = "plain close: Go clients end for good on 'Unknown Protocol Operation'";

/// Listed differences that are no conversation.
const OTHER_DIFFERENCES: [&str; 4] = [
    "INFO line",
    "own client of the sidecar: CONNECT, subscriptions, self test",
    "EVENT-NOTIFICATION: header spelling localNfId",
    "EVENT-NOTIFICATION: after replay without replay header (B-51)",
];

/// Cases that are no conversation; each names the test that covers it, or why none can.
const ELSEWHERE: [(&str, &str); 10] = [
    ("INFO line", "info_has_the_old_members"),
    ("no CONNECT, silence", "first_ping_after_two_seconds"),
    ("first server PING", "first_ping_after_two_seconds"),
    ("EVENT-NOTIFICATION: match", "tests/tests/subscriptions/delivery.rs"),
    ("EVENT-NOTIFICATION: header spelling localNfId", "tests/tests/subscriptions/delivery.rs"),
    ("EVENT-NOTIFICATION: wrong nf", "tests/tests/subscriptions/delivery.rs"),
    (
        "EVENT-NOTIFICATION: match B, no nfNamingCode header (B-51: previous value kept)",
        "tests/tests/subscriptions/delivery.rs",
    ),
    ("EVENT-NOTIFICATION: replay", "tests/tests/subscriptions/delivery.rs"),
    (
        "EVENT-NOTIFICATION: after replay without replay header (B-51)",
        "tests/tests/subscriptions/delivery.rs",
    ),
    ("EVENT-NOTIFICATION: no headers at all", "tests/tests/subscriptions/delivery.rs"),
];

struct Case {
    name: String,
    input: Vec<u8>,
    expected: Vec<u8>,
    ending: Ending,
}

fn vectors() -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors/nats.json");
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn unhex(text: &str) -> Vec<u8> {
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap()).collect()
}

/// The bytes of one entry; the middle of long ones is all `x`, as their note says.
fn bytes(entry: &Value) -> Vec<u8> {
    if let Some(text) = entry["text"].as_str() {
        return text.as_bytes().to_vec();
    }
    if let Some(hex) = entry["hex"].as_str() {
        return unhex(hex);
    }
    let mut all = unhex(entry["hex_prefix"].as_str().unwrap());
    let suffix = unhex(entry["hex_suffix"].as_str().unwrap());
    let length = usize::try_from(entry["length"].as_u64().unwrap()).unwrap();
    all.resize(length - suffix.len(), b'x');
    all.extend(suffix);
    all
}

fn cases() -> Vec<Case> {
    let all = vectors();
    let mut cases = Vec::new();
    for case in all["cases"].as_array().unwrap() {
        let name = case["name"].as_str().unwrap();
        if ELSEWHERE.iter().any(|(other, _)| *other == name) || case["keep"] != true {
            continue;
        }
        let input = case["input"]["after_info_send"].as_array().unwrap().iter().flat_map(bytes).collect();
        let mut expected = bytes(&case["expected"]["receive"]);
        let mut ending = match case["expected"]["connection"].as_str().unwrap() {
            "stays open" => Ending::Open,
            "closed by server" => Ending::Closed,
            other => panic!("{other}"),
        };
        if let Some((_, text, end, _)) = DIFFERENCES.iter().find(|(other, ..)| *other == name) {
            expected = text.as_bytes().to_vec();
            ending = *end;
        }
        cases.push(Case { name: name.to_owned(), input, expected, ending });
    }
    cases
}

/// Plays the case in the given pieces, each sent only after the one before was read.
fn play(server: &Server, case: &Case, cuts: &[usize]) {
    let mut peer = server.connect();
    let mut sent = 0;
    for cut in cuts.iter().copied().chain([case.input.len()]) {
        let before = server.stats.snapshot().read_bytes;
        peer.try_send(&case.input[sent..cut]);
        if cut < case.input.len() {
            let wanted = (cut - sent) as u64;
            server.wait_for("the piece", |counts| counts.read_bytes >= before + wanted);
        }
        sent = cut;
    }
    let shown = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(300)]).into_owned();
    let fail = |got: &[u8]| {
        format!("{} cut at {cuts:?}: {} instead of {}", case.name, shown(got), shown(&case.expected))
    };
    let got = match case.ending {
        Ending::Closed => peer.until_closed(),
        Ending::Open => {
            let (mut got, ending) = peer.until(PATIENCE, |got| got.len() >= case.expected.len());
            assert_eq!(ending, Ending::Open, "{}", fail(&got));
            peer.send("PING\r\n");
            peer.expect("PONG\r\n");
            peer.half_close();
            got.extend(peer.until_closed());
            got
        }
    };
    let same = got == case.expected
        || (case.name == "queue group" && shown(&got) == shown(&case.expected).replace("MSG q 2", "MSG q 1"));
    assert!(same, "{}", fail(&got));
}

#[test]
fn as_recorded() {
    let server = Server::start();
    let cases = cases();
    assert!(cases.len() >= 40, "the vectors were read");
    for (name, ..) in DIFFERENCES {
        assert!(cases.iter().any(|case| case.name == name), "{name} exists");
    }
    let different =
        DIFFERENCES.iter().map(|(name, ..)| *name).chain(OTHER_DIFFERENCES).map(str::to_owned).collect();
    assert_eq!(listed("nats.json"), different, "docs/reference/differences.md, nats.json");
    for case in &cases {
        play(&server, case, &[]);
    }
}

#[test]
fn cut_in_two_at_every_byte() {
    let server = Server::start();
    for case in cases() {
        let length = case.input.len();
        let step = if length > 600 { length / 40 } else { 1 };
        for cut in (1..length).step_by(step) {
            play(&server, &case, &[cut]);
        }
    }
}

#[test]
fn byte_by_byte() {
    let server = Server::start();
    for case in cases().iter().filter(|case| case.input.len() < 600 && case.ending == Ending::Open) {
        play(&server, case, &(1..case.input.len()).collect::<Vec<_>>());
    }
}

#[test]
fn info_has_the_old_members() {
    let all = vectors();
    let recorded = all["cases"][0]["expected"]["receive"]["text"].as_str().unwrap();
    let server = Server::start();
    let mut peer = support::Peer { stream: std::net::TcpStream::connect(server.address).unwrap() };
    let line = peer.line();
    let members = |text: &str| -> Vec<String> {
        let quoted = text.split('"').skip(1).step_by(2);
        quoted.filter(|name| text.contains(&format!("\"{name}\":"))).map(str::to_owned).collect()
    };
    let mut expected: Vec<String> = members(recorded);
    expected.push("headers".to_owned());
    assert_eq!(members(&line), expected, "{line}");
    assert!(line.len() < 1024 && line.ends_with("} \r\n") && !line.contains(": "), "{line}");
    let port = server.address.port();
    for part in
        ["\"proto\":1,", "\"host\":\"127.0.0.1\",", &format!("\"port\":{port},"), "\"max_payload\":1048576,"]
    {
        assert!(line.contains(part), "{part} in {line}");
    }
}

#[test]
fn first_ping_after_two_seconds() {
    let server = Server::with(NatsConfig { first_ping: NatsConfig::default().first_ping, ..config() });
    let start = Instant::now();
    let mut silent = server.connect();
    let mut connected = server.client();
    silent.expect("PING\r\n");
    connected.expect("PING\r\n");
    let after = start.elapsed();
    assert!(after >= Duration::from_millis(1_990) && after < Duration::from_secs(4), "{after:?}");
    silent.send("PONG\r\nPING\r\n");
    silent.expect("PONG\r\n");
}
