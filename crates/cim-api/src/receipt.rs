//! What is to be done once an answer has left: until then it may break off, and nothing happened.
//!
//! Owns receipts of one connection between the end of a body and the write that took its last byte. Left out: what a receipt
//! means. The invariant: one is signed after the system took every byte of its answer, or dropped unsigned. On HTTP/2 bytes may
//! still wait for the reader's leave then.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Something that happens when an answer has left the process. Dropped unsigned: the answer broke off.
pub struct Receipt(Box<dyn FnOnce() + Send>);

impl fmt::Debug for Receipt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Receipt")
    }
}

impl Receipt {
    /// A receipt; `signed` is called at most once, and must return at once.
    #[must_use]
    pub fn new(signed: impl FnOnce() + Send + 'static) -> Self {
        Self(Box::new(signed))
    }
}

/// The receipts of one connection whose bodies were handed over and may not have left yet.
#[derive(Debug, Clone, Default)]
pub(crate) struct Receipts(Arc<Mutex<Vec<Receipt>>>);

impl Receipts {
    /// The last byte of that body was handed over.
    pub(crate) fn wait(&self, receipt: Receipt) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(receipt);
    }

    /// Everything that was handed over has left.
    pub(crate) fn sign(&self) {
        let left = std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner));
        left.into_iter().for_each(|receipt| (receipt.0)());
    }
}

/// A stream that signs the receipts of its connection whenever everything that was written has left.
pub(crate) struct Signing<S> {
    stream: S,
    receipts: Receipts,
}

impl<S> Signing<S> {
    pub(crate) fn new(stream: S, receipts: Receipts) -> Self {
        Self { stream, receipts }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Signing<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Signing<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
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
