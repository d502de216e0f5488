//! Calls over HTTP/1.1 to applications that are well, odd, slow or broken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::io::Write as _;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use cim_core::{Application, CallError, Component, Health};
use support::{OK, PUSH, Server, client, hangs_up, until};

async fn status(application: &impl Application) -> u16 {
    application.update_config(&PUSH).await.unwrap().status
}

/// The only request that the server saw is the recorded one of that case.
fn assert_recorded(server: &Server, name: &str) {
    let recorded: serde_json::Value =
        serde_json::from_str(include_str!("../../../tests/vectors/config.json")).unwrap();
    let case = recorded["cases"].as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
    let recorded = case["expected"]["requests_to_app"][0]["text"].as_str().unwrap();
    let recorded = recorded.replace("<port>", &server.address.port().to_string());
    let request = server.requests().remove(0);
    let ((head, body), (recorded_head, recorded_body)) =
        (request.split_once("\r\n\r\n").unwrap(), recorded.split_once("\r\n\r\n").unwrap());
    assert_eq!(body, recorded_body);
    assert_eq!(head.lines().next(), recorded_head.lines().next());
    // Not the agent, and no compression, which nothing here could read.
    let sorted = |head: &str| {
        let mut lines: Vec<_> = head.lines().map(ToOwned::to_owned).collect();
        lines.retain(|line| !line.starts_with("User-Agent") && !line.starts_with("Accept-Encoding"));
        lines[1..].sort();
        lines
    };
    assert_eq!(sorted(head), sorted(recorded_head));
}

#[tokio::test]
async fn a_change_arrives_as_it_was_recorded() {
    let server = Server::answering(OK);
    let application = server.client();
    let answer = application.update_config(&PUSH).await.unwrap();
    assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]));
    assert_recorded(&server, "app change, unused");
}

#[tokio::test]
async fn a_shutdown_arrives_as_it_was_recorded() {
    let server = Server::answering(OK);
    assert_eq!(server.client().shutdown().await.unwrap().status, 200);
    assert_recorded(&server, "shutdown: app 200, no grace");
}

#[tokio::test]
async fn a_first_configuration_arrives_byte_for_byte() {
    let server = Server::answering(b"HTTP/1.1 204 No Content\r\n\r\n");
    let application = server.client();
    let document = r#"{ "b": 1.0, "a": 9007199254740993, "e": 1e3 }"#;
    assert_eq!(application.load_config(document.as_bytes()).await.unwrap().status, 204);
    let request = server.requests().remove(0);
    assert!(request.starts_with("POST /api/v1/_operations/loadConfig HTTP/1.1\r\n"), "{request}");
    assert!(request.ends_with(&format!("\r\n\r\n{document}")), "{request}");
}

#[tokio::test]
async fn every_status_is_an_answer_and_no_redirect_is_followed() {
    for (code, more) in [
        (200, ""),
        (202, ""),
        (204, ""),
        (302, "Location: /elsewhere\r\n"),
        (302, ""),
        (404, ""),
        (500, ""),
        (503, ""),
    ] {
        let text = format!("HTTP/1.1 {code} Status\r\n{more}Content-Length: 0\r\n\r\n").leak();
        let server = Server::answering(text.as_bytes());
        let application = server.client();
        assert_eq!(status(&application).await, code);
        assert_eq!(server.requests().len(), 1, "{code} was followed");
        assert_eq!(application.probe().await, Health::Ready, "{code} is an answer");
    }
}

#[tokio::test]
async fn a_connection_serves_call_after_call() {
    let answers: [&[u8]; 4] = [
        OK,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 3\r\n\r\nbad",
    ];
    let server = Server::start(move |stream, count| stream.write_all(answers[count % 4]).is_ok());
    let application = server.client();
    for count in 0..200 {
        let answer = application.update_config(&PUSH).await.unwrap();
        let expected: (u16, &[u8]) =
            [(200, &b"ok"[..]), (200, b"abcde"), (204, b""), (500, b"bad")][count % 4];
        assert_eq!((answer.status, answer.body.as_slice()), expected);
    }
    assert_eq!((server.connections(), server.requests().len()), (1, 200));
}

#[tokio::test]
async fn calls_at_the_same_time_have_connections_of_their_own_and_keep_eight() {
    let server = Server::answering(OK);
    let application = server.client();
    for _ in 0..5 {
        let calls = (0..8).map(|_| status(&application));
        assert_eq!(futures_util::future::join_all(calls).await, [200; 8]);
    }
    assert!(server.connections() <= 8, "{} connections", server.connections());
}

#[tokio::test]
async fn an_application_that_closes_after_each_answer_is_called_again() {
    let said = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        false
    });
    let old = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.0 200 OK\r\n\r\nto the end");
        false
    });
    for server in [said, old] {
        let application = server.client();
        for _ in 0..50 {
            assert_eq!(status(&application).await, 200);
        }
        assert_eq!((server.connections(), server.requests().len()), (50, 50));
    }
}

/// Nothing says that it closes, and a call may run into the end of the connection. It is never sent twice, and the
/// next one is fine.
#[tokio::test]
async fn an_application_that_closes_unannounced_costs_no_call_once_that_can_be_seen() {
    let server = Server::start(|stream, _| {
        let _ = stream.write_all(OK);
        false
    });
    let application = server.client();
    for count in 0..20 {
        assert_eq!(status(&application).await, 200);
        // The end of the connection is on its way through the kernel.
        until("the server closes", || !is_established(server.address.port())).await;
        assert_eq!(server.requests().len(), count + 1);
    }
}

/// Whether a socket towards that port has both of its ends open.
fn is_established(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    table.lines().any(|line| line.contains(&format!(":{port:04X} 01 ")))
}

#[tokio::test]
async fn of_an_endless_body_64_kib_are_read() {
    let server = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1073741824\r\n\r\n");
        let piece = vec![b'x'; 1 << 16];
        for _ in 0..1 << 14 {
            if stream.write_all(&piece).is_err() {
                return false;
            }
        }
        panic!("a whole GiB was taken");
    });
    let application = server.client();
    for _ in 0..3 {
        let answer = application.update_config(&PUSH).await.unwrap();
        assert_eq!((answer.status, answer.body.len()), (200, 64 << 10));
    }
    assert_eq!(server.connections(), 3, "a connection with more to say was used again");
}

#[tokio::test]
async fn a_body_of_just_64_kib_keeps_its_connection() {
    let server = Server::start(|stream, _| {
        let mut answer = b"HTTP/1.1 200 OK\r\nContent-Length: 65536\r\n\r\n".to_vec();
        answer.resize(answer.len() + (64 << 10), b'x');
        stream.write_all(&answer).is_ok()
    });
    let application = server.client();
    for _ in 0..3 {
        assert_eq!(application.get("/").await.unwrap().body.len(), 64 << 10);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn what_is_not_http_is_said_so() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.9\r\n\r\n"[..],
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"\x00\x01\x02\x03\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nbad header\r\n\r\n",
    ] {
        let server = Server::start(move |stream, _| {
            let _ = stream.write_all(garbage);
            false
        });
        let error = server.client().update_config(&PUSH).await.unwrap_err();
        assert!(matches!(error, CallError::Malformed(_)), "{garbage:?}: {error}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_cut_off() {
    let server = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
        while stream.write_all(b"X-More: and more, and more, and more, and more\r\n").is_ok() {}
        false
    });
    let error = server.client().update_config(&PUSH).await.unwrap_err();
    assert!(matches!(error, CallError::Malformed(_)), "{error}");
}

#[tokio::test]
async fn silence_and_dripping_heads_end_with_the_deadline() {
    let silent =
        Server::start(|stream, _| std::io::Read::read(stream, &mut [0]).is_ok_and(|count| count > 0));
    let dripping = Server::start(|stream, _| {
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n".iter().cycle() {
            if stream.write_all(&[*byte]).is_err() || hangs_up(stream, Duration::from_millis(20)) {
                return false;
            }
        }
        false
    });
    for server in [silent, dripping] {
        let application = server.patient_client("300ms");
        let begun = Instant::now();
        let error = application.update_config(&PUSH).await.unwrap_err();
        assert!(
            matches!(error, CallError::TimedOut(limit) if limit == Duration::from_millis(300)),
            "{error}"
        );
        assert!((Duration::from_millis(300)..Duration::from_secs(5)).contains(&begun.elapsed()));
        assert_eq!(application.probe().await, Health::Degraded(format!("the last call failed: {error}")));
    }
}

#[tokio::test]
async fn an_answer_whose_body_breaks_off_is_a_verdict_but_no_document() {
    let cut = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"half\":");
        false
    });
    let dripping = Server::start(|stream, _| {
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 60000\r\n\r\n");
        while stream.write_all(b"x").is_ok() && !hangs_up(stream, Duration::from_millis(20)) {}
        false
    });
    for server in [cut, dripping] {
        let application = server.patient_client("3s");
        assert_eq!(status(&application).await, 200);
        assert!(application.get("/document").await.is_err());
        until("no connection in the middle of an answer is used again", || server.connections() == 2).await;
    }
}

#[tokio::test]
async fn an_absent_application_is_unreachable_until_it_is_there() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    drop(taken);
    let error = client(address, "10s", false).update_config(&PUSH).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error}");
    let server = Server::start(|stream, count| count > 0 && stream.write_all(OK).is_ok());
    let application = server.client();
    let error = application.update_config(&PUSH).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "closed before an answer: {error}");
    assert_eq!(status(&application).await, 200, "the same client works again");
}

#[tokio::test]
async fn a_call_that_is_dropped_harms_no_other() {
    let server = Server::start(|stream, _| {
        !hangs_up(stream, Duration::from_millis(1)) && stream.write_all(OK).is_ok()
    });
    let application = server.client();
    for micros in (0..3_000).step_by(50) {
        let _ = tokio::time::timeout(Duration::from_micros(micros), application.update_config(&PUSH)).await;
        let answer = application.get("/after").await.unwrap();
        assert_eq!((answer.status, answer.body.as_slice()), (200, &b"ok"[..]), "after {micros} us");
    }
    let bad = server.requests().into_iter().find(|request| {
        !request.starts_with("GET /after HTTP/1.1\r\n")
            && !request.starts_with("POST /updateConfig HTTP/1.1\r\n")
    });
    assert_eq!(bad, None, "requests ran into each other");
}

#[tokio::test]
async fn closing_twice_is_fine_and_nothing_waits_then() {
    let server = Server::answering(OK);
    let application = server.client();
    assert_eq!(status(&application).await, 200);
    application.close().await.unwrap();
    application.close().await.unwrap();
    assert_eq!((status(&application).await, status(&application).await), (200, 200));
    assert_eq!(server.connections(), 3);
}
