//! Who is turned away by the head of a request, and how.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cim_api::{
    AnyStream, Face, HttpCounts, Limits, Securing, Security, Server, Turned, bind, bind_socket, serve,
};
use support::{Fake, beside, beside_server, exchange, get, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

const REGISTER: &str = "/api/v1/_operations/xgvela/register";

fn guarded(counts: &Arc<HttpCounts>) -> Server {
    let server = Server::new(Arc::new(Fake::default()), limits(), Arc::clone(counts));
    server.guarded_by(Box::new(|token| token == b"canary"))
}

fn status(answer: &str) -> &str {
    answer.split(' ').nth(1).unwrap_or_default()
}

#[tokio::test]
async fn unclean_paths_are_redirected_as_recorded() {
    beside(Face::Full, limits(), |address, _| async move {
        for (method, path, location) in [
            ("GET", "//metrics", "/metrics"),
            ("POST", &format!("/api/..{REGISTER}"), REGISTER),
            ("GET", "/./nope?a=//b", "/nope?a=//b"),
            ("GET", "//host.example/..//x", "/x"),
        ] {
            let answer = get(address, method, path).await;
            let lines: Vec<_> = answer.split("\r\n").filter(|line| !line.starts_with("date:")).collect();
            let location = format!("location: {location}");
            let expected = [
                "HTTP/1.1 301 Moved Permanently",
                &location,
                "connection: close",
                "content-length: 0",
                "",
                "",
            ];
            assert_eq!(lines, expected, "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn without_the_token_there_is_health_and_metrics_and_nothing_else() {
    let counts = Arc::new(HttpCounts::default());
    beside_server(Face::Full, guarded(&counts), |address| async move {
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(status(&get(address, "GET", path).await), "200", "{path}");
        }
        for path in ["/statusz", "/loglevel", REGISTER, "/nope", "/api/v1/_operations/event/subscriptions"] {
            let answer = get(address, "POST", path).await;
            assert_eq!(status(&answer), "401", "{path}");
            assert!(answer.contains("www-authenticate: Bearer realm=\"cim\"\r\n"), "{answer}");
        }
        for (token, expected) in [
            ("Bearer canary", "200"),
            ("bearer canary", "200"),
            ("Bearer canar", "401"),
            ("Basic canary", "401"),
        ] {
            let head = format!(
                "GET /statusz HTTP/1.1\r\nHost: x\r\nConnection: close\r\nAuthorization: {token}\r\n\r\n"
            );
            let answer = exchange(address, head.as_bytes()).await;
            assert_eq!(status(&answer), expected, "{token}");
            assert!(!answer.contains("canary"));
        }
    })
    .await;
    assert_eq!(counts.get(Turned::Token), 7);
}

#[tokio::test]
async fn the_socket_is_for_its_owner_who_needs_no_token() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("api.sock");
    let listener = bind_socket(&path).unwrap();
    let (done, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = serve(listener.into(), Face::Full, Arc::new(guarded(&Arc::default())), async {
        let _ = stopped.await;
    });
    let client = async {
        let mut stream = UnixStream::connect(&path).await.unwrap();
        stream.write_all(b"GET /statusz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert_eq!(status(&answer), "200");
        drop(done);
    };
    let (served, ()) = tokio::join!(server, client);
    served.unwrap();
}

#[tokio::test]
async fn above_the_rate_requests_are_told_when_to_come_back_and_probes_are_always_answered() {
    let slow = Limits { requests_per_second: 5, ..limits() };
    beside(Face::Full, slow, |address, _| async move {
        let (mut refused, begun) = (0, Instant::now());
        for _ in 0..20 {
            let answer = get(address, "GET", "/metrics").await;
            if status(&answer) == "429" {
                assert!(answer.contains("retry-after: 1\r\n"), "{answer}");
                refused += 1;
            }
        }
        // Those that the rate gave back meanwhile, and one on the edge.
        let more = (begun.elapsed().as_secs_f64() * 5.0) as usize + 1;
        assert!(refused <= 10 && refused + more >= 10, "{refused} of 20, with a burst of 10 and {more} more");
        for path in ["/livez", "/readyz"].repeat(20) {
            assert_eq!(status(&get(address, "GET", path).await), "200", "{path}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_flood_at_one_listener_is_felt_at_no_other() {
    let state = Arc::new(Fake::default());
    let slow = Limits { requests_per_second: 5, ..limits() };
    let server = Arc::new(Server::new(state, slow, Arc::default()));
    let [flooded, other] = [(); 2].map(|()| bind("127.0.0.1:0".parse().unwrap()).unwrap());
    let addresses = [&flooded, &other].map(|listener| listener.local_addr().unwrap());
    let (done, stopped) = tokio::sync::watch::channel(false);
    let stop = || {
        let mut stopped = stopped.clone();
        async move {
            let _ = stopped.wait_for(|done| *done).await;
        }
    };
    let client = async {
        while status(&get(addresses[0], "GET", "/metrics").await) != "429" {}
        assert_eq!(status(&get(addresses[1], "GET", "/metrics").await), "200");
        done.send(true).unwrap();
    };
    let (one, two, ()) = tokio::join!(
        serve(flooded.into(), Face::Full, Arc::clone(&server), stop()),
        serve(other.into(), Face::Probes, server, stop()),
        client
    );
    one.and(two).unwrap();
}

#[tokio::test]
async fn the_log_level_is_told_and_changed_on_the_full_face_only() {
    let put = |body: &str| {
        let length = body.len();
        format!(
            "PUT /loglevel HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    beside(Face::Full, limits(), |address, _| async move {
        let level = |answer: String| answer.rsplit("\r\n\r\n").next().unwrap().to_owned();
        assert_eq!(level(get(address, "GET", "/loglevel").await), "{\"level\":\"info\"}\n");
        for body in ["debug", "{\"level\":\"debug\"}"] {
            assert_eq!(level(exchange(address, put(body).as_bytes()).await), "{\"level\":\"debug\"}\n");
        }
        for body in ["loud", "{", "", "{\"level\":7}"] {
            let answer = exchange(address, put(body).as_bytes()).await;
            assert_eq!(status(&answer), "400", "{body}: {answer}");
        }
        assert_eq!(level(get(address, "GET", "/loglevel").await), "{\"level\":\"debug\"}\n");
        assert_eq!(status(&get(address, "POST", "/loglevel").await), "405");
    })
    .await;
    beside(Face::Probes, limits(), |address, _| async move {
        assert_eq!(status(&get(address, "GET", "/loglevel").await), "404");
    })
    .await;
}

/// Reads on as long as something comes, as a handshake does that never is whole.
struct Patient;

impl Security for Patient {
    fn secure(&self, mut stream: AnyStream) -> Securing<'_> {
        Box::pin(async move {
            let mut byte = [0];
            while stream.read(&mut byte).await? > 0 {}
            Err(std::io::ErrorKind::UnexpectedEof.into())
        })
    }
}

#[tokio::test]
async fn a_handshake_that_drips_is_closed_after_the_time_of_a_request_and_counted() {
    let counts = Arc::new(HttpCounts::default());
    let state = Arc::new(Fake::default());
    let server = Server::new(state, limits(), Arc::clone(&counts)).secured_by(Arc::new(Patient));
    beside_server(Face::Full, server, |address| async move {
        let mut slow = TcpStream::connect(address).await.unwrap();
        let mut pace = tokio::time::interval(Duration::from_millis(20));
        for byte in [0x16].into_iter().chain(std::iter::repeat_n(3, 400)) {
            if slow.write_all(&[byte]).await.is_err() {
                return;
            }
            pace.tick().await;
        }
        panic!("a handshake that drips in was read for 8 s");
    })
    .await;
    assert_eq!(counts.get(Turned::Handshake), 1);
}
