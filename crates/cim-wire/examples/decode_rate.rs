//! Prints what one LOG message costs: verify, decode and encode, in nanoseconds.
//!
//! Owns a stopwatch and nothing else; figures are the best of several rounds, to be compared on one machine.
//! Run with `cargo run --release -p cim-wire --example decode_rate`.

#![allow(clippy::print_stdout, clippy::expect_used, reason = "a command-line program that measures")]

use std::hint::black_box;
use std::time::Instant;

use cim_wire::{
    Class, Encoding, Event, EventEncoder, Log, LogContext, LogEncoder, LogFormat, Pair, SourceHeaders, verify,
};

const ROUNDS: u32 = 15;

/// Best time of one call, in nanoseconds.
fn nanoseconds(calls: u32, mut call: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..ROUNDS {
        let start = Instant::now();
        for _ in 0..calls {
            call();
        }
        best = best.min(start.elapsed().as_secs_f64() * 1e9 / f64::from(calls));
    }
    best
}

fn row(name: &str, size: usize, time: f64) {
    println!("{name:<22} {size:>6} B  {time:>8.1} ns  {:>7.2} GB/s", size_per_second(size, time));
}

fn size_per_second(size: usize, time: f64) -> f64 {
    f64::from(u32::try_from(size).unwrap_or(u32::MAX)) / time
}

fn logs(size: usize) {
    let line = "2021-03-01T00:00:00.000 INFO corr-1 request served in 12 ms, 200 OK, ";
    let text: String = line.chars().cycle().take(size).collect();
    let log = Log {
        container_id: b"5a1f".into(),
        container_name: b"vesgw".into(),
        payload: Some(text.as_bytes().into()),
    };
    let mut payload = Vec::new();
    log.encode_flatbuffer(&mut payload);
    let context = LogContext { namespace: "ns1".to_owned(), pod: "pod-1".to_owned() };
    let encoder = LogEncoder::new(&context, LogFormat::Json);
    let mut out = Vec::with_capacity(4 * size + 256);
    let calls = 200_000;
    row(
        "verify",
        size,
        nanoseconds(calls, || {
            verify(Class::Log, Encoding::FlatBuffer, black_box(&payload)).expect("valid");
        }),
    );
    row(
        "decode",
        size,
        nanoseconds(calls, || {
            black_box(Log::decode(Encoding::FlatBuffer, black_box(&payload), b"app").expect("valid"));
        }),
    );
    row(
        "encode json",
        size,
        nanoseconds(calls, || {
            out.clear();
            encoder.encode(black_box(&log), &mut out);
            black_box(&out);
        }),
    );
    row(
        "write flatbuffer",
        size,
        nanoseconds(calls, || {
            out.clear();
            black_box(&log).encode_flatbuffer(&mut out);
            black_box(&out);
        }),
    );
    row(
        "verify text",
        size,
        nanoseconds(calls, || {
            verify(Class::Log, Encoding::Text, black_box(text.as_bytes())).expect("valid");
        }),
    );
}

fn escapes(size: usize) {
    let mut out = Vec::with_capacity(8 * size);
    for (name, line) in [
        ("escape json line", r#"{"level":"info","id":12,"path":"/a/b"},"#),
        ("escape non-ascii", "Größe € 漢字 "),
    ] {
        let text: String = line.chars().cycle().take(size).collect();
        row(
            name,
            text.len(),
            nanoseconds(50_000, || {
                out.clear();
                cim_wire::json::push_escaped(black_box(text.as_bytes()), &mut out);
                black_box(&out);
            }),
        );
    }
}

fn events() {
    let event = Event {
        event_name: b"CollectorDown".into(),
        event_time: 1_617_181_723_000,
        container_id: b"pod-1".into(),
        managed_object: Some(vec![Pair::new("Collector", "c1")]),
        additional_info: Some(vec![Pair::new("host", "h1"), Pair::new("reason", "no answer")]),
        ..Event::default()
    };
    let mut payload = Vec::new();
    event.encode_flatbuffer(&mut payload);
    let encoder = EventEncoder::new(&SourceHeaders::default());
    let mut out = Vec::with_capacity(4096);
    row(
        "event verify",
        payload.len(),
        nanoseconds(100_000, || {
            verify(Class::Event, Encoding::FlatBuffer, black_box(&payload)).expect("valid");
        }),
    );
    row(
        "event decode",
        payload.len(),
        nanoseconds(100_000, || {
            black_box(Event::decode(Encoding::FlatBuffer, black_box(&payload)).expect("valid"));
        }),
    );
    row(
        "event encode json",
        payload.len(),
        nanoseconds(100_000, || {
            out.clear();
            encoder.encode(black_box(&event), &mut out);
            black_box(&out);
        }),
    );
}

fn main() {
    for size in [128, 1024] {
        logs(size);
    }
    escapes(1024);
    events();
}
