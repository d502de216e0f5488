//! A stream that ends when nothing moves: the cure for clients that connect and then neither read nor write.
//!
//! Also the place where an answer has left, which signs its receipt. Left out: limits on whole requests, which `server` and `route`
//! set. The invariant: a wait longer than the limit, in either direction, is an error, whatever the peer does.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

use crate::receipt::Receipts;

/// A TCP stream that fails with `TimedOut` after `limit` without progress.
#[derive(Debug)]
pub(crate) struct IdleStream {
    stream: TcpStream,
    limit: Duration,
    timer: Pin<Box<Sleep>>,
    receipts: Receipts,
}

impl IdleStream {
    /// Watches `stream`.
    pub(crate) fn new(stream: TcpStream, limit: Duration, receipts: Receipts) -> Self {
        Self { stream, limit, timer: Box::pin(sleep(limit)), receipts }
    }

    /// Passes a finished step on and starts the clock again; turns a wait that is over into an error.
    fn judge<T>(&mut self, step: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if step.is_ready() {
            let next = Instant::now() + self.limit;
            self.timer.as_mut().reset(next);
            return step;
        }
        match self.timer.as_mut().poll(cx) {
            Poll::Ready(()) => Poll::Ready(Err(io::ErrorKind::TimedOut.into())),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncRead for IdleStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.judge(step, cx)
    }
}

impl AsyncWrite for IdleStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.judge(step, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let step = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.judge(step, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let step = Pin::new(&mut self.stream).poll_flush(cx);
        if let Poll::Ready(Ok(())) = step {
            // Flushed after the last write: the system has every byte.
            self.receipts.sign();
        }
        step
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
