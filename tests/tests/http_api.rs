//! The HTTP server of the whole program, with clients that are not ours: TLS, HTTP/2, token, socket, mandatory fields.
//!
//! The recorded cases of transports and of mandatory fields (`tests/vectors/http.json`) are played here.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cim_services::{Authority, Identity};
use cim_tests::invariants::Footprint;
use cim_tests::lateness::Echo;
use cim_tests::{Daemon, has_time, skip, until};
use serde_json::Value;

const SUBSCRIPTIONS: &str = "/api/v1/_operations/event/subscriptions";

fn cases(start: &str) -> Vec<Value> {
    let document: Value = serde_json::from_str(include_str!("../vectors/http.json")).unwrap();
    let cases = document["cases"].as_array().unwrap().iter();
    let cases: Vec<_> =
        cases.filter(|case| case["name"].as_str().unwrap().starts_with(start)).cloned().collect();
    assert!(!cases.is_empty(), "{start}");
    cases
}

/// The recorded answer of a case.
fn recorded(case: &Value) -> &str {
    case["expected"]["response"]["text"].as_str().unwrap()
}

/// Status, headers and body; the order of headers and the date mean nothing.
fn outline(answer: &str) -> (String, Vec<String>, String) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer}"));
    let mut lines = head.split("\r\n").map(|line| line.trim().to_ascii_lowercase());
    let status = lines.next().unwrap();
    let mut headers: Vec<_> = lines.filter(|line| !line.starts_with("date: ")).collect();
    headers.sort();
    (status, headers, body.to_owned())
}

/// What a program prints, with both of its outputs.
fn run(program: &str, arguments: &[&str]) -> String {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output().unwrap();
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Body, protocol and status as curl sees them.
fn curl(arguments: &[&str]) -> String {
    let common = ["-sS", "--max-time", "20", "-w", " %{http_version} %{http_code}"];
    run("curl", &[&common, arguments].concat())
}

fn has_curl() -> bool {
    let is_there = run("sh", &["-c", "curl --version"]).contains("HTTP2");
    if !is_there {
        skip("curl with HTTP/2 is not installed");
    }
    is_there
}

/// A daemon with TLS, in a directory that holds the authority too. `None`: there is no openssl.
fn secured(days: i32) -> Option<(Daemon, Authority)> {
    let home = tempfile::tempdir().unwrap();
    let authority = Authority::new(&home.path().join("pki"))?;
    place(home.path(), &authority.issue("first", days));
    let tls = "api.tls = { certificate_file = \"{home}/tls.crt\", key_file = \"{home}/tls.key\" }\n";
    Some((Daemon::start_in(home, tls, Daemon::spawn), authority))
}

/// Puts certificate and key where the daemon reads them, as a Secret of Kubernetes is replaced.
fn place(home: &Path, identity: &Identity) {
    for (from, to) in [(&identity.certificate, "tls.crt"), (&identity.key, "tls.key")] {
        std::fs::copy(from, home.join("fresh")).unwrap();
        std::fs::rename(home.join("fresh"), home.join(to)).unwrap();
    }
}

#[test]
fn tls_on_the_same_port_agrees_on_http_as_recorded() {
    let Some((daemon, authority)) = secured(30) else { return };
    let address = daemon.api().to_string();
    let trusted = authority.certificate().to_str().unwrap();
    for case in cases("tls alpn ") {
        let offered = case["input"]["alpn_offered"].as_array().unwrap();
        let offered: Vec<_> = offered.iter().map(|name| name.as_str().unwrap()).collect();
        let told = run(
            "openssl",
            &[
                "s_client",
                "-connect",
                &address,
                "-alpn",
                &offered.join(","),
                "-CAfile",
                trusted,
                "-verify_return_error",
                "-servername",
                "localhost",
            ],
        );
        let selected = case["expected"]["alpn_selected"].as_str().unwrap();
        let version = case["expected"]["version"].as_str().unwrap();
        assert!(told.contains(&format!("ALPN protocol: {selected}\n")), "{offered:?}: {told}");
        assert!(told.contains(version) && told.contains("Verify return code: 0 (ok)"), "{offered:?}: {told}");
    }
    assert!(daemon.get("/livez").unwrap().starts_with("HTTP/1.1 200"), "in the clear as before");
    if !has_curl() {
        return;
    }
    let url = |path: &str| format!("https://{address}{path}");
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    let over_1 = cases("tls alpn ['http/1.1']").remove(0);
    let asked = url(SUBSCRIPTIONS);
    let closing = ["-sS", "-i", "--cacert", trusted, "--http1.1", "-H", "Connection: close", &asked];
    assert_eq!(outline(&run("curl", &closing)), outline(recorded(&over_1)));
    assert_eq!(curl(&["--cacert", trusted, "--http2", &url("/livez")]), "ok\n 2 200");
    assert_eq!(curl(&["--cacert", trusted, "--http1.1", &url("/livez")]), "ok\n 1.1 200");
    assert!(curl(&[&url("/livez")]).contains("certificate"), "nobody trusts an authority that is not told");
}

#[test]
fn a_replaced_certificate_is_served_without_a_restart_and_a_broken_one_is_not() {
    let Some((daemon, authority)) = secured(30) else { return };
    let address = daemon.api().to_string();
    let subject = || run("openssl", &["s_client", "-connect", &address]);
    assert!(subject().contains("CN = first"), "{}", subject());
    place(daemon.home(), &authority.issue("second", 30));
    until("the second certificate", || subject().contains("CN = second"));
    std::fs::write(daemon.home().join("tls.crt"), "nothing").unwrap();
    until("a word about it", || {
        let _ = subject();
        daemon.stderr().contains("what was read before stays in use: no certificate in ")
    });
    assert!(subject().contains("CN = second"));
}

#[test]
fn a_certificate_that_has_expired_is_no_secret_from_clients_nor_from_the_doctor() {
    let Some((daemon, authority)) = secured(-1) else { return };
    let trusted = authority.certificate().to_str().unwrap();
    let told = run("openssl", &["s_client", "-connect", &daemon.api().to_string(), "-CAfile", trusted]);
    assert!(told.contains("certificate has expired"), "{told}");
    let doctor = daemon.cim(&["doctor"]);
    assert!(doctor.contains("api.tls.certificate_file") && doctor.contains("has expired"), "{doctor}");
}

#[test]
fn tls_that_cannot_be_used_ends_the_start() {
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("tls.crt"), "nothing").unwrap();
    let settings = format!(
        "nats.listen = \"127.0.0.1:0\"\napi.listen = \"127.0.0.1:0\"\n[api.tls]\ncertificate_file = \"{0}/tls.crt\"\nkey_file = \"{0}/tls.key\"\n",
        home.path().display()
    );
    std::fs::write(home.path().join("cim.toml"), settings).unwrap();
    let mut child = Daemon::spawn(home.path());
    assert_eq!(child.wait().unwrap().code(), Some(2));
    let told = std::fs::read_to_string(home.path().join("stderr")).unwrap();
    assert!(told.contains("api.tls") && told.contains("no certificate in "), "{told}");
}

#[test]
fn http_2_with_prior_knowledge_answers_as_http_1_and_an_upgrade_is_answered_over_http_1() {
    if !has_curl() {
        return;
    }
    let daemon = Daemon::start("");
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    for case in cases("h2c ") {
        assert!(case["input"]["tool"].as_str().unwrap().ends_with(&format!("GET {SUBSCRIPTIONS}")));
    }
    let url = format!("http://{}{SUBSCRIPTIONS}", daemon.api());
    let knowing = outline(&run("curl", &["-sS", "-i", "--http2-prior-knowledge", &url]));
    assert_eq!(knowing, outline(recorded(&cases("h2c prior knowledge")[0])));
    // An upgrade is answered over HTTP/1.1, with the body that was recorded.
    let upgrading = curl(&["--http2", &url]);
    let case = &cases("h2c upgrade")[0];
    let body = recorded(case).rsplit("\r\n\r\n").next().unwrap();
    assert_eq!(upgrading, format!("{body} 1.1 200"));
    for path in [SUBSCRIPTIONS, "/livez", "/nope"] {
        let url = format!("http://{}{path}", daemon.api());
        let over_1 = curl(&["--http1.1", &url]);
        assert_eq!(curl(&["--http2-prior-knowledge", &url]), over_1.replace(" 1.1 ", " 2 "));
        assert_eq!(curl(&["--http2", &url]), over_1);
    }
}

#[test]
fn with_a_token_nobody_registers_without_it_and_a_changed_file_counts_at_once() {
    let home = tempfile::tempdir().unwrap();
    let token = home.path().join("token");
    std::fs::write(&token, "canary-one\n").unwrap();
    let daemon = Daemon::start_in(home, "api.token_file = \"{home}/token\"\n", Daemon::spawn);
    assert!(daemon.register().starts_with("HTTP/1.1 401"));
    let with = |token: &str| {
        let head = format!(
            "GET /statusz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: Bearer {token}\r\n\r\n"
        );
        daemon.exchange(head.as_bytes()).split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!((with("canary-one"), with("canary-two")), ("200".to_owned(), "401".to_owned()));
    std::fs::write(&token, "canary-two").unwrap();
    until("the new token", || with("canary-two") == "200");
    assert_eq!(with("canary-one"), "401");
    assert!(daemon.metric("cim_http_turned_away_total{reason=\"token\"}") > 2.5);
    assert_eq!(daemon.cim(&["log-level"]), "info\n", "the command reads the file, too");
    let printed = format!("{}{}{}", daemon.stderr(), daemon.stdout(), daemon.cim(&["config", "show"]));
    assert!(!printed.contains("canary"), "{printed}");
}

#[test]
fn the_socket_serves_its_owner_without_a_token() {
    if !has_curl() {
        return;
    }
    let home = tempfile::tempdir().unwrap();
    std::fs::write(home.path().join("token"), "canary").unwrap();
    let settings = "api.token_file = \"{home}/token\"\napi.socket = \"{home}/api.sock\"\n";
    let mut daemon = Daemon::start_in(home, settings, Daemon::spawn);
    let socket = daemon.home().join("api.sock");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let status = || curl(&["--unix-socket", socket.to_str().unwrap(), "-o", "/dev/null", "http://x/statusz"]);
    assert_eq!(status(), " 1.1 200");
    assert_eq!(daemon.cim(&["log-level", "debug"]), "debug\n");
    daemon.kill_and_restart();
    assert_eq!(status(), " 1.1 200", "what a killed process left behind is replaced");
}

#[test]
fn mandatory_fields_are_asked_for_as_recorded() {
    let identity = "[registration]\napigw_username = \"admin\"\napigw_password = \"admin\"\n\
        [identity]\nnamespace = \"ns1\"\npod = \"pod-1\"\nmicroservice = \"svc\"\nversion = \"v1\"\n\
        tmaas = { vendor_id = \"xgvela\", xgvela_id = \"xgvela1\", nf_class = \"xgvela\", nf_type = \"xgvela\", nf_id = \"xgvela1\", \
        nf_service_id = \"svc-1\", nf_service_type = \"svc\" }\n";
    let demanding = |home: &Path| Daemon::spawn_under(home, &["env", "CTR_FIELDS_MANDATORY=true"]);
    let strict = Daemon::start_in(tempfile::tempdir().unwrap(), identity, demanding);
    for case in cases("mandatory: ") {
        let answer = strict.exchange(case["input"]["request"]["text"].as_str().unwrap().as_bytes());
        let recorded = case["expected"]["response"]["text"].as_str().unwrap();
        let outline = |answer: &str| {
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            (head.lines().next().unwrap().to_owned(), body.to_owned())
        };
        assert_eq!(outline(&answer), outline(recorded), "{}", case["name"]);
    }
    let relaxed = |home: &Path| Daemon::spawn_under(home, &["env", "CTR_FIELDS_MANDATORY=True"]);
    let relaxed = Daemon::start_in(tempfile::tempdir().unwrap(), identity, relaxed);
    let empty = cases("mandatory: empty object")[0]["input"]["request"]["text"].as_str().unwrap().to_owned();
    assert!(relaxed.exchange(empty.as_bytes()).starts_with("HTTP/1.1 200"), "exactly the word `true`");
}

#[test]
fn no_credentials_are_told_that_were_not_configured() {
    let answer = Daemon::start("").register();
    assert!(answer.contains("\"apigw_username\":\"\",\"apigw_password\":\"\""), "{answer}");
    assert!(!answer.contains("admin"), "{answer}");
}

const FILES: &str =
    "[sinks.files]\ntype = \"file\"\ndir = \"{home}/logs\"\n[routes.logs]\nsink = \"files\"\n";

#[test]
fn text_logs_are_those_of_the_container_that_registered_as_long_as_there_is_only_one() {
    let daemon = Daemon::start(FILES);
    let mut client = daemon.connect();
    let mut written_by = |line: &str, container: &str| {
        client.publish("LOG", line.as_bytes());
        client.flush();
        until(&format!("{line:?} in the file of {container}"), || {
            let files = std::fs::read_dir(daemon.home().join("logs")).into_iter().flatten().flatten();
            let of_container = |name: &str| name.contains(&format!("_{container}-"));
            let mut its = files.filter(|file| of_container(&file.file_name().to_string_lossy()));
            its.any(|file| std::fs::read_to_string(file.path()).unwrap().contains(line))
        });
    };
    written_by("nobody has registered: CONNECT counts", "wire");
    let answer = daemon.register();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    written_by("one has registered", "app");
    let other = br#"{"container_name":"other","container_id":"cid2"}"#;
    let answer = daemon.call("POST", "/api/v1/_operations/xgvela/register", other);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    written_by("two have registered: CONNECT counts again", "wire");
}

#[test]
fn text_logs_keep_the_name_of_the_container_that_registered_over_a_kill() {
    let mut daemon = Daemon::start(&format!("spool.dir = \"{{home}}/spool\"\n{FILES}"));
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    daemon.kill_and_restart();
    // CONNECT says `wire`.
    let mut client = daemon.connect();
    client.publish("LOG", b"after the kill");
    client.flush();
    until("the line", || daemon.metric("cim_records_delivered_total") > 0.5);
    let names: Vec<_> = std::fs::read_dir(daemon.home().join("logs"))
        .unwrap()
        .map(|file| file.unwrap().file_name())
        .collect();
    assert!(names.iter().any(|name| name.to_string_lossy().contains("_app-")), "{names:?}");
}

/// Each begins a request and says no more, so that every one of them costs as much as it can.
#[test]
fn ten_thousand_connections_cost_a_little_memory_and_nobody_else_notices() {
    let daemon = Daemon::start("");
    let mut application = daemon.connect();
    application.flush();
    let (before, memory) = (Footprint::of(&daemon), daemon.memory_kib("VmRSS"));
    let mut clients = VecDeque::new();
    let (echo, mut most, mut slowest) = (Echo::start(), memory, Duration::ZERO);
    for nth in 1..=10_000 {
        // The own ends are bounded, too: the machine may not have more.
        if clients.len() == 400 {
            clients.pop_front();
        }
        let mut client = TcpStream::connect(daemon.api()).unwrap();
        let _ = client.write_all(b"POST /api/v1/_operations/xgvela/register HTTP/1.1\r\nHost: x\r\n");
        clients.push_back(client);
        if nth % 250 == 0 {
            slowest = slowest.max(echo.time(|| application.flush()).1);
            assert!(daemon.get("/livez").unwrap().starts_with("HTTP/1.1 200"), "behind {nth} others");
            most = most.max(daemon.memory_kib("VmRSS"));
        }
    }
    assert!(daemon.register().starts_with("HTTP/1.1 200"));
    assert!(most < memory + (8 << 10), "{most} KiB of memory, {memory} before");
    assert!(slowest < Duration::from_secs(1), "a PING waited {slowest:?} for its PONG");
    assert!(daemon.metric("cim_http_turned_away_total{reason=\"connections\"}") > 9_000.0);
    drop(clients);
    until("their descriptors and threads to be given back", || {
        let now = Footprint::of(&daemon);
        now.descriptors <= before.descriptors && now.threads <= before.threads
    });
}

#[test]
fn a_handshake_that_drips_is_closed_after_the_time_of_a_request() {
    if !has_time("the time of a request, 10 s") {
        return;
    }
    let Some((daemon, _)) = secured(30) else { return };
    let mut slow = TcpStream::connect(daemon.api()).unwrap();
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let began = Instant::now();
    // A handshake record of 16 KiB that never becomes whole: one byte in each tenth of a second.
    let mut record = [0x16, 3, 1, 0x40, 0, 1, 0, 0x3f, 0xfc].into_iter().chain(std::iter::repeat(3));
    let mut answer = [0];
    let ended = loop {
        let _ = slow.write_all(&[record.next().unwrap()]);
        match slow.read(&mut answer) {
            Ok(0) => break began.elapsed(),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => break began.elapsed(),
            Ok(_) => panic!("an answer to half a record"),
            Err(_) => assert!(began.elapsed() < Duration::from_secs(30), "it is read for ever"),
        }
    };
    assert!(ended > Duration::from_secs(9) && ended < Duration::from_secs(13), "closed after {ended:?}");
    assert!(daemon.metric("cim_http_turned_away_total{reason=\"handshake\"}") > 0.5);
    assert!(daemon.get("/livez").unwrap().starts_with("HTTP/1.1 200"));
}
