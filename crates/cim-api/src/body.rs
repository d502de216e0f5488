//! The body of an answer, handed over in pieces.
//!
//! Left out: what is in it. The invariants: its receipt goes to the connection with the last piece, and not before; the seat of its
//! reader is kept until its last byte has left.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use crate::receipt::{Receipt, Receipts};
use crate::seats::Busy;

/// Bytes that are handed over at once: the next ones when these have left.
const PIECE: usize = 64 << 10;

/// A body of known length.
#[derive(Debug, Default)]
pub(crate) struct Whole {
    rest: Bytes,
    receipt: Option<(Receipt, Receipts)>,
    _kept: Kept,
}

/// The seat of whom the body is for. With the body, which is dropped after its last piece, it goes to the connection, which lets it
/// go once that piece has left.
#[derive(Debug, Default)]
struct Kept(Option<(Busy, Receipts)>);

impl Drop for Kept {
    fn drop(&mut self) {
        if let Some((busy, connection)) = self.0.take() {
            connection.wait(Receipt::new(move || drop(busy)));
        }
    }
}

impl Whole {
    pub(crate) fn new(bytes: Bytes) -> Self {
        Self { rest: bytes, ..Self::default() }
    }

    /// Keeps the seat of its reader until it has left through that connection.
    pub(crate) fn keeping(self, busy: Busy, connection: &Receipts) -> Self {
        Self { _kept: Kept(Some((busy, connection.clone()))), ..self }
    }

    /// With something to be done when it has left through that connection. A body that nobody reads, as that of HEAD, never leaves.
    pub(crate) fn with_receipt(self, receipt: Option<Receipt>, connection: &Receipts) -> Self {
        Self { receipt: receipt.map(|receipt| (receipt, connection.clone())), ..self }
    }
}

impl Body for Whole {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.rest.is_empty() {
            return Poll::Ready(None);
        }
        let len = self.rest.len().min(PIECE);
        let piece = self.rest.split_to(len);
        if self.rest.is_empty()
            && let Some((receipt, connection)) = self.receipt.take()
        {
            connection.wait(receipt);
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}
