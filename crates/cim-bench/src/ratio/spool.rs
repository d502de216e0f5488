//! Spool append, in process, against copy + CRC32C + write of 256 KiB on the same file system.
//!
//! A consumer follows right behind, so that segments are removed as they are in a healthy system. After the clock has
//! stopped, what is still on disk is read back and its checksums are checked.

use std::sync::Arc;
use std::time::Instant;

use cim_spool::{Read, RealFiles, Spool, SpoolOptions, Stream, StreamOptions};

use super::line::{Goal, Line};
use super::pair::{Sample, paired};
use super::rig::Rig;
use crate::error::{BenchError, Result};
use crate::floor;
use crate::noise::Noise;

/// Bytes of one record.
const RECORD: usize = 1024;
/// Bytes of one segment, as CIM uses for logs.
const SEGMENT: u64 = 16 * 1024 * 1024;
/// Bytes of one append.
const BLOCK: usize = floor::BLOCK;

/// Ratio and absolute speed.
pub(super) fn run(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let name = format!("spool append, {RECORD} B records");
    match paired(rig, append, |rig| floor::copy_sum_write(&rig.dir, RECORD, rig.slice).map(Sample::of)) {
        Ok(pairing) => {
            let note = format!("memcpy + CRC32C + write(256 KiB); {}", rig.file_system());
            line(Line::ratio(&name, "B/s", &pairing, 1.0, Some(Goal::AtLeast(0.6))).note(note));
            let goal = (rig.file_system() == "tmpfs").then_some(Goal::AtLeast(1e9));
            let name = format!("{name}, speed on {}", rig.file_system());
            line(Line::figure(name, "B/s", &pairing.our_figures(), goal));
        }
        Err(error) => line(Line::void(name, &error)),
    }
    Ok(())
}

fn append(rig: &Rig) -> Result<Sample> {
    let work = rig.work()?;
    let failed = |error: &dyn std::error::Error| BenchError::Unclean(format!("spool: {error}"));
    let options = SpoolOptions::new(work.path().join("spool"), "bench/bench-0");
    let mut spool = Spool::open(Arc::new(RealFiles), options).map_err(|error| failed(&error))?;
    let (mut stream, _) =
        spool.stream(StreamOptions::new("logs", SEGMENT, 1 << 30)).map_err(|error| failed(&error))?;
    stream.cursor("bench").map_err(|error| failed(&error))?;
    let record = Noise::new(1).text(RECORD);
    let (mut records, start) = (0u64, Instant::now());
    while start.elapsed() < rig.slice {
        let mut buffer = stream.buffer(BLOCK);
        while !buffer.is_full() {
            buffer.push(&[&record]);
            records = records.saturating_add(1);
        }
        let frame = stream.append(buffer).map_err(|(error, _)| failed(&error))?;
        stream.ack("bench", frame.first_seq());
        stream.reuse(frame);
    }
    let speed = records.saturating_mul(RECORD as u64) as f64 / start.elapsed().as_secs_f64();
    read_back(&stream, &record, records)?;
    Ok(Sample::of(speed))
}

/// Every record still on disk must be intact, and the last one must be the last appended.
fn read_back(stream: &Stream, record: &[u8], records: u64) -> Result<()> {
    let mut reader = stream.reader(stream.first_seq());
    let mut next = stream.first_seq();
    loop {
        match reader.next().map_err(BenchError::io("read the spool back"))? {
            Read::Frame(frame) => {
                for (seq, bytes) in frame.records() {
                    if seq != next || bytes != record {
                        return Err(BenchError::Unclean(format!(
                            "record {seq} read back where {next} was expected"
                        )));
                    }
                    next = next.saturating_add(1);
                }
            }
            Read::Lost { first_seq, last_seq, .. } => {
                return Err(BenchError::Unclean(format!("records {first_seq} to {last_seq} lost")));
            }
            Read::CaughtUp => break,
        }
    }
    if next == records.saturating_add(1) {
        Ok(())
    } else {
        Err(BenchError::Unclean(format!("{records} appended, read back up to {next}")))
    }
}
