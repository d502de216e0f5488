//! The first bytes of a connection, which tell what is spoken: TLS, HTTP/2 with prior knowledge, or HTTP/1.1.
//!
//! Left out: speaking it. The invariants: what was read here is read again by whoever speaks; no more is read than the
//! decision needs.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};

use crate::security::AnyStream;

/// The first byte of a TLS handshake.
const TLS: u8 = 0x16;
/// What every HTTP/2 client sends first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// What a client speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Spoken {
    /// TLS, with anything inside.
    Tls,
    /// HTTP/2 in the clear.
    Http2,
    /// HTTP/1.1, or something that will be answered as if it were.
    Http1,
}

/// Reads until it is clear what is spoken.
///
/// # Errors
/// When the stream fails, or ends before its first byte.
///
/// # Cancel safety
/// When dropped, the stream is closed.
pub(crate) async fn open(mut stream: AnyStream) -> io::Result<(Spoken, AnyStream)> {
    let mut read = [0; PREFACE.len()];
    let mut len = 0;
    let spoken = loop {
        let rest = read.get_mut(len..).unwrap_or_default();
        let more = stream.read(rest).await?;
        len += more;
        let start = read.get(..len).unwrap_or_default();
        match start {
            [] => return Err(io::ErrorKind::UnexpectedEof.into()),
            [TLS, ..] => break Spoken::Tls,
            start if start == PREFACE => break Spoken::Http2,
            start if more > 0 && PREFACE.starts_with(start) => {}
            _ => break Spoken::Http1,
        }
    };
    Ok((spoken, Box::new(Reread { read, next: 0, len, stream })))
}

/// A stream that begins with what was read from it before.
struct Reread {
    read: [u8; PREFACE.len()],
    next: usize,
    len: usize,
    stream: AnyStream,
}

impl AsyncRead for Reread {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let known = this.read.get(this.next..this.len).unwrap_or_default();
        if known.is_empty() {
            return Pin::new(&mut this.stream).poll_read(cx, buf);
        }
        let (now, _) = known.split_at(known.len().min(buf.remaining()));
        buf.put_slice(now);
        this.next += now.len();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Reread {
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
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt as _;

    #[tokio::test]
    async fn the_first_bytes_decide_and_are_read_again() {
        let preface = [PREFACE.as_slice(), b"frames"].concat();
        for (bytes, spoken) in [
            (&b"GET / HTTP/1.1\r\n"[..], Spoken::Http1),
            (b"PRI * HTTP/1.1\r\n", Spoken::Http1),
            (b"P", Spoken::Http1),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\rX", Spoken::Http1),
            (&preface, Spoken::Http2),
            (b"\x16\x03\x01", Spoken::Tls),
            (b"\0\0", Spoken::Http1),
        ] {
            for piece in [1, 7, 64] {
                let (mut client, server) = tokio::io::duplex(256);
                let send = async {
                    for piece in bytes.chunks(piece) {
                        client.write_all(piece).await.unwrap();
                        tokio::task::yield_now().await;
                    }
                    drop(client);
                };
                let (opened, ()) = tokio::join!(open(Box::new(server)), send);
                let (found, mut stream) = opened.unwrap();
                assert_eq!(found, spoken, "{bytes:?}");
                let mut all = Vec::new();
                stream.read_to_end(&mut all).await.unwrap();
                assert_eq!(all, bytes);
            }
        }
    }

    #[tokio::test]
    async fn a_stream_that_says_nothing_is_an_error() {
        let (client, server) = tokio::io::duplex(8);
        drop(client);
        assert!(open(Box::new(server)).await.is_err());
    }
}
