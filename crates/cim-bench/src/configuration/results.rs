//! What an application says on CONFIG, over a NATS connection of its own.
//!
//! Left out: what CIM makes of it. Invariant: a PING of the server is always answered.

use std::convert::Infallible;
use std::net::SocketAddr;

use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Mutex;

use crate::error::{BenchError, Result};

/// A connection to CONFIG.
#[derive(Debug)]
pub struct Results {
    lines: Mutex<BufReader<OwnedReadHalf>>,
    out: Mutex<OwnedWriteHalf>,
}

impl Results {
    /// Connects.
    ///
    /// # Errors
    /// Nobody listens.
    ///
    /// # Cancel safety
    /// When dropped, the connection ends.
    pub async fn connect(nats: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(nats).await.map_err(BenchError::io("connect to NATS"))?;
        stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
        let (lines, out) = stream.into_split();
        let results = Self { lines: Mutex::new(BufReader::new(lines)), out: Mutex::new(out) };
        results.write(b"CONNECT {\"verbose\":false,\"name\":\"application\"}\r\n").await?;
        Ok(results)
    }

    /// The change is in force.
    ///
    /// # Errors
    /// The connection has ended.
    ///
    /// # Cancel safety
    /// When dropped, a part of the message may have been sent.
    pub async fn success(&self, change_set_key: &str, revision: i32) -> Result<()> {
        let text = serde_json::json!({
            "change-set-key": change_set_key,
            "revision": revision.to_string(),
            "status": "success",
            "remarks": "",
        });
        let text = text.to_string();
        self.write(format!("PUB CONFIG {}\r\n{text}\r\n", text.len()).as_bytes()).await
    }

    /// Answers the server until the connection ends.
    ///
    /// # Errors
    /// It has ended.
    ///
    /// # Cancel safety
    /// May be dropped and called again, except that a line which was being read is lost.
    pub async fn keep(&self) -> Result<Infallible> {
        let mut lines = self.lines.lock().await;
        let mut line = String::new();
        loop {
            line.clear();
            let count = lines.read_line(&mut line).await.map_err(BenchError::io("read from NATS"))?;
            if count == 0 || line.starts_with("-ERR") {
                return Err(BenchError::Protocol(format!("the connection to CONFIG ended: {line}")));
            }
            if line.starts_with("PING") {
                self.write(b"PONG\r\n").await?;
            }
        }
    }

    async fn write(&self, bytes: &[u8]) -> Result<()> {
        self.out.lock().await.write_all(bytes).await.map_err(BenchError::io("write to NATS"))
    }
}
