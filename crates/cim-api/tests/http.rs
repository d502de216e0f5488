//! The server against hostile and ordinary clients, byte by byte over real sockets.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::sync::atomic::Ordering;
use std::time::Duration;

use cim_api::Face;
use support::{beside, exchange, get, limits, read_to_close};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

const REGISTRATION: &str = "/api/v1/_operations/xgvela/register";

fn without_date(answer: &str) -> String {
    let lines = answer.split("\r\n").filter(|line| !line.starts_with("date:"));
    lines.collect::<Vec<_>>().join("\r\n")
}

#[tokio::test]
async fn paths_answer_as_documented() {
    beside(Face::Full, limits(), |address, state| async move {
        assert!(get(address, "GET", "/livez").await.ends_with("\r\n\r\nok\n"));
        assert!(
            get(address, "GET", "/readyz").await.ends_with("ready\n[+] nats: listening\n[+] spool: disk\n")
        );
        state.broken.store(true, Ordering::Relaxed);
        let readiness = get(address, "GET", "/readyz").await;
        assert!(readiness.starts_with("HTTP/1.1 503 "), "{readiness}");
        assert!(readiness.contains("not ready\n[+] nats: listening\n[-] spool: disk\n"));
        assert!(get(address, "GET", "/livez").await.starts_with("HTTP/1.1 200 "));
        let status = get(address, "GET", "/statusz").await;
        assert!(
            status.contains("content-type: application/json") && status.contains("\"routes\""),
            "{status}"
        );
        let metrics = get(address, "PUT", "/metrics").await;
        assert!(metrics.contains("text/plain; version=0.0.4; charset=utf-8"), "{metrics}");
        assert!(metrics.ends_with("# TYPE a counter\na 1\n"));
        let head = get(address, "HEAD", "/metrics").await;
        assert!(head.starts_with("HTTP/1.1 200 ") && head.ends_with("\r\n\r\n"), "{head}");
    })
    .await;
}

#[tokio::test]
async fn refusals_look_like_the_original() {
    beside(Face::Full, limits(), |address, _| async move {
        let unknown = "HTTP/1.1 404 Not Found\r\ncontent-type: text/plain; charset=utf-8\r\n\
                       x-content-type-options: nosniff\r\nconnection: close\r\ncontent-length: 19\r\n\r\n\
                       404 page not found\n";
        for path in
            ["/nope", "/", "/metrics/", "/metrics/aligned", "/%6detrics", "/%2e%2e/metrics", "/livez%00"]
        {
            assert_eq!(without_date(&get(address, "GET", path).await), unknown, "{path}");
        }
        let refused = "HTTP/1.1 405 Method Not Allowed\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
        for path in ["/livez", "/readyz", "/statusz"] {
            assert_eq!(without_date(&get(address, "POST", path).await), refused, "{path}");
            assert_eq!(without_date(&get(address, "BREW", path).await), refused, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_body_that_is_null_is_refused_and_the_next_request_is_served() {
    beside(Face::Full, limits(), |address, _| async move {
        let operations = "/api/v1/_operations";
        for path in ["xgvela/register", "event/subscriptions", "event/subscriptions/7"] {
            for method in ["POST", "PUT"] {
                let head = format!("{method} {operations}/{path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 4\r\n\r\nnull");
                let answer = exchange(address, head.as_bytes()).await;
                assert!(answer.starts_with("HTTP/1.1 4"), "{method} {path}: {answer}");
            }
        }
        assert!(get(address, "GET", "/livez").await.starts_with("HTTP/1.1 200 "));
    })
    .await;
}

#[tokio::test]
async fn the_probe_face_hides_the_control_paths() {
    beside(Face::Probes, limits(), |address, _| async move {
        for path in ["/livez", "/readyz", "/metrics"] {
            assert!(get(address, "GET", path).await.starts_with("HTTP/1.1 200 "), "{path}");
        }
        assert!(get(address, "GET", "/statusz").await.starts_with("HTTP/1.1 404 "));
    })
    .await;
}

fn body_request(extra: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{extra}\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn bodies_are_bounded() {
    beside(Face::Full, limits(), |address, _| async move {
        let at_limit = vec![b'x'; 64 << 10];
        let answer = exchange(address, &body_request("Content-Length: 65536\r\n", &at_limit)).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        for length in ["65537", "1073741824"] {
            let answer =
                exchange(address, &body_request(&format!("Content-Length: {length}\r\n"), &[])).await;
            assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("connection: close"), "{answer}");
        }
        let chunk = [b"8000\r\n".as_slice(), &vec![b'x'; 0x8000], b"\r\n"].concat();
        let answer =
            exchange(address, &body_request("Transfer-Encoding: chunked\r\n", &chunk.repeat(3))).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        let answer = exchange(address, &body_request("Content-Length: 5\r\n", b"hi")).await;
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "a body that never comes: {answer}");
    })
    .await;
}

#[tokio::test]
async fn ambiguous_lengths_smuggle_nothing() {
    beside(Face::Full, limits(), |address, _| async move {
        let hidden = b"0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
        for (extra, status) in [
            // Chunks win (RFC 9112 §6.3), and the connection ends with that answer.
            ("Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", "200"),
            ("Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", "200"),
            ("Content-Length: 5\r\nContent-Length: 6\r\n", "400"),
            ("Content-Length: -1\r\n", "400"),
            ("Content-Length: 99999999999999999999\r\n", "400"),
            ("Transfer-Encoding: gzip\r\n", "400"),
        ] {
            let request = format!("POST /metrics HTTP/1.1\r\nHost: x\r\n{extra}\r\n");
            let answer = exchange(address, &[request.as_bytes(), hidden].concat()).await;
            assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{extra}: {answer}");
            assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{extra}: {answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn heads_are_bounded() {
    beside(Face::Full, limits(), |address, _| async move {
        let long = format!("GET /livez HTTP/1.1\r\nHost: x\r\nX: {}\r\n\r\n", "y".repeat(64 << 10));
        let many = format!("GET /livez HTTP/1.1\r\nHost: x\r\n{}\r\n", "a: b\r\n".repeat(10_000));
        for request in [long, many] {
            let answer = exchange(address, request.as_bytes()).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 431 "), "{answer}");
        }
        for garbage in [&b"\x16\x03\x01\x02\x00\x01"[..], b"PRI * HTTP/1.1\r\n\r\n", b"\0\0\0\0\r\n\r\n"] {
            let answer = exchange(address, garbage).await;
            assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_request_for_an_upgrade_is_answered_over_http_1() {
    beside(Face::Full, limits(), |address, _| async move {
        let upgrade = "GET /livez HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
                       HTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n";
        let answer = exchange(address, upgrade.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn silent_and_slow_clients_are_closed() {
    beside(Face::Full, limits(), |address, _| async move {
        let mut silent = TcpStream::connect(address).await.unwrap();
        let mut cut = TcpStream::connect(address).await.unwrap();
        cut.write_all(b"GET /livez HTT").await.unwrap();
        read_to_close(&mut silent).await;
        read_to_close(&mut cut).await;

        let mut kept = TcpStream::connect(address).await.unwrap();
        kept.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        assert!(read_to_close(&mut kept).await.ends_with("ok\n"), "answered, then closed when idle");

        let mut slow = TcpStream::connect(address).await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for byte in b"GET /livez HTTP/1.1\r\nX: ".iter().chain(std::iter::repeat_n(&b'y', 1000)) {
            if slow.write_all(&[*byte]).await.is_err() {
                return;
            }
            pace.tick().await;
        }
        panic!("a head that drips in was read for 20 s");
    })
    .await;
}

#[tokio::test]
async fn a_body_that_drips_is_read_no_longer_than_a_request_may_take() {
    beside(Face::Full, limits(), |address, state| async move {
        for framing in ["Content-Length: 60000\r\n", "Transfer-Encoding: chunked\r\n"] {
            let mut slow = TcpStream::connect(address).await.unwrap();
            let head = format!("POST {REGISTRATION} HTTP/1.1\r\nHost: x\r\n{framing}\r\n");
            slow.write_all(head.as_bytes()).await.unwrap();
            let mut pace = tokio::time::interval(Duration::from_millis(20));
            let mut dripping = b"1\r\n \r\n".iter().cycle().take(400);
            let is_closed = loop {
                let Some(byte) = dripping.next() else { break false };
                if slow.write_all(&[*byte]).await.is_err() {
                    break true;
                }
                pace.tick().await;
            };
            assert!(is_closed, "{framing}: a body that drips in was read for 8 s");
        }
        assert_eq!(*state.begun.borrow(), 0);
    })
    .await;
}

/// A registration, packed. Nothing is unpacked, so that nobody can send much by sending little.
#[tokio::test]
async fn a_packed_body_is_refused_and_never_unpacked() {
    const PACKED: [u8; 51] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xab, 0x56, 0x4a, 0xce, 0xcf, 0x2b, 0x49,
        0xcc, 0xcc, 0x4b, 0x2d, 0x8a, 0xcf, 0x4b, 0xcc, 0x4d, 0x55, 0xb2, 0x52, 0x4a, 0x54, 0xd2, 0x41, 0x12,
        0xcc, 0x4c, 0x01, 0x0a, 0x25, 0x29, 0xd5, 0x02, 0x00, 0x59, 0x0d, 0xab, 0x2f, 0x29, 0x00, 0x00, 0x00,
    ];
    beside(Face::Full, limits(), |address, state| async move {
        let head = format!(
            "POST {REGISTRATION} HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n",
            PACKED.len()
        );
        let answer = exchange(address, &[head.as_bytes(), &PACKED].concat()).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
        assert_eq!(*state.begun.borrow(), 0);
    })
    .await;
}

#[tokio::test]
async fn an_upgrade_with_a_body_is_answered_over_http_1_and_its_body_is_no_second_request() {
    beside(Face::Full, limits(), |address, _| async move {
        let smuggled = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
        let request = format!(
            "POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\
             HTTP2-Settings: AAMAAABkAAQAAP__\r\nContent-Length: {}\r\n\r\n{smuggled}",
            smuggled.len()
        );
        let answer = exchange(address, request.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        assert!(!answer.contains("101 Switching") && !answer.contains("ok\n"), "{answer}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    })
    .await;
}
