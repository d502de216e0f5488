//! One HTTP call over loopback with nothing around it: what a push would cost by itself.
//!
//! Owns a connection that stays open. Invariant: the same server and a body as long as that of a change.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::error::{BenchError, Result};

/// Bytes of the body.
const BODY: usize = 400;

type Connection = http1::Connection<TokioIo<TcpStream>, Full<Bytes>>;

/// A client that makes one call at a time.
#[derive(Debug)]
pub struct BareCall {
    sender: http1::SendRequest<Full<Bytes>>,
    address: SocketAddr,
}

fn broken(error: &hyper::Error) -> BenchError {
    BenchError::Protocol(format!("the bare call: {error}"))
}

impl BareCall {
    /// Connects. The second part moves the bytes and has to be polled beside the calls.
    ///
    /// # Errors
    /// Nobody listens.
    ///
    /// # Cancel safety
    /// May be dropped at any await point.
    pub async fn connect(address: SocketAddr) -> Result<(Self, Connection)> {
        let stream =
            TcpStream::connect(address).await.map_err(BenchError::io("connect to the application"))?;
        stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| broken(&error))?;
        Ok((Self { sender, address }, connection))
    }

    /// Calls, and tells how long it took to the last byte of the answer.
    ///
    /// # Errors
    /// No answer.
    ///
    /// # Cancel safety
    /// When dropped, the next call fails.
    pub async fn call(&mut self) -> Result<Duration> {
        let request = Request::post("/nothing")
            .header("host", self.address.to_string())
            .body(Full::new(Bytes::from_static(&[b'x'; BODY])))
            .map_err(|error| BenchError::Protocol(error.to_string()))?;
        let start = Instant::now();
        let answer = self.sender.send_request(request).await.map_err(|error| broken(&error))?;
        answer.into_body().collect().await.map_err(|error| broken(&error))?;
        Ok(start.elapsed())
    }
}
