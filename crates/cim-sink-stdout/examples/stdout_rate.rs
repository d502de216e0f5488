//! Prints how fast the stdout sink is into a pipe that is read at once, beside a loop that writes 256 KiB at a time.
//!
//! `cargo run --release -p cim-sink-stdout --example stdout_rate`

use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cim_core::{Batch, Identity, LogFormat, LogRecord, LogSink as _, Meta};
use cim_sink_stdout::StdoutSink;
use cim_wire::Log;

const SLICES: usize = 9;
const SLICE: Duration = Duration::from_millis(300);

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    for (size, format) in
        [(200, LogFormat::Text), (1_024, LogFormat::Text), (200, LogFormat::Json), (1_024, LogFormat::Json)]
    {
        let (mut ratios, mut best, mut best_records, mut floor) = (Vec::new(), 0.0_f64, 0.0_f64, 0.0_f64);
        for _ in 0..SLICES {
            let written = loop_rate()?;
            let (sunk, records) = sink_rate(size, format).await?;
            ratios.push(sunk / written);
            (best, best_records, floor) = (best.max(sunk), best_records.max(records), floor.max(written));
        }
        ratios.sort_by(f64::total_cmp);
        writeln!(
            std::io::stdout(),
            "{size:>5} B as {format:?}: {:>6.0} MB/s on the pipe, {:>6.2} M records/s; 256 KiB loop {:>6.0} MB/s; median ratio {:.2}",
            best / 1e6,
            best_records / 1e6,
            floor / 1e6,
            ratios.get(SLICES / 2).copied().unwrap_or_default()
        )?;
    }
    Ok(())
}

/// A pipe and a thread that reads it to its end and says how many bytes there were.
fn drained_pipe() -> Result<(OwnedFd, JoinHandle<u64>), Failure> {
    let (read_end, write_end) = rustix::pipe::pipe()?;
    let reader = std::thread::spawn(move || {
        let (mut buffer, mut total) = (vec![0; 64 << 10], 0);
        while let Ok(count @ 1..) = rustix::io::read(&read_end, &mut buffer) {
            total += count as u64;
        }
        total
    });
    Ok((write_end, reader))
}

fn loop_rate() -> Result<f64, Failure> {
    let (write_end, reader) = drained_pipe()?;
    let (mut pipe, block) = (std::fs::File::from(write_end), vec![b'x'; 256 << 10]);
    let started = Instant::now();
    while started.elapsed() < SLICE {
        pipe.write_all(&block)?;
    }
    drop(pipe);
    let total = reader.join().map_err(|_| "the reader failed")?;
    Ok(total as f64 / started.elapsed().as_secs_f64())
}

/// Bytes and records per second, batches as the engine makes them: up to 1 MiB.
async fn sink_rate(size: usize, format: LogFormat) -> Result<(f64, f64), Failure> {
    let (write_end, reader) = drained_pipe()?;
    let identity = Identity { namespace: "ns1".to_owned(), pod: "pod-1".to_owned(), ..Identity::default() };
    let sink = StdoutSink::new("console", &identity, format, write_end);
    let payload = vec![b'x'; size];
    let count = ((1 << 20) / (size + 40)).min(8_192);
    let records: Vec<_> = (0..count).map(|_| record(&payload)).collect();
    let batch = Batch::new(records, count * (size + 40));
    let (mut delivered, started) = (0, Instant::now());
    while started.elapsed() < SLICE {
        sink.deliver(&batch).await?;
        delivered += count;
    }
    drop(sink);
    let total = reader.join().map_err(|_| "the reader failed")?;
    let seconds = started.elapsed().as_secs_f64();
    Ok((total as f64 / seconds, delivered as f64 / seconds))
}

fn record(payload: &[u8]) -> LogRecord<'_> {
    LogRecord {
        meta: Meta { seq: 1, epoch: 1, arrived_ms: 0, redelivered: false },
        headers: None,
        log: Log {
            container_id: b"c0ffee".into(),
            container_name: b"app".into(),
            payload: Some(payload.into()),
        },
    }
}
