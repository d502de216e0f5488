//! LOG to files and to standard output, end to end with the spool on, against the recorded rates of the original.
//!
//! The original does not run here: its recorded rate is scaled by what `nats-server` does now over what it did when the
//! original was recorded (1:1, 128 B for 200 B lines, 1 KiB for 1 KiB lines). Our time ends when the last byte is in the
//! file or has left the pipe; then the checker reads everything.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::ingest::{one_to_many, verify};
use super::line::{Goal, Line};
use super::pair::{Sample, paired};
use super::rig::{Rig, closed_loop};
use crate::check::{Checker, Tolerance, read_path, read_stream};
use crate::deck::Traffic;
use crate::error::{BenchError, Result};
use crate::producer::{Producer, ProducerSpec};
use crate::server::{Cim, CimSpec, NatsServer, SinkSpec};

/// Payload bytes of one slice at most, so that a slice fits into memory.
const SLICE_BYTES: u64 = 768 * 1024 * 1024;
/// The original must be beaten by this factor.
const GOAL: Goal = Goal::AtLeast(3.0);
/// Longest time for the last bytes to arrive after the PONG.
const ARRIVAL: Duration = Duration::from_secs(60);

/// A rate of the original and of `nats-server` when it was recorded, messages per second.
struct Recorded {
    payload: usize,
    original: f64,
    nats_payload: usize,
    nats: f64,
}

/// Medians of the recorded LOG to FILE runs.
const FILE: [Recorded; 2] = [
    Recorded { payload: 200, original: 294_000.0, nats_payload: 128, nats: 855_000.0 },
    Recorded { payload: 1024, original: 180_000.0, nats_payload: 1024, nats: 285_000.0 },
];
/// Medians of the recorded LOG to STDOUT runs.
const STDOUT: [Recorded; 2] = [
    Recorded { payload: 200, original: 208_000.0, nats_payload: 128, nats: 855_000.0 },
    Recorded { payload: 1024, original: 88_000.0, nats_payload: 1024, nats: 285_000.0 },
];

/// LOG to files.
pub(super) fn file(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    FILE.iter().for_each(|recorded| one(rig, "FILE", recorded, to_file, line));
    Ok(())
}

/// LOG to a pipe.
pub(super) fn stdout(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    STDOUT.iter().for_each(|recorded| one(rig, "STDOUT", recorded, to_stdout, line));
    Ok(())
}

fn one(
    rig: &Rig,
    sink: &str,
    recorded: &Recorded,
    ours: fn(&Rig, usize) -> Result<Sample>,
    line: &mut dyn FnMut(Line),
) {
    let name = format!("LOG to {sink}, spool, {} B", recorded.payload);
    let pairing = paired(rig, |rig| ours(rig, recorded.payload), |rig| nats(rig, recorded.nats_payload));
    line(match pairing {
        Ok(pairing) => Line::ratio(name, "msg/s", &pairing, recorded.original / recorded.nats, Some(GOAL))
            .with("CPU-s per million", pairing.ours_beside("cpu"))
            .with("accepted msg/s", pairing.ours_beside("accepted"))
            .with("ratio to the recorded rate, not scaled", Some(median_ours(&pairing) / recorded.original))
            .with("nats-server 1:1 now / then", Some(median_now(&pairing) / recorded.nats))
            .note(format!(
                "original, recorded {} msg/s, scaled by nats-server now/then; {}",
                recorded.original,
                rig.file_system()
            )),
        Err(error) => Line::void(name, &error),
    });
}

fn median_ours(pairing: &super::Pairing) -> f64 {
    super::pair::median(&pairing.our_figures())
}

fn median_now(pairing: &super::Pairing) -> f64 {
    super::pair::median(&pairing.their_figures())
}

fn nats(rig: &Rig, payload: usize) -> Result<Sample> {
    let server = NatsServer::start(&rig.nats)?;
    one_to_many(&server.child, server.address, &Traffic::Log, payload, 1, rig.slice)
}

fn to_file(rig: &Rig, payload: usize) -> Result<Sample> {
    let work = rig.work()?;
    let files = work.path().join("files");
    let cim = Cim::start(CimSpec::new(&rig.cim, work.path(), SinkSpec::File(files.clone()))?)?;
    let mut producer = Producer::connect(ProducerSpec::logs(cim.spec.nats, 1, payload))?;
    let cpu = cim.child.cpu_seconds()?;
    let start = Instant::now();
    let (accepted, count) = closed_loop(&mut producer, rig.slice, SLICE_BYTES)?;
    let expected = count.saturating_mul((payload as u64).saturating_add(1));
    wait_for_bytes(expected, || bytes_in(&files))?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    verify(&cim.drained(Duration::from_secs(10))?, producer.ledger().sent, producer.accepted())?;
    let cpu = (cim.child.cpu_seconds()? - cpu) / (count as f64 / 1e6);
    let mut checker = Checker::new(1);
    read_path(&mut checker, &files)?;
    clean(checker, &producer)?;
    Ok(Sample::of(rate).with("cpu", cpu).with("accepted", accepted))
}

fn to_stdout(rig: &Rig, payload: usize) -> Result<Sample> {
    let work = rig.work()?;
    let (read_end, write_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| BenchError::io("create a pipe")(error.into()))?;
    let mut cim = Cim::start_into(CimSpec::new(&rig.cim, work.path(), SinkSpec::Stdout)?, write_end)?;
    let reader = collect(read_end);
    let mut producer = Producer::connect(ProducerSpec::logs(cim.spec.nats, 1, payload))?;
    let cpu = cim.child.cpu_seconds()?;
    let start = Instant::now();
    let (accepted, count) = closed_loop(&mut producer, rig.slice, SLICE_BYTES)?;
    let books = cim.drained(Duration::from_secs(10))?;
    let rate = count as f64 / start.elapsed().as_secs_f64();
    verify(&books, producer.ledger().sent, producer.accepted())?;
    let cpu = (cim.child.cpu_seconds()? - cpu) / (count as f64 / 1e6);
    cim.child.terminate(Duration::from_secs(10))?;
    drop(cim);
    let captured = reader.join().map_err(|_| BenchError::Unclean("the reader of the pipe failed".into()))?;
    let mut checker = Checker::new(1);
    read_stream(&mut checker, &captured[..])?;
    clean(checker, &producer)?;
    Ok(Sample::of(rate).with("cpu", cpu).with("accepted", accepted))
}

/// Reads a pipe to its end into memory.
fn collect(pipe: OwnedFd) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut captured = Vec::with_capacity(SLICE_BYTES as usize);
        let _ = std::fs::File::from(pipe).read_to_end(&mut captured);
        captured
    })
}

fn clean(checker: Checker, producer: &Producer) -> Result<()> {
    let findings = checker.finish(std::slice::from_ref(producer.ledger()));
    findings.verdict(Tolerance::default()).map_err(BenchError::Unclean)
}

fn wait_for_bytes(expected: u64, bytes: impl Fn() -> u64) -> Result<()> {
    let start = Instant::now();
    while bytes() < expected {
        if start.elapsed() > ARRIVAL {
            return Err(BenchError::Unclean(format!("{} of {expected} bytes arrived", bytes())));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(())
}

fn bytes_in(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let files = entries.flatten().filter_map(|entry| entry.metadata().ok());
    files.filter(fs::Metadata::is_file).map(|file| file.len()).sum()
}
