//! Append rate of the spool against its floor: memcpy, CRC32C and `write` of the same bytes on the same disk.
//!
//! `cargo run --release -p cim-spool --example spool_rate -- /dev/shm [MiB]` prints one line per record size. Both
//! sides run in turns on the same directory; the figure is the median of the paired ratios.

#![allow(
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a stopwatch: prints, and stops at the first failure"
)]

use std::{
    fs::{self, File},
    os::unix::fs::FileExt,
    path::Path,
    sync::Arc,
    time::Instant,
};

use cim_spool::{RealFiles, Spool, SpoolOptions, StreamOptions};

const FRAME: usize = 256 << 10;
const SEGMENT: u64 = 16 << 20;
/// Bytes that stay stored; more is acknowledged, as a consumer that keeps up would.
const HELD: u64 = 4 << 20;
const TURNS: usize = 9;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let place = arguments.next().unwrap_or_else(|| "/dev/shm".to_owned());
    let mebibytes: u64 = arguments.next().and_then(|text| text.parse().ok()).unwrap_or(512);
    let dir = Path::new(&place).join(format!("spool-rate-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    println!("{place}: {mebibytes} MiB per turn, {TURNS} turns, frames of 256 KiB, segments of 16 MiB");
    println!("record   floor MB/s   spool MB/s   ratio (lowest-highest)   records/s");
    for record in [128, 1024, 8192] {
        let (mut ratios, mut floors, mut spools) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..TURNS {
            let floor = floor(&dir, record, mebibytes << 20);
            let spool = spool(&dir, record, mebibytes << 20);
            ratios.push(spool / floor);
            floors.push(floor);
            spools.push(spool);
        }
        let (ratio, rate) = (median(&mut ratios), median(&mut spools));
        let (low, high) = (ratios.first().unwrap(), ratios.last().unwrap());
        let per_second = rate * 1e6 / record as f64;
        let floor = median(&mut floors);
        println!(
            "{record:>6} {floor:>12.0} {rate:>12.0} {ratio:>7.2} ({low:.2}-{high:.2}) {per_second:>18.0}"
        );
    }
    start_with_backlog(&dir);
    fs::remove_dir_all(&dir).unwrap();
}

/// Fills 1 GiB and prints how long opening it again takes.
fn start_with_backlog(dir: &Path) {
    let dir = dir.join("backlog");
    let open = || {
        let mut spool = Spool::open(Arc::new(RealFiles), SpoolOptions::new(&dir, "rate/rate-0")).unwrap();
        let (stream, recovery) = spool.stream(StreamOptions::new("logs", SEGMENT, 2 << 30)).unwrap();
        (spool, stream, recovery)
    };
    let (spool, mut stream, _) = open();
    while stream.bytes() < (1 << 30) + (8 << 20) {
        let mut buf = stream.buffer(FRAME);
        while !buf.is_full() {
            buf.push(&[&[b'x'; 1024]]);
        }
        let frame = stream.append(buf).map_err(|(error, _)| error).unwrap();
        stream.reuse(frame);
    }
    drop((spool, stream));
    let start = Instant::now();
    let (_spool, _stream, recovery) = open();
    let milliseconds = start.elapsed().as_secs_f64() * 1e3;
    println!("start with {} MiB held: {milliseconds:.1} ms", recovery.recovered_bytes >> 20);
    fs::remove_dir_all(&dir).unwrap();
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// Copies records into one buffer, checksums and writes it; a new file per 16 MiB, the one before last is removed.
/// Returns payload MB/s.
fn floor(dir: &Path, record: usize, total: u64) -> f64 {
    let payload = vec![b'x'; record];
    let mut frame = Vec::with_capacity(FRAME);
    let per_frame = FRAME / record;
    let (mut done, mut at, mut name) = (0u64, 0u64, 0u64);
    let path = |name: u64| dir.join(format!("floor-{name}"));
    let start = Instant::now();
    let mut file = File::create(path(name)).unwrap();
    while done < total {
        frame.clear();
        for _ in 0..per_frame {
            frame.extend_from_slice(&payload);
        }
        std::hint::black_box(crc32c::crc32c(&frame));
        file.write_all_at(&frame, at).unwrap();
        at += frame.len() as u64;
        done += frame.len() as u64;
        if at >= SEGMENT {
            name += 1;
            file = File::create(path(name)).unwrap();
            at = 0;
            fs::remove_file(path(name - 1)).unwrap();
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    fs::remove_file(path(name)).unwrap();
    done as f64 / seconds / 1e6
}

/// The same through a stream. Returns payload MB/s.
fn spool(dir: &Path, record: usize, total: u64) -> f64 {
    let dir = dir.join("spool");
    let payload = vec![b'x'; record];
    let mut spool = Spool::open(Arc::new(RealFiles), SpoolOptions::new(&dir, "rate/rate-0")).unwrap();
    let (mut stream, _) = spool.stream(StreamOptions::new("logs", SEGMENT, 1 << 30)).unwrap();
    stream.cursor("sink").unwrap();
    let per_frame = FRAME / (record + 2);
    let held_frames = HELD / FRAME as u64;
    let mut done = 0u64;
    let start = Instant::now();
    while done < total {
        let mut buf = stream.buffer(FRAME);
        for _ in 0..per_frame {
            buf.push(&[&payload]);
        }
        let frame = stream.append(buf).map_err(|(error, _)| error).unwrap();
        done += (per_frame * record) as u64;
        stream.ack("sink", frame.last_seq().saturating_sub(held_frames * per_frame as u64));
        // A consumer that is done with the frame gives its memory back.
        stream.reuse(frame);
    }
    let seconds = start.elapsed().as_secs_f64();
    drop((stream, spool));
    fs::remove_dir_all(&dir).unwrap();
    done as f64 / seconds / 1e6
}
