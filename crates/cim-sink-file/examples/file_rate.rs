//! Prints how fast the file sink is, beside a loop that writes 256 KiB at a time to the same directory.
//!
//! `cargo run --release -p cim-sink-file --example file_rate -- <directory>`

use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use cim_core::settings::ByteSize;
use cim_core::{Batch, Identity, LogRecord, LogSink as _, Meta};
use cim_sink_file::{FileSettings, FileSink};
use cim_wire::Log;

const SLICES: usize = 9;
const SLICE: Duration = Duration::from_millis(300);
const FILE: u64 = 256 << 20;

type Failure = Box<dyn std::error::Error>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let dir = std::env::args().nth(1).unwrap_or_else(|| "/tmp".to_owned());
    let mut out = std::io::stdout();
    for (size, containers) in [(200, 1), (1_024, 1), (200, 16), (1_024, 16)] {
        let (mut ratios, mut best, mut floor) = (Vec::new(), 0.0_f64, 0.0_f64);
        for _ in 0..SLICES {
            let written = loop_rate(Path::new(&dir))?;
            let sunk = sink_rate(Path::new(&dir), size, containers).await?;
            ratios.push(sunk / written);
            (best, floor) = (best.max(sunk), floor.max(written));
        }
        ratios.sort_by(f64::total_cmp);
        writeln!(
            out,
            "{size:>5} B, {containers:>2} containers: {:>6.0} MB/s, {:>6.2} M records/s; 256 KiB loop {:>6.0} MB/s; median ratio {:.2}",
            best / 1e6,
            best / 1e6 / f64::from(u32::try_from(size + 1)?),
            floor / 1e6,
            ratios.get(SLICES / 2).copied().unwrap_or_default()
        )?;
    }
    Ok(())
}

/// Bytes per second of a plain loop, a fresh file whenever it has reached the size limit.
fn loop_rate(dir: &Path) -> Result<f64, Failure> {
    let (path, block) = (dir.join("floor"), vec![b'x'; 256 << 10]);
    let (mut file, mut size, mut total) = (File::create(&path)?, 0_u64, 0_u64);
    let started = Instant::now();
    while started.elapsed() < SLICE {
        file.write_all(&block)?;
        (size, total) = (size + (256 << 10), total + (256 << 10));
        if size >= FILE {
            (file, size) = (File::create(&path)?, 0);
        }
    }
    let rate = total as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_file(path)?;
    Ok(rate)
}

/// Bytes per second through the sink, batches as the engine makes them: up to 1 MiB.
async fn sink_rate(dir: &Path, size: usize, containers: usize) -> Result<f64, Failure> {
    let dir = dir.join("sink");
    let settings = FileSettings {
        dir: dir.clone(),
        max_size: ByteSize::bytes(FILE / containers as u64),
        max_files: 1,
        ..FileSettings::default()
    };
    let sink = FileSink::new("disk", &Identity::default(), &settings);
    let payload = vec![b'x'; size];
    let names: Vec<_> = (0..containers).map(|n| format!("container-{n}").into_bytes()).collect();
    let count = ((1 << 20) / (size + 40)).min(8_192);
    let records: Vec<_> = names.iter().cycle().take(count).map(|name| record(name, &payload)).collect();
    let batch = Batch::new(records, count * (size + 40));
    let (mut total, started) = (0, Instant::now());
    while started.elapsed() < SLICE {
        sink.deliver(&batch).await?;
        total += count * (size + 1);
    }
    let rate = total as f64 / started.elapsed().as_secs_f64();
    std::fs::remove_dir_all(dir)?;
    Ok(rate)
}

fn record<'a>(name: &'a [u8], payload: &'a [u8]) -> LogRecord<'a> {
    LogRecord {
        meta: Meta { seq: 1, epoch: 1, arrived_ms: 0, redelivered: false },
        headers: None,
        log: Log {
            container_id: b"c0ffee".into(),
            container_name: name.into(),
            payload: Some(payload.into()),
        },
    }
}
