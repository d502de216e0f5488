//! HTTP/2 with prior knowledge, frame by frame: ordinary clients, and those that want to break it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use cim_api::{Face, Limits};
use support::{beside, get, limits};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RESET: u8 = 3;
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const WINDOW_UPDATE: u8 = 8;
const CONTINUATION: u8 = 9;
const ACK: u8 = 1;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A header block: indexed GET and http, the path as a literal, then more literals.
fn head(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&[u8::try_from(text.len()).unwrap()], text.as_bytes()].concat();
    let mut block = [&[0x82, 0x86, 0x04], &text(path)[..], &[0x01], &text("x")].concat();
    for (name, value) in more {
        block.push(0);
        block.extend(text(name));
        block.extend(text(value));
    }
    block
}

struct Client(TcpStream);

struct Frame {
    kind: u8,
    flags: u8,
    stream: u32,
    payload: Vec<u8>,
}

impl Client {
    async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(PREFACE).await.unwrap();
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        let mut client = Self(stream);
        while client.next().await.unwrap().kind != SETTINGS {}
        client.send(&frame(SETTINGS, ACK, 0, &[])).await;
        client
    }

    async fn send(&mut self, bytes: &[u8]) -> bool {
        self.0.write_all(bytes).await.is_ok()
    }

    /// The next frame; `None` at the end.
    async fn next(&mut self) -> Option<Frame> {
        let mut head = [0; 9];
        self.0.read_exact(&mut head).await.ok()?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
        let mut payload = vec![0; length as usize];
        self.0.read_exact(&mut payload).await.ok()?;
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Some(Frame { kind: head[3], flags: head[4], stream, payload })
    }

    /// The first byte of the head of the answer (a number of the static table for 200, 400, 404), and its body.
    async fn answer(&mut self, stream: u32) -> (u8, String) {
        let (mut status, mut body) = (0, Vec::new());
        while let Some(frame) = self.next().await {
            if frame.stream != stream {
                continue;
            }
            match frame.kind {
                HEADERS => status = frame.payload[0],
                DATA => body.extend(frame.payload),
                RESET => return (0, "reset".to_owned()),
                _ => {}
            }
            if matches!(frame.kind, HEADERS | DATA) && frame.flags & END_STREAM != 0 {
                return (status, String::from_utf8(body).unwrap());
            }
        }
        (0, "closed".to_owned())
    }

    async fn get(&mut self, stream: u32, path: &str) -> (u8, String) {
        self.send(&frame(HEADERS, END_HEADERS | END_STREAM, stream, &head(path, &[]))).await;
        self.answer(stream).await
    }
}

const OK: u8 = 0x88;
const NOT_FOUND: u8 = 0x8d;
/// How often it is tried on a machine that does not let the client run in time.
const TRIES: usize = 5;

#[tokio::test]
async fn prior_knowledge_is_answered_as_http_1_is() {
    beside(Face::Full, limits(), |address, _| async move {
        let mut client = Client::connect(address).await;
        assert_eq!(client.get(1, "/livez").await, (OK, "ok\n".to_owned()));
        assert_eq!(client.get(3, "/nope").await, (NOT_FOUND, "404 page not found\n".to_owned()));
        let (status, body) = client.get(5, "/metrics").await;
        assert_eq!((status, body.as_str()), (OK, "# TYPE a counter\na 1\n"));
        assert!(get(address, "GET", "/metrics").await.ends_with(&body));
    })
    .await;
}

#[tokio::test]
async fn a_preface_in_pieces_is_understood_and_half_a_preface_is_not_waited_for() {
    beside(Face::Full, limits(), |address, _| async move {
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        for byte in PREFACE {
            stream.write_all(&[*byte]).await.unwrap();
        }
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await.unwrap();
        assert_eq!(Client(stream).get(1, "/livez").await.0, OK);

        let mut half = TcpStream::connect(address).await.unwrap();
        half.write_all(&PREFACE[..20]).await.unwrap();
        support::read_to_close(&mut half).await;
    })
    .await;
}

#[tokio::test]
async fn bodies_and_heads_are_bounded() {
    let patient = Limits { idle_time: Duration::from_secs(5), ..limits() };
    beside(Face::Full, patient, |address, _| async move {
        let mut client = Client::connect(address).await;
        let large = head("/metrics", &[("content-length", "10485760")]);
        client.send(&frame(HEADERS, END_HEADERS, 1, &large)).await;
        let (status, body) = client.answer(1).await;
        assert!(status != OK && body == "request body too large\n", "{status:#x} {body}");

        let mut client = Client::connect(address).await;
        client.send(&frame(HEADERS, END_HEADERS, 1, &head("/metrics", &[]))).await;
        for _ in 0..4 {
            client.send(&frame(DATA, 0, 1, &[b'x'; 16 << 10])).await;
        }
        while client.next().await.expect("a larger window").kind != WINDOW_UPDATE {}
        client.send(&frame(DATA, 0, 1, b"x")).await;
        let (status, body) = client.answer(1).await;
        assert!(status != OK && body == "request body too large\n", "{status:#x} {body}");

        let mut client = Client::connect(address).await;
        client.send(&frame(HEADERS, END_HEADERS, 1, &head("/metrics", &[]))).await;
        let (_, body) = client.answer(1).await;
        assert_eq!(body, "request body took too long\n");

        let mut client = Client::connect(address).await;
        let many = [("a", "b"); 100];
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("/livez", &many))).await;
        let (status, body) = client.answer(1).await;
        assert!(status != OK && body == "too many headers\n", "{status:#x} {body}");

        let mut client = Client::connect(address).await;
        let long = "y".repeat(120);
        let large = vec![("x", long.as_str()); 120];
        client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("/livez", &large))).await;
        assert_ne!(client.answer(1).await.0, OK, "more than 16 KiB of headers");
    })
    .await;
}

/// Whether the server ends the connection while frames keep coming.
async fn is_ended(address: SocketAddr, frames: impl Fn(u32) -> Vec<u8>) -> bool {
    let mut client = Client::connect(address).await;
    for number in 0..20_000 {
        if !client.send(&frames(number)).await {
            return true;
        }
        if number % 500 == 0 {
            tokio::task::yield_now().await;
        }
    }
    while let Some(frame) = client.next().await {
        if frame.kind == GOAWAY {
            return true;
        }
    }
    true
}

#[tokio::test]
async fn floods_end_the_connection_and_nothing_else() {
    beside(Face::Full, limits(), |address, _| async move {
        let resets = |number: u32| {
            let stream = number * 2 + 1;
            let begin = frame(HEADERS, END_HEADERS | END_STREAM, stream, &head("/livez", &[]));
            [begin, frame(RESET, 0, stream, &8u32.to_be_bytes())].concat()
        };
        assert!(is_ended(address, resets).await, "rapid reset");
        let continuations = |number: u32| match number {
            0 => frame(HEADERS, END_STREAM, 1, &head("/livez", &[])),
            _ => frame(CONTINUATION, 0, 1, &[0, 1, b'a', 1, b'b']),
        };
        assert!(is_ended(address, continuations).await, "a head without end");
        let garbage = |_| frame(0xff, 0xff, u32::MAX, &[0xff; 100]);
        assert!(is_ended(address, garbage).await, "frames of no kind");
        assert!(get(address, "GET", "/livez").await.ends_with("ok\n"));
    })
    .await;
}

#[tokio::test]
async fn ten_thousand_streams_at_once_are_refused_above_the_limit() {
    beside(Face::Full, limits(), |address, _| async move {
        let mut client = Client::connect(address).await;
        let block = head("/api/v1/_operations/xgvela/register", &[]);
        for number in 0..10_000u32 {
            // Without the end of the body: each waits for it.
            if !client.send(&frame(HEADERS, END_HEADERS, number * 2 + 1, &block)).await {
                break;
            }
        }
        assert!(get(address, "GET", "/livez").await.ends_with("ok\n"));
        let mut refused = 0;
        while let Some(frame) = client.next().await {
            refused += usize::from(frame.kind == RESET || frame.kind == GOAWAY);
        }
        assert!(refused > 0);
    })
    .await;
}

/// Sends PING all the time and takes nothing of an answer; how that ended, and the longest time between two PINGs.
async fn take_nothing(address: SocketAddr) -> (&'static str, Duration) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(PREFACE).await.unwrap();
    // SETTINGS_INITIAL_WINDOW_SIZE 0: not a byte of a body may be sent.
    stream.write_all(&frame(SETTINGS, 0, 0, &[0, 4, 0, 0, 0, 0])).await.unwrap();
    let mut client = Client(stream);
    client.send(&frame(HEADERS, END_HEADERS | END_STREAM, 1, &head("/metrics", &[]))).await;
    let ping = frame(6, 0, 0, &[0; 8]);
    let mut ticks = tokio::time::interval(Duration::from_millis(50));
    let (mut sent, mut longest) = (Instant::now(), Duration::ZERO);
    loop {
        ticks.tick().await;
        longest = longest.max(sent.elapsed());
        sent = Instant::now();
        if !client.send(&ping).await {
            return ("closed", longest);
        }
        while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(5), client.next()).await {
            if frame.kind == RESET {
                return ("reset", longest);
            }
        }
    }
}

#[tokio::test]
async fn an_answer_that_nobody_takes_is_given_up() {
    beside(Face::Full, limits(), |address, _| async move {
        for _ in 0..TRIES {
            let given_up = tokio::time::timeout(Duration::from_secs(5), take_nothing(address)).await;
            let (how, longest) = given_up.expect("it is given up");
            // A client that was not let run is rightly closed as an idle one.
            if how == "closed" && longest > limits().idle_time * 5 / 6 {
                continue;
            }
            assert_eq!(how, "reset", "{longest:?} between two PINGs");
            return;
        }
        panic!("the machine never let the client run");
    })
    .await;
}
