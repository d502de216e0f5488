//! One connection to the application, together with the future that moves its bytes.
//!
//! Owns connecting, the choice of the protocol and running both halves in one task. Left out: when a connection is used again (`idle`)
//! and what its errors mean (`call`). Invariant: whoever waits for something of the connection also drives it, so that
//! nothing has to run beside the caller.

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::time::Duration;

use bytes::Bytes;
use cim_core::CallError;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::{TrySendError, http1, http2};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::call;
use crate::security::{AnyStream, Security};
use crate::tasks::Tasks;

/// Longest wait for a connection. The application is in the same pod: it takes one at once or not at all.
const CONNECT: Duration = Duration::from_secs(2);

/// Longest head of an answer, and what is read ahead of a body.
const READ_AHEAD: usize = 64 << 10;

pub(crate) type Call = Request<Full<Bytes>>;
type SendError = TrySendError<Call>;
type Driver = Pin<Box<dyn Future<Output = ()> + Send>>;

enum Sender {
    Http1(http1::SendRequest<Full<Bytes>>),
    Http2(http2::SendRequest<Full<Bytes>>),
}

/// A connection that serves one call at a time.
pub(crate) struct Connection {
    sender: Sender,
    /// Moves the bytes; `None` once the connection has ended.
    driver: Option<Driver>,
}

impl Connection {
    /// Connects, and begins to speak HTTP, beneath what `security` makes of the connection.
    pub(crate) async fn open(
        host: &str,
        port: u16,
        use_http2: bool,
        security: Option<&dyn Security>,
    ) -> Result<Self, CallError> {
        let stream = match timeout(CONNECT, TcpStream::connect((host, port))).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(CallError::Unreachable(format!("{host}:{port}: {error}"))),
            Err(_) => {
                return Err(CallError::Unreachable(format!(
                    "{host}:{port} took no connection within {CONNECT:?}"
                )));
            }
        };
        // One small write per call: without this the answer of a slow reader waits for its acknowledgement.
        let _ = stream.set_nodelay(true);
        let stream: AnyStream = match security {
            Some(security) => security.secure(stream, host).await?,
            None => Box::new(stream),
        };
        Self::begin(stream, use_http2).await.map_err(|error| call::failure(&error))
    }

    async fn begin(stream: AnyStream, use_http2: bool) -> hyper::Result<Self> {
        let stream = TokioIo::new(stream);
        if use_http2 {
            return Self::begin_http2(stream).await;
        }
        let (sender, connection) =
            http1::Builder::new().title_case_headers(true).max_buf_size(READ_AHEAD).handshake(stream).await?;
        // An error of the connection is told to whoever waits for its answer.
        let driver: Driver = Box::pin(async move { drop(connection.await) });
        Ok(Self { sender: Sender::Http1(sender), driver: Some(driver) })
    }

    async fn begin_http2(stream: TokioIo<AnyStream>) -> hyper::Result<Self> {
        let mut tasks = Tasks::default();
        let mut builder = http2::Builder::new(tasks.inbox());
        builder.initial_stream_window_size(65_535).initial_connection_window_size(131_070);
        let (sender, connection) = builder.handshake(stream).await?;
        let mut connection = Box::pin(connection);
        let driver: Driver = Box::pin(poll_fn(move |context| {
            let ended = connection.as_mut().poll(context).map(drop);
            // After it: what the connection began just now runs at once.
            tasks.poll(context);
            ended
        }));
        Ok(Self { sender: Sender::Http2(sender), driver: Some(driver) })
    }

    /// Waits until the connection takes a call; `false` when it has ended.
    pub(crate) async fn is_ready(&mut self) -> bool {
        let (driver, sender) = (&mut self.driver, &mut self.sender);
        let ready = poll_fn(|context| match sender {
            Sender::Http1(sender) => sender.poll_ready(context),
            Sender::Http2(sender) => sender.poll_ready(context),
        });
        drive(driver, ready).await.is_ok()
    }

    /// Sends a call and waits for the head of its answer. The error holds the call when not one byte of it was sent.
    pub(crate) async fn send(&mut self, call: Call) -> Result<Response<Incoming>, SendError> {
        match &mut self.sender {
            Sender::Http1(sender) => drive(&mut self.driver, sender.try_send_request(call)).await,
            Sender::Http2(sender) => drive(&mut self.driver, sender.try_send_request(call)).await,
        }
    }

    /// Waits for something that depends on the connection.
    pub(crate) async fn driven<T>(&mut self, future: impl Future<Output = T>) -> T {
        drive(&mut self.driver, future).await
    }

    /// Lets the connection finish what can be finished now; `false` when it has ended.
    pub(crate) async fn settle(&mut self) -> bool {
        drive(&mut self.driver, std::future::ready(())).await;
        self.driver.is_some()
    }
}

/// Runs the future and the connection it depends on. The connection comes first, so that its end is noticed before
/// anything is asked of it.
async fn drive<T>(driver: &mut Option<Driver>, future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    poll_fn(|context| {
        if let Some(running) = driver
            && running.as_mut().poll(context).is_ready()
        {
            *driver = None;
        }
        future.as_mut().poll(context)
    })
    .await
}
