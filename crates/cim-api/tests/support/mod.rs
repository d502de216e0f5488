//! A server beside a client, over real sockets.
#![allow(
    dead_code,
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure, and no file uses everything"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cim_api::{
    ApiState, Face, Limits, Readiness, Registering, RegistrationAnswer, RegistrationRequest, Server, bind,
    serve,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

/// Bytes of an answer that the sockets of either side do not hold.
pub const LARGE: usize = 32 << 20;

#[derive(Default)]
pub struct Fake {
    pub broken: AtomicBool,
    pub loud: AtomicBool,
    /// The page of metrics is `LARGE`.
    pub large: AtomicBool,
    /// Registrations that came.
    pub begun: watch::Sender<usize>,
    /// They wait for it, one each.
    pub slow: Notify,
}

impl ApiState for Fake {
    fn readiness(&self) -> Vec<Readiness> {
        let broken = self.broken.load(Ordering::Relaxed);
        vec![
            Readiness { name: "nats".into(), ready: true, text: "listening".into() },
            Readiness { name: "spool".into(), ready: !broken, text: "disk".into() },
        ]
    }
    fn status(&self) -> serde_json::Value {
        serde_json::json!({ "routes": {} })
    }
    fn metrics(&self) -> String {
        let mut page = "# TYPE a counter\na 1\n".to_owned();
        if self.large.load(Ordering::Relaxed) {
            page.push_str(&"#".repeat(LARGE));
        }
        page
    }
    fn log_level(&self) -> Option<&'static str> {
        Some(if self.loud.load(Ordering::Relaxed) { "debug" } else { "info" })
    }
    fn set_log_level(&self, level: &str) -> Result<(), String> {
        match level {
            "debug" | "info" => self.loud.store(level == "debug", Ordering::Relaxed),
            _ => return Err(format!("`{level}` is no level")),
        }
        Ok(())
    }
    fn register(&self, _: RegistrationRequest) -> Option<Registering<'_>> {
        Some(Box::pin(async {
            self.begun.send_modify(|begun| *begun += 1);
            self.slow.notified().await;
            Ok(RegistrationAnswer::default())
        }))
    }
}

pub fn limits() -> Limits {
    Limits {
        connections: 4,
        request_time: Duration::from_millis(300),
        idle_time: Duration::from_millis(300),
        ..Limits::default()
    }
}

/// Runs `client` beside a server.
pub async fn beside<F: Future<Output = ()>>(
    face: Face,
    limits: Limits,
    client: impl FnOnce(SocketAddr, Arc<Fake>) -> F,
) {
    let state = Arc::new(Fake::default());
    let server = Server::new(Arc::clone(&state) as Arc<dyn ApiState>, limits, Arc::default());
    beside_server(face, server, |address| client(address, state)).await;
}

/// The same with a server that was made ready.
pub async fn beside_server<F: Future<Output = ()>>(
    face: Face,
    server: Server,
    client: impl FnOnce(SocketAddr) -> F,
) {
    let listener = bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let (done, stopped) = tokio::sync::oneshot::channel::<()>();
    let stop = async {
        let _ = stopped.await;
    };
    let server = serve(listener.into(), face, Arc::new(server), stop);
    let client = async {
        client(address).await;
        drop(done);
    };
    let both = async { tokio::join!(server, client) };
    let (served, ()) = timeout(Duration::from_secs(20), both).await.expect("test took too long");
    served.unwrap();
}

/// Sends bytes and reads until the server closes.
pub async fn exchange(address: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // A refusal may come while the rest is still being sent.
    let _ = stream.write_all(bytes).await;
    read_to_close(&mut stream).await
}

pub async fn read_to_close(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut answer))
        .await
        .expect("connection stays open");
    String::from_utf8_lossy(&answer).into_owned()
}

pub async fn get(address: SocketAddr, method: &str, path: &str) -> String {
    exchange(address, format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").as_bytes())
        .await
}
