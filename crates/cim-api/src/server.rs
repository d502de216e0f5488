//! The accept loop and its limits.
//!
//! One future per listener holds all of its connections, so nothing is spawned and dropping the future closes
//! everything. Left out: what is answered (`route`). The invariant: never more than `Limits::connections` open.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use crate::idle::IdleStream;
use crate::receipt::Receipts;
use crate::route::answer;
use crate::state::{ApiState, Face};

/// What one client may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open connections; further ones wait in the backlog.
    pub connections: usize,
    /// Bytes of a request body; more is 413.
    pub body_bytes: usize,
    /// Bytes of a request line and its headers; more is 431 (or a close).
    pub head_bytes: usize,
    /// Header lines; more is 431.
    pub headers: usize,
    /// Time for a whole request head, and for a whole body.
    pub request_time: Duration,
    /// Time without a byte in either direction.
    pub idle_time: Duration,
    /// Time that open requests get when the server stops.
    pub drain_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 64,
            body_bytes: 64 << 10,
            head_bytes: 16 << 10,
            headers: 64,
            request_time: Duration::from_secs(10),
            idle_time: Duration::from_secs(30),
            drain_time: Duration::from_millis(500),
        }
    }
}

/// Pause after a failed accept: usually no free file descriptor, which does not end at once.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves one listener until `stop` is ready, then lets open requests finish for `Limits::drain_time`.
///
/// # Errors
/// When the listener cannot be used by the runtime. A failing connection or accept never ends the server.
///
/// # Cancel safety
/// Dropping the future closes the listener and every connection at once.
pub async fn serve(
    listener: std::net::TcpListener,
    face: Face,
    state: Arc<dyn ApiState>,
    limits: Limits,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let (closing, close) = watch::channel(false);
    let mut connections = FuturesUnordered::new();
    let mut stop = pin!(stop);
    loop {
        let room = connections.len() < limits.connections;
        tokio::select! {
            biased;
            () = &mut stop => break,
            Some(()) = connections.next() => {}
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    connections.push(connection(stream, face, Arc::clone(&state), limits, close.clone()));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept an HTTP connection; trying again");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    let _ = closing.send(true);
    let rest = async { while connections.next().await.is_some() {} };
    let _ = timeout(limits.drain_time, rest).await;
    Ok(())
}

/// Serves one connection to its end. Errors are the client's: they end the connection and nothing else.
async fn connection(
    stream: TcpStream,
    face: Face,
    state: Arc<dyn ApiState>,
    limits: Limits,
    mut close: watch::Receiver<bool>,
) {
    let _ = stream.set_nodelay(true);
    let receipts = Receipts::default();
    let io = TokioIo::new(IdleStream::new(stream, limits.idle_time, receipts.clone()));
    let service = service_fn(move |request| {
        let (state, receipts) = (Arc::clone(&state), receipts.clone());
        async move { Ok::<_, Infallible>(answer(request, face, state.as_ref(), &limits, &receipts).await) }
    });
    let mut serving = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(limits.request_time)
            .max_headers(limits.headers)
            .max_buf_size(limits.head_bytes)
            .serve_connection(io, service)
    );
    let ended = tokio::select! {
        ended = serving.as_mut() => ended,
        _ = close.changed() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection ended");
    }
}
