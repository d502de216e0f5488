//! Receivers that are slow and never stop: whatever lies above the socket, they are no stalled ones.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use cim_core::{DeliveryErrorKind, LogFormat, async_trait};
use cim_sink_tcp::{Channel, SecureError, Security, TcpSettings, TcpSink};
use cim_testkit::Sample;
use support::{Mood, Receiver, context, settings, subject, wait_for};
use tokio::io::{AsyncRead, AsyncWrite, BufWriter, ReadBuf};
use tokio::net::TcpStream;

/// Much shorter than a batch takes.
const STALL: Duration = Duration::from_millis(400);
/// How often it is tried on a machine that does not let the receiver read in time.
const TRIES: usize = 5;

/// As opaque as TLS: holds bytes back, and does not say that the others are those in the send queue.
struct Opaque(BufWriter<TcpStream>);

impl Channel for Opaque {
    fn socket(&self) -> &TcpStream {
        self.0.get_ref()
    }
}

impl AsyncRead for Opaque {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Opaque {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

struct Curtain;

#[async_trait]
impl Security for Curtain {
    async fn secure(&self, socket: TcpStream, _: &str) -> Result<Box<dyn Channel>, SecureError> {
        Ok(Box::new(Opaque(BufWriter::with_capacity(64 << 10, socket))))
    }
}

/// A sink of text lines towards that receiver.
fn sink(receiver: &Receiver, security: Option<Arc<dyn Security>>) -> Arc<TcpSink> {
    let stall_timeout = format!("{}ms", STALL.as_millis()).parse().unwrap();
    let settings = TcpSettings { stall_timeout, ..settings(receiver.address) };
    Arc::new(TcpSink::new(&context(LogFormat::Text), &settings, security).unwrap())
}

fn samples(seqs: std::ops::Range<u64>) -> Vec<Sample> {
    seqs.map(|seq| Sample::with_body(seq, "app", format!("{seq:01000}").as_bytes())).collect()
}

fn text(samples: &[Sample]) -> Vec<u8> {
    samples.iter().flat_map(|sample| [&sample.body, b"\n".as_slice()].concat()).collect()
}

/// Delivers two batches at a time to a slow receiver; every byte arrives once, over one connection.
async fn arrives(security: Option<Arc<dyn Security>>, first: Vec<Sample>, second: Vec<Sample>) {
    for left in (0..TRIES).rev() {
        if arrives_once(security.clone(), &first, &second, left == 0).await {
            return;
        }
    }
}

/// `false`, and nothing is demanded unless it is the last try, where the receiver did stop: that one is rightly given up.
async fn arrives_once(
    security: Option<Arc<dyn Security>>,
    first: &[Sample],
    second: &[Sample],
    is_last: bool,
) -> bool {
    let receiver = Receiver::start(None);
    receiver.appear(Mood::Slow);
    let sink = sink(&receiver, security);
    let (one, two) = (subject(&sink), subject(&sink));
    let started = Instant::now();
    let (early, late) = tokio::join!(one.deliver(first), two.deliver(second));
    if receiver.longest_gap() > STALL * 3 / 4 && !is_last {
        return false;
    }
    assert!(early.is_ok() && late.is_ok(), "{early:?}, {late:?}");
    assert!(started.elapsed() > STALL * 2, "it was no slow one: {:?}", started.elapsed());
    let expected = [text(first), text(second)].concat();
    wait_for("the rest", || receiver.streams().concat().len() >= expected.len());
    assert!(receiver.streams() == [expected], "over one connection, each byte once");
    assert_eq!(sink.disconnects(), 0);
    true
}

/// Both batches fit into the send buffer: nothing is written any more while the peer takes them.
#[tokio::test]
async fn a_slow_receiver_behind_tls_is_no_stalled_one() {
    arrives(Some(Arc::new(Curtain)), samples(0..1_000), samples(1_000..2_000)).await;
}

/// The second batch does not fit: the kernel takes nothing from the writer until a good part of the send buffer is free, which
/// takes longer than the stall time.
#[tokio::test]
async fn a_writer_behind_tls_waits_for_a_slow_receiver() {
    arrives(Some(Arc::new(Curtain)), samples(0..1_000), samples(1_000..5_000)).await;
}

#[tokio::test]
async fn a_writer_without_tls_waits_for_a_slow_receiver() {
    arrives(None, samples(0..1_000), samples(1_000..5_000)).await;
}

/// Nobody waits for the receiver that takes nothing at all: neither while there is something to write nor afterwards, and
/// what is written meanwhile is no sign of life.
#[tokio::test]
async fn a_receiver_behind_tls_that_takes_nothing_is_given_up_in_time() {
    for count in [1_000, 8_000] {
        let receiver = Receiver::start(None);
        receiver.appear(Mood::Slow);
        receiver.set(Mood::Stalled);
        let sink = sink(&receiver, Some(Arc::new(Curtain)));
        let (one, two) = (subject(&sink), subject(&sink));
        let (first, second) = (samples(0..count), samples(count..count * 2));
        let started = Instant::now();
        let (early, late) = tokio::join!(one.deliver(&first), two.deliver(&second));
        assert!(started.elapsed() >= STALL && started.elapsed() < STALL * 8, "{:?}", started.elapsed());
        let (early, late) = (early.unwrap_err(), late.unwrap_err());
        assert_eq!(
            (early.kind(), late.kind()),
            (DeliveryErrorKind::Unavailable, DeliveryErrorKind::Unavailable)
        );
        let source = std::error::Error::source(&early).unwrap().to_string();
        assert_eq!(source, "the receiver has stopped taking data");
        assert_eq!(sink.disconnects(), 1);
    }
}
