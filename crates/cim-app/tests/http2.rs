//! The same calls over HTTP/2, to a server of the library, and to one that says GOAWAY.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::disallowed_methods,
    reason = "test code: a failed step is the failure, and a server needs a task"
)]

#[allow(dead_code, reason = "each test uses its part")]
mod support;

use std::convert::Infallible;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use cim_core::{Application, CallError};
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use hyper::{Request, Response, body::Incoming};
use hyper_util::rt::{TokioExecutor, TokioIo};
use support::{PUSH, Server, client};
use tokio::net::TcpListener;

/// A server that echoes, and counts connections. After `goodbye` answers it ends a connection.
async fn server(goodbye: usize) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&connections);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let served = Arc::new(tokio::sync::Semaphore::new(0));
                let serving = Arc::clone(&served);
                let echo = service_fn(move |request: Request<Incoming>| {
                    let served = Arc::clone(&serving);
                    async move {
                        served.add_permits(1);
                        let head =
                            format!("{} {} {:?}\n", request.method(), request.uri(), request.version());
                        let body = request.into_body().collect().await.unwrap().to_bytes();
                        let text = [head.as_bytes(), &body].concat();
                        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(text))))
                    }
                });
                let builder = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                let mut connection = std::pin::pin!(builder.serve_connection(TokioIo::new(stream), echo));
                let enough = u32::try_from(goodbye).unwrap();
                tokio::select! {
                    _ = connection.as_mut() => return,
                    _ = served.acquire_many(enough) => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            });
        }
    });
    (address, connections)
}

#[tokio::test]
async fn calls_are_made_by_prior_knowledge_over_one_connection() {
    let (address, connections) = server(1_000).await;
    let application = client(address, "10s", true);
    for _ in 0..50 {
        let answer = application.update_config(&PUSH).await.unwrap();
        let text = String::from_utf8(answer.body).unwrap();
        let (head, body) = text.split_once('\n').unwrap();
        assert_eq!(head, format!("POST http://localhost:{}/updateConfig HTTP/2.0", address.port()));
        assert!(body.starts_with(r#"{"change-set-key":"#), "{body}");
    }
    let answer = application.get("/health").await.unwrap();
    assert!(answer.body.starts_with(b"GET "));
    assert_eq!(connections.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn large_bodies_cross_in_both_directions() {
    let (address, _) = server(1_000).await;
    let application = client(address, "10s", true);
    let document = vec![b'x'; 4 << 20];
    let answer = application.load_config(&document).await.unwrap();
    assert_eq!((answer.status, answer.body.len()), (200, 64 << 10));
    assert_eq!(application.get("/after").await.unwrap().status, 200);
}

#[tokio::test]
async fn after_goaway_the_next_call_takes_a_fresh_connection() {
    let (address, connections) = server(1).await;
    let application = client(address, "10s", true);
    for _ in 0..20 {
        assert_eq!(application.update_config(&PUSH).await.unwrap().status, 200);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 20);
}

#[tokio::test]
async fn calls_at_the_same_time_and_dropped_calls_harm_no_other() {
    let (address, _) = server(1_000).await;
    let application = client(address, "10s", true);
    for micros in (0..2_000).step_by(100) {
        let limit = std::time::Duration::from_micros(micros);
        let _ = tokio::time::timeout(limit, application.update_config(&PUSH)).await;
        let calls = (0..8).map(|_| application.get("/after"));
        for answer in futures_util::future::join_all(calls).await {
            assert_eq!(answer.unwrap().status, 200);
        }
    }
}

#[tokio::test]
async fn a_server_of_the_other_protocol_is_no_hang() {
    let old = Server::answering(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
    let error = client(old.address, "5s", true).update_config(&PUSH).await.unwrap_err();
    assert!(!matches!(error, CallError::TimedOut(_)), "{error}");

    let listener = StdListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let _ = stream.read(&mut [0; 64]);
            // SETTINGS, then GOAWAY with "enhance your calm".
            let _ = stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]);
            let _ = stream.write_all(&[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
            while stream.read(&mut [0; 64]).is_ok_and(|count| count > 0) {}
        }
    });
    let error = client(address, "5s", true).update_config(&PUSH).await.unwrap_err();
    assert!(matches!(error, CallError::Unreachable(_)), "{error}");
}
