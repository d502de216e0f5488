//! Pages of metrics over real sockets: compression, and what a scraper takes away.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::io::Read as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use cim_api::{AlignedPage, Aligning, ApiState, Face, Limits, Readiness, Receipt, Server, bind, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::timeout;

/// More than the buffers of a connection hold.
const LARGE: usize = 32 << 20;
const SCRAPER: &str = "Accept: text/plain;version=0.0.4\r\n";

/// A page that counts who took it, and who did not get it.
struct Fake {
    page: String,
    counts: Arc<watch::Sender<(usize, usize)>>,
}

impl Fake {
    fn new(page: String) -> Arc<Self> {
        Arc::new(Self { page, counts: Arc::default() })
    }

    fn counts(&self) -> (usize, usize) {
        *self.counts.borrow()
    }
}

/// Counts when it is dropped.
struct Dropped(Arc<watch::Sender<(usize, usize)>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.send_modify(|(_, broken_off)| *broken_off += 1);
    }
}

impl ApiState for Fake {
    fn readiness(&self) -> Vec<Readiness> {
        Vec::new()
    }
    fn status(&self) -> serde_json::Value {
        serde_json::Value::Null
    }
    fn metrics(&self) -> String {
        self.page.clone()
    }
    fn aligned(&self, is_scraper: bool) -> Option<Aligning<'_>> {
        let receipt = is_scraper.then(|| {
            let (counts, broken) = (Arc::clone(&self.counts), Dropped(Arc::clone(&self.counts)));
            Receipt::new(move || {
                counts.send_modify(|(taken, _)| *taken += 1);
                std::mem::forget(broken);
            })
        });
        Some(Box::pin(async move { AlignedPage { text: self.page.clone(), receipt } }))
    }
}

/// Runs `client` beside a server that ends connections without progress soon.
async fn beside<F: Future<Output = ()>>(state: Arc<Fake>, client: impl FnOnce(SocketAddr) -> F) {
    let limits = Limits { idle_time: Duration::from_millis(300), ..Limits::default() };
    beside_with(limits, state, client).await;
}

async fn beside_with<F: Future<Output = ()>>(
    limits: Limits,
    state: Arc<Fake>,
    client: impl FnOnce(SocketAddr) -> F,
) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (done, stopped) = tokio::sync::oneshot::channel::<()>();
    let server = Arc::new(Server::new(state, limits, Arc::default()));
    let server = serve(listener.into(), Face::Probes, server, async {
        let _ = stopped.await;
    });
    let client = async {
        client(address).await;
        drop(done);
    };
    let both = async { tokio::join!(server, client) };
    timeout(Duration::from_secs(20), both).await.expect("test took too long").0.unwrap();
}

/// Head and body of an answer.
async fn ask(address: SocketAddr, method: &str, path: &str, headers: &str) -> (String, Vec<u8>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    let body = answer.split_off(end);
    (String::from_utf8(answer).unwrap(), body)
}

/// Waits until receipts were signed and dropped so often.
async fn counts(state: &Fake, expected: (usize, usize)) {
    let mut counts = state.counts.subscribe();
    let reached = timeout(Duration::from_secs(5), counts.wait_for(|counts| *counts == expected)).await;
    assert!(reached.is_ok(), "{:?}", state.counts());
}

#[tokio::test]
async fn a_page_is_compressed_for_those_who_take_it() {
    for size in [10, 1 << 20] {
        let state = Fake::new("a 1\n".repeat(size / 4));
        let page = state.page.clone();
        beside(state, |address| async move {
            for path in ["/metrics", "/metrics/aligned"] {
                let (head, body) = ask(address, "GET", path, "Accept-Encoding: gzip\r\n").await;
                assert!(head.contains("content-encoding: gzip\r\n"), "{head}");
                let mut text = String::new();
                flate2::read::GzDecoder::new(body.as_slice()).read_to_string(&mut text).unwrap();
                assert_eq!(text, page);
                let (head, body) = ask(address, "GET", path, "Accept-Encoding: gzip;q=0\r\n").await;
                assert!(!head.contains("content-encoding"), "{head}");
                assert_eq!(body, page.as_bytes());
            }
        })
        .await;
    }
}

#[tokio::test]
async fn an_empty_page_is_200_without_a_body() {
    beside(Fake::new(String::new()), |address| async move {
        let (head, body) = ask(address, "GET", "/metrics", "Accept-Encoding: gzip\r\n").await;
        assert!(
            head.starts_with("HTTP/1.1 200 OK\r\ncontent-type: text/plain; version=0.0.4; charset=utf-8\r\n")
        );
        assert!(head.contains("content-length: 0\r\n") && body.is_empty(), "{head}");
    })
    .await;
}

#[tokio::test]
async fn a_scraper_takes_the_page_and_one_who_looks_does_not() {
    let state = Fake::new("a 1\n".to_owned());
    beside(Arc::clone(&state), |address| async move {
        for headers in ["", "Accept: */*\r\n", "User-Agent: kube-probe/1.30\r\n"] {
            assert_eq!(ask(address, "GET", "/metrics/aligned", headers).await.1, b"a 1\n");
        }
        assert_eq!(state.counts(), (0, 0));
        assert_eq!(ask(address, "PUT", "/metrics/aligned", SCRAPER).await.1, b"a 1\n");
        counts(&state, (1, 0)).await;
    })
    .await;
}

#[tokio::test]
async fn a_scraper_that_dies_in_the_middle_of_the_answer_has_taken_nothing() {
    let state = Fake::new("a 1\n".repeat(LARGE / 4));
    let seen = Arc::clone(&state);
    beside(Arc::clone(&state), |address| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET /metrics/aligned HTTP/1.1\r\nHost: x\r\n{SCRAPER}\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut first = [0; 4096];
        stream.read_exact(&mut first).await.unwrap();
        drop(stream);
        counts(&seen, (0, 1)).await;
        // One that reads slowly, or not at all, is cut, and has taken nothing either.
        let mut silent = TcpStream::connect(address).await.unwrap();
        silent.write_all(request.as_bytes()).await.unwrap();
        counts(&seen, (0, 2)).await;
    })
    .await;
    // One that reads as fast as the machine lets it, from a server that waits for it.
    beside_with(Limits::default(), Arc::clone(&state), |address| async move {
        assert_eq!(ask(address, "GET", "/metrics/aligned", SCRAPER).await.1.len(), LARGE);
        counts(&state, (1, 2)).await;
    })
    .await;
}

#[tokio::test]
async fn a_request_for_the_head_alone_takes_nothing() {
    let state = Fake::new("a 1\n".to_owned());
    beside(Arc::clone(&state), |address| async move {
        let (head, body) = ask(address, "HEAD", "/metrics/aligned", SCRAPER).await;
        assert!(head.starts_with("HTTP/1.1 200 ") && body.is_empty(), "{head}");
        counts(&state, (0, 1)).await;
    })
    .await;
}
