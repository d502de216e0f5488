//! What receivers do to connections that carry lines, and what becomes of the records.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

mod support;

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::pin::pin;
use std::time::{Duration, Instant};

use cim_core::{Component, DeliveryErrorKind, Health, LogFormat, LogSink, Undelivered};
use cim_sink_tcp::TcpSettings;
use cim_testkit::Sample;
use socket2::SockRef;
use support::{Mood, PATIENCE, Receiver, numbered, settings, sink, subject, wait_for};

/// N-03: the first line after a restart of the receiver must not be the one that tells the sink about it.
#[tokio::test]
async fn the_first_line_after_a_restart_of_the_receiver_arrives() {
    let receiver = Receiver::start(None);
    let sink = sink(&settings(receiver.address), LogFormat::Text);
    for round in 0..20 {
        subject(&sink).deliver(&numbered(round..round + 1)).await.unwrap();
        receiver.appear(Mood::Reading);
    }
    let seen: Vec<u8> = receiver.streams().concat();
    let expected: Vec<u8> =
        numbered(0..20).iter().flat_map(|s| [&s.body, b"\n".as_slice()].concat()).collect();
    assert!(seen == expected, "{}", seen.escape_ascii());
    assert_eq!(sink.disconnects(), 0, "every end was noticed before anything was written");
}

/// One connection, and none that carries nothing.
#[tokio::test]
async fn there_are_no_probe_connections() {
    let receiver = Receiver::start(None);
    let sink = sink(&settings(receiver.address), LogFormat::Text);
    assert_eq!(sink.probe().await, Health::Ready);
    assert_eq!(receiver.connects(), 0);
    for seq in 0..50 {
        subject(&sink).deliver(&numbered(seq..seq + 1)).await.unwrap();
        sink.probe().await;
    }
    wait_for("a connection", || receiver.connects() >= 1);
    assert_eq!(receiver.connects(), 1);
}

/// A receiver that never reads: an answer in bounded time, no byte of which it is not known who has it, and the records
/// whole and in order on the next connection.
#[tokio::test]
async fn a_receiver_that_never_reads_is_given_up_in_time() {
    let receiver = Receiver::start(None);
    receiver.set(Mood::Stalled);
    let stall = Duration::from_millis(300);
    let settings = TcpSettings { stall_timeout: "300ms".parse().unwrap(), ..settings(receiver.address) };
    let sink = sink(&settings, LogFormat::Text);
    let batch: Vec<_> = (0..8_000).map(|seq| Sample::with_body(seq, "app", &[b'x'; 1_000])).collect();
    let started = Instant::now();
    let error = subject(&sink).deliver(&batch).await.unwrap_err();
    assert!(started.elapsed() >= stall && started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(source, "the receiver has stopped taking data");
    let Undelivered::Only(rest) = error.undelivered() else { panic!("{error:?}") };
    assert_eq!(rest.last(), Some(&7_999));
    assert!(matches!(sink.probe().await, Health::Degraded(text) if text.contains("stopped taking data")));

    receiver.set(Mood::Reading);
    subject(&sink).deliver(&batch[rest[0]..]).await.unwrap();
    assert_eq!(sink.probe().await, Health::Ready);
    let text = |samples: &[Sample]| -> Vec<u8> {
        samples.iter().flat_map(|sample| [&sample.body, b"\n".as_slice()].concat()).collect()
    };
    wait_for("both connections", || {
        receiver.streams().iter().map(Vec::len).sum::<usize>() >= text(&batch).len()
    });
    let streams = receiver.streams();
    assert!(text(&batch[..rest[0] + 1]).starts_with(&streams[0]), "the first connection has a prefix");
    assert!(streams[0].len() >= text(&batch[..rest[0]]).len(), "what was not reported is there");
    assert!(streams[1] == text(&batch[rest[0]..]), "the second one has the rest, whole");
    assert_eq!(sink.disconnects(), 1);
}

/// While the receiver takes one batch the next one is written; when the connection breaks, both fail, and repeated in their order
/// they make a stream of whole records.
#[tokio::test]
async fn batches_in_flight_fail_together_and_come_again_in_order() {
    let receiver = Receiver::start(None);
    receiver.set(Mood::Stalled);
    let settings = TcpSettings { stall_timeout: "300ms".parse().unwrap(), ..settings(receiver.address) };
    let sink = sink(&settings, LogFormat::Text);
    assert_eq!(LogSink::profile(&*sink).max_in_flight, 4);
    let sized = |seqs: std::ops::Range<u64>| -> Vec<Sample> {
        seqs.map(|seq| Sample::with_body(seq, "app", format!("{seq:01000}").as_bytes())).collect()
    };
    // The first is small enough for the buffers between the two, the second is not.
    let (first, second) = (sized(0..10), sized(10..10_000));
    let (one, two) = (subject(&sink), subject(&sink));
    let (early, late) = tokio::join!(one.deliver(&first), two.deliver(&second));
    assert!(early.is_ok(), "the peer's kernel has taken it: {early:?}");
    let Undelivered::Only(rest) = late.unwrap_err().undelivered().clone() else { panic!("all of it") };
    assert_eq!(rest.last(), Some(&9_989));
    assert_eq!(sink.disconnects(), 1);

    let (third, fourth) = (sized(10_000..19_000), sized(19_000..19_010));
    let more = &second[rest[0]..];
    let (two, three, four) = tokio::join!(one.deliver(more), two.deliver(&third), one.deliver(&fourth));
    let errors = [two.unwrap_err(), three.unwrap_err(), four.unwrap_err()];
    assert_eq!(errors[2].undelivered(), &Undelivered::All, "it was never written");
    let Undelivered::Only(rest) = errors[0].undelivered() else { panic!("{:?}", errors[0]) };
    let more = &more[rest[0]..];

    receiver.set(Mood::Reading);
    for batch in [more, &third, &fourth] {
        subject(&sink).deliver(batch).await.unwrap();
    }
    let text = |samples: &[Sample]| -> Vec<u8> {
        samples.iter().flat_map(|sample| [&sample.body, b"\n".as_slice()].concat()).collect()
    };
    let expected = [text(more), text(&third), text(&fourth)].concat();
    wait_for("the rest", || receiver.streams().last().unwrap().len() >= expected.len());
    assert!(receiver.streams().last().unwrap() == &expected, "the last connection has the rest, whole");
}

/// What a dropped call has written must not arrive in secret, because it is sent again.
#[tokio::test]
async fn a_dropped_delivery_ends_its_connection() {
    let receiver = Receiver::start(None);
    receiver.set(Mood::Stalled);
    let sink = sink(&settings(receiver.address), LogFormat::Text);
    let body = vec![b'x'; 1_000];
    let large: Vec<_> = (0..8_000).map(|seq| Sample::with_body(seq, "app", &body)).collect();
    let (one, two) = (subject(&sink), subject(&sink));
    let both = async { tokio::join!(one.deliver(&large), two.deliver(&large)) };
    assert!(tokio::time::timeout(Duration::from_millis(200), both).await.is_err());
    receiver.set(Mood::Reading);
    subject(&sink).deliver(&large).await.unwrap();
    let whole: usize = large.iter().map(|sample| sample.body.len() + 1).sum();
    wait_for("the batch", || receiver.streams().last().unwrap().len() >= whole);
    let streams = receiver.streams();
    assert_eq!(streams.len(), 2);
    assert!(streams[0].len() < whole, "the first connection was left to the kernel");
    assert_eq!(streams[1].len(), whole);
}

/// Linux lets the confirmation of a segment wait for 40 ms when it is as long as the one before and shorter than an
/// earlier one. That must not hold up the next batch.
#[tokio::test]
async fn no_batch_waits_for_a_delayed_confirmation() {
    let receiver = Receiver::start(None);
    let sink = sink(&settings(receiver.address), LogFormat::Text);
    let mut held_up = 0;
    for round in 0..100 {
        for (place, length) in [1_150, 690, 690].into_iter().enumerate() {
            let sample = Sample::with_body(round * 3 + place as u64, "app", &vec![b'x'; length]);
            let started = Instant::now();
            subject(&sink).deliver(&[sample]).await.unwrap();
            held_up += u32::from(started.elapsed() > Duration::from_millis(38));
        }
    }
    // One in each round would be; a busy machine holds up one now and then.
    assert!(held_up < 50, "{held_up} of 300");
}

/// A peer that has ended its sending half but reads on is a receiver like any other.
#[tokio::test]
async fn a_receiver_that_closes_its_sending_half_loses_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = sink(&settings(listener.local_addr().unwrap()), LogFormat::Text);
    let reader = std::thread::spawn(move || {
        let mut seen = Vec::new();
        while !seen.ends_with(b"000009\n") {
            let (mut stream, _) = listener.accept().unwrap();
            stream.shutdown(Shutdown::Write).unwrap();
            stream.read_to_end(&mut seen).unwrap();
        }
        seen
    });
    for seq in 0..10 {
        subject(&sink).deliver(&numbered(seq..seq + 1)).await.unwrap();
    }
    sink.close().await.unwrap();
    let seen = tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
    let expected: Vec<u8> =
        numbered(0..10).iter().flat_map(|s| [&s.body, b"\n".as_slice()].concat()).collect();
    assert!(seen == expected, "{}", seen.escape_ascii());
}

/// The batch behind is the first to notice, and has written nothing: the one before tells of it.
#[tokio::test]
async fn a_reset_that_the_next_batch_notices_first_is_counted_and_told() {
    let socket = tokio::net::TcpSocket::new_v4().unwrap();
    // So small that most of the batch waits in the sender's kernel.
    socket.set_recv_buffer_size(2_304).unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let sink = sink(&settings(listener.local_addr().unwrap()), LogFormat::Text);
    let batch: Vec<_> = (0..100).map(|seq| Sample::with_body(seq, "app", &[b'x'; 1_000])).collect();
    let (one, two) = (subject(&sink), subject(&sink));
    let mut early = pin!(one.deliver(&batch));
    let begun = async {
        let (peer, _) = listener.accept().await.unwrap();
        peer.peek(&mut [0]).await.unwrap();
        peer
    };
    let peer = tokio::select! {
        early = &mut early => panic!("nobody takes it: {early:?}"),
        peer = begun => peer,
    };
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).unwrap();
    drop(peer);
    // Nobody looks after the first meanwhile.
    let late = two.deliver(&numbered(100..101)).await.unwrap_err();
    assert_eq!(late.undelivered(), &Undelivered::All, "it was never written");
    early.await.unwrap_err();
    assert_eq!(sink.disconnects(), 1);
    assert!(matches!(sink.probe().await, Health::Degraded(text) if text.contains("broke")));
}

/// What a receiver says is read away, so that it never blocks.
#[tokio::test]
async fn a_talkative_receiver_is_heard_out() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let sink = sink(&settings(listener.local_addr().unwrap()), LogFormat::Text);
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut line = [0; 16];
        for _ in 0..100 {
            stream.read_exact(&mut line).unwrap();
            stream.write_all(&[b'!'; 3_000]).unwrap();
        }
    });
    for seq in 0..100 {
        subject(&sink).deliver(&numbered(seq..seq + 1)).await.unwrap();
    }
    tokio::task::spawn_blocking(|| reader.join().unwrap()).await.unwrap();
    assert_eq!(sink.disconnects(), 0);
}

#[tokio::test]
async fn addresses_are_tried_in_order_and_every_failure_is_told() {
    let dead = || {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let (first, second, receiver) = (dead(), dead(), Receiver::start(None));
    let list = |addresses: &[String]| TcpSettings { addresses: addresses.to_vec(), ..TcpSettings::default() };
    let all = [first.to_string(), second.to_string(), receiver.address.to_string()];
    let sink_of_all = sink(&list(&all), LogFormat::Text);
    subject(&sink_of_all).deliver(&numbered(0..1)).await.unwrap();
    wait_for("the connection", || receiver.connects() == 1);
    receiver.vanish();

    let sink = sink(&list(&[all[0].clone(), format!("localhost:{}", second.port())]), LogFormat::Text);
    let error = subject(&sink).deliver(&numbered(0..1)).await.unwrap_err();
    assert_eq!(error.kind(), DeliveryErrorKind::Unavailable);
    assert_eq!(error.to_string(), "cannot connect to a receiver");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.starts_with(&format!("{first}: Connection refused")), "{source}");
    let named = format!("localhost:{} (", second.port());
    assert!(source.contains(&named), "{source}");
    assert_eq!(sink.disconnects(), 0, "nothing was ever connected");
}
