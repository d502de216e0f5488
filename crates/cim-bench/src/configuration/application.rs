//! An application that takes every change: HTTP/1.1, and its word on CONFIG from inside the handler.
//!
//! Owns the moment at which a body was read. Left out: what is made of it. Invariant: that moment is noted before anything
//! else is done with the call.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::results::Results;
use crate::error::{BenchError, Result};

/// Calls that may wait to be looked at; the application waits with its answer while there is no room.
const ROOM: usize = 1024;

/// A change that was handed over.
#[derive(Debug, Clone)]
pub struct Handed {
    /// When its body was read.
    pub at: Instant,
    /// The document.
    pub document: String,
    /// The revision.
    pub revision: i32,
}

#[derive(Deserialize)]
struct Body {
    #[serde(rename = "change-set-key")]
    change_set_key: String,
    #[serde(rename = "data-key")]
    data_key: String,
    revision: String,
}

/// The application.
#[derive(Debug)]
pub struct Application {
    listener: TcpListener,
    calls: mpsc::Sender<Handed>,
}

impl Application {
    /// An application on that address, and the changes it is handed.
    ///
    /// # Errors
    /// The port is taken.
    ///
    /// # Cancel safety
    /// Nothing is bound when dropped.
    pub async fn bind(address: SocketAddr) -> Result<(Self, mpsc::Receiver<Handed>)> {
        let listener = TcpListener::bind(address).await.map_err(BenchError::io("bind the application"))?;
        let (calls, handed) = mpsc::channel(ROOM);
        Ok((Self { listener, calls }, handed))
    }

    /// Serves until it fails.
    ///
    /// # Errors
    /// Connections cannot be taken any more.
    ///
    /// # Cancel safety
    /// When dropped, the connections end.
    pub async fn serve(&self, results: &Results) -> Result<Infallible> {
        let mut open = FuturesUnordered::new();
        loop {
            tokio::select! {
                accepted = self.listener.accept() => {
                    let (stream, _) = accepted.map_err(BenchError::io("take a connection"))?;
                    stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
                    let service = service_fn(|request| self.handle(request, results));
                    open.push(http1::Builder::new().serve_connection(TokioIo::new(stream), service));
                }
                Some(_) = open.next(), if !open.is_empty() => {}
            }
        }
    }

    async fn handle(&self, request: Request<Incoming>, results: &Results) -> Result<Response<Empty<Bytes>>> {
        let is_change = request.uri().path() == "/updateConfig";
        let body = request.into_body().collect().await;
        let at = Instant::now();
        let body = body.map_err(|error| BenchError::Protocol(format!("a call broke off: {error}")))?;
        if is_change {
            let body: Body = serde_json::from_slice(&body.to_bytes())
                .map_err(|error| BenchError::Protocol(format!("a call that is no change: {error}")))?;
            let revision = body.revision.parse();
            let revision =
                revision.map_err(|_| BenchError::Protocol(format!("revision {}", body.revision)))?;
            let _ = self.calls.send(Handed { at, document: body.data_key, revision }).await;
            results.success(&body.change_set_key, revision).await?;
        }
        Ok(Response::new(Empty::new()))
    }
}
