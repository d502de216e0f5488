//! One connection, from its first byte to its end.
//!
//! Owns what is spoken and the limits of each protocol. Left out: what is answered (`route`). The invariants: a client
//! that makes no progress is closed; nothing a client sends costs more than the limits say.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::watch;
use tokio::time::{Instant, timeout_at};

use crate::counts::Turned;
use crate::limits::Limits;
use crate::opening::{self, Spoken};
use crate::receipt::{Receipts, Signing};
use crate::route::{Body, answer};
use crate::seats::Seat;
use crate::security::AnyStream;
use crate::server::{Door, Server};
use crate::streams::Streams;

/// Streams that a client may open and take back before they are looked at (rapid reset).
const RESETS: usize = 20;
/// Streams that may break the rules of HTTP/2 before the connection is closed.
const BROKEN_STREAMS: usize = 32;
/// Bytes of an answer that wait for a client to take them, per stream; and of a body that wait to be read.
const WAITING: u32 = 64 << 10;
/// Bytes of bodies that wait to be read, per connection.
const WAITING_IN_ALL: u32 = 256 << 10;

/// Serves one connection to its end. Errors are the client's: they end the connection and nothing else.
pub(crate) async fn connection(
    stream: AnyStream,
    door: Arc<Door>,
    server: Arc<Server>,
    seat: Arc<Seat>,
    close: watch::Receiver<bool>,
) {
    let wanted = {
        let seat = Arc::clone(&seat);
        async move { seat.wanted().await }
    };
    tokio::select! {
        () = wanted => tracing::debug!("an idle HTTP connection gave way"),
        () = serve(stream, door, server, seat, close) => {}
    }
}

async fn serve(
    stream: AnyStream,
    door: Arc<Door>,
    server: Arc<Server>,
    seat: Arc<Seat>,
    mut close: watch::Receiver<bool>,
) {
    let opening = async {
        tokio::select! {
            opened = open(stream, &server) => opened.ok(),
            _ = close.wait_for(|close| *close) => None,
        }
    };
    let Some((is_http2, stream)) = opening.await else { return };
    let limits = server.limits;
    let receipts = Receipts::default();
    let io = TokioIo::new(Signing::new(stream, receipts.clone()));
    let service = service_fn(move |request: Request<Incoming>| {
        let (server, door, receipts) = (Arc::clone(&server), Arc::clone(&door), receipts.clone());
        let busy = seat.begin();
        async move {
            let answer = answer(request, &door, &server, &receipts).await;
            let answered: Result<Response<Body>, Infallible> =
                Ok(answer.map(|body| body.keeping(busy, &receipts)));
            answered
        }
    });
    let ended = if is_http2 {
        let streams = Streams::new(limits.idle_time);
        let serving = streams.clone().beside(http2(streams, &limits).serve_connection(io, service));
        until(serving, |serving| serving.get_mut().connection().graceful_shutdown(), close).await
    } else {
        let serving = http1(&limits).serve_connection(io, service);
        until(serving, |serving| serving.graceful_shutdown(), close).await
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "HTTP connection ended");
    }
}

/// Finds out what is spoken, beneath TLS if that is it, within the time of a request. `true`: HTTP/2.
async fn open(stream: AnyStream, server: &Server) -> io::Result<(bool, AnyStream)> {
    let until = Instant::now() + server.limits.request_time;
    let (spoken, stream) = timeout_at(until, opening::open(stream)).await??;
    match (spoken, &server.security) {
        (Spoken::Http1, _) => Ok((false, stream)),
        (Spoken::Http2, _) => Ok((true, stream)),
        (Spoken::Tls, None) => Err(io::ErrorKind::Unsupported.into()),
        (Spoken::Tls, Some(security)) => {
            let handshake = timeout_at(until, security.secure(stream)).await;
            let secured = handshake.map_err(io::Error::from).flatten().inspect_err(|error| {
                server.counts.note(Turned::Handshake);
                tracing::debug!(%error, "TLS handshake with an HTTP client failed");
            })?;
            Ok((secured.is_http2, secured.stream))
        }
    }
}

/// Serves until it has ended, or begins to end it when told so.
async fn until<C: Future<Output = hyper::Result<()>>>(
    serving: C,
    end: impl FnOnce(Pin<&mut C>),
    mut close: watch::Receiver<bool>,
) -> hyper::Result<()> {
    let mut serving = pin!(serving);
    tokio::select! {
        ended = serving.as_mut() => return ended,
        _ = close.wait_for(|close| *close) => {}
    }
    end(serving.as_mut());
    serving.await
}

fn http1(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.request_time)
        .max_headers(limits.headers)
        .max_buf_size(usize::try_from(limits.head_bytes).unwrap_or(usize::MAX));
    builder
}

fn http2(streams: Streams, limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(streams);
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .max_header_list_size(limits.head_bytes)
        .max_pending_accept_reset_streams(RESETS)
        .max_local_error_reset_streams(BROKEN_STREAMS)
        .initial_stream_window_size(WAITING)
        .initial_connection_window_size(WAITING_IN_ALL)
        .max_send_buf_size(WAITING as usize);
    builder
}
