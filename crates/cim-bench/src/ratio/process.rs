//! The process itself: time to the first INFO byte, start with a backlog, memory, CPU when idle.

use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use super::line::{Goal, Line};
use super::pair::{Pairing, Sample, median};
use super::rig::{Rig, closed_loop};
use crate::error::{BenchError, Result};
use crate::producer::{Producer, ProducerSpec};
use crate::server::{Child, Cim, CimSpec, NatsServer, SinkSpec};

/// Starts per side.
const STARTS: usize = 20;
/// Bytes of payload in the backlog.
const BACKLOG: u64 = 1024 * 1024 * 1024;
/// Starts with and without it.
const BACKLOG_STARTS: usize = 5;
/// One mebibyte.
const MIB: f64 = 1024.0 * 1024.0;
/// Memory budget under the dead sink, MiB.
const BUDGET_MIB: f64 = 48.0;

/// Time to INFO against `nats-server`, and with a backlog against an empty spool.
pub(super) fn start(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let mut pairing = Pairing::default();
    for _ in 0..STARTS {
        pairing.ours.push(Sample::of(cim_start(rig)?));
        let mut server = NatsServer::launch(&rig.nats)?;
        pairing.theirs.push(Sample::of(first_byte(&mut server.child, server.address)?));
    }
    let note = format!("nats-server; {STARTS} warm starts each, spool on {}", rig.file_system());
    line(Line::ratio("exec to first INFO byte", "ms", &pairing, 1.0, Some(Goal::AtMost(0.5))).note(note));
    line(Line::figure(
        "exec to first INFO byte, CIM",
        "ms",
        &pairing.our_figures(),
        Some(Goal::AtMost(10.0)),
    ));
    match backlog(rig) {
        Ok(result) => line(result),
        Err(error) => line(Line::void("start with a backlog of 1 GiB", &error)),
    }
    Ok(())
}

fn cim_start(rig: &Rig) -> Result<f64> {
    let work = rig.work()?;
    let spec = CimSpec::new(&rig.cim, work.path(), SinkSpec::Null)?;
    let address = spec.nats;
    let mut cim = Cim::launch(spec, Stdio::null())?;
    first_byte(&mut cim.child, address)
}

/// Milliseconds from exec to the first byte of INFO.
fn first_byte(child: &mut Child, address: SocketAddr) -> Result<f64> {
    let mut byte = [0u8; 1];
    loop {
        if let Ok(mut stream) = TcpStream::connect(address) {
            stream.read_exact(&mut byte).map_err(BenchError::io("read INFO"))?;
            return Ok(child.started().elapsed().as_secs_f64() * 1e3);
        }
        if child.started().elapsed() > Duration::from_secs(10) || child.has_ended() {
            return Err(BenchError::Unclean("the server did not open its port".into()));
        }
        std::thread::sleep(Duration::from_micros(50));
    }
}

/// Fills a spool with 1 GiB behind a sink that takes nothing, then starts on it again and again.
fn backlog(rig: &Rig) -> Result<Line> {
    let work = rig.work()?;
    let spec = CimSpec::new(&rig.cim, work.path(), SinkSpec::Stdout)?;
    let (_unread, write_end) = pipe()?;
    let share = |end: &std::os::fd::OwnedFd| end.try_clone().map_err(BenchError::io("share the pipe"));
    let mut cim = Cim::start_into(spec.clone(), share(&write_end)?)?;
    let mut producer = Producer::connect(ProducerSpec::logs(cim.spec.nats, 1, 8192))?;
    let (_, count) = closed_loop(&mut producer, Duration::from_secs(120), BACKLOG)?;
    cim.child.kill()?;
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..BACKLOG_STARTS {
        let mut cim = Cim::launch(spec.clone(), Stdio::from(share(&write_end)?))?;
        cim.wait_ready()?;
        with.push(cim.child.started().elapsed().as_secs_f64() * 1e3);
        let books = cim.books()?;
        // The first pipe-full may have been delivered before the kill; everything else must be there.
        if books.logs.recovered.saturating_add(1024) < count || books.lost_records > 0 {
            return Err(BenchError::Unclean(format!("{count} accepted, {} recovered", books.logs.recovered)));
        }
        cim.child.kill()?;
        let empty = rig.work()?;
        let mut cim = Cim::launch(CimSpec::new(&rig.cim, empty.path(), SinkSpec::Stdout)?, Stdio::null())?;
        cim.wait_ready()?;
        without.push(cim.child.started().elapsed().as_secs_f64() * 1e3);
    }
    let base = median(&without);
    let added: Vec<f64> = with.iter().map(|time| time - base).collect();
    Ok(Line::figure(
        "start to ready with a backlog of 1 GiB, beyond an empty spool",
        "ms",
        &added,
        Some(Goal::AtMost(100.0)),
    )
    .with("empty, ms", Some(base))
    .with("records", Some(count as f64))
    .note(rig.file_system()))
}

fn pipe() -> Result<(std::os::fd::OwnedFd, std::os::fd::OwnedFd)> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC)
        .map_err(|error| BenchError::io("create a pipe")(error.into()))
}

/// Memory and CPU when idle, memory under full load with a sink that takes nothing.
pub(super) fn footprint(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    match idle(rig) {
        Ok(lines) => lines.into_iter().for_each(&mut *line),
        Err(error) => line(Line::void("idle", &error)),
    }
    match dead_sink(rig) {
        Ok(result) => line(result),
        Err(error) => line(Line::void("memory with a dead sink", &error)),
    }
    Ok(())
}

fn idle(rig: &Rig) -> Result<Vec<Line>> {
    let work = rig.work()?;
    let cim = Cim::start(CimSpec::new(&rig.cim, work.path(), SinkSpec::Null)?)?;
    let server = NatsServer::start(&rig.nats)?;
    std::thread::sleep(Duration::from_secs(1));
    let (before, start) = (cim.child.scheduled_ns()?, Instant::now());
    std::thread::sleep(Duration::from_secs(10));
    let busy = cim.child.scheduled_ns()?.saturating_sub(before) as f64;
    let percent = busy / start.elapsed().as_nanos() as f64 * 100.0;
    let resident = cim.child.resident_bytes()? as f64 / MIB;
    Ok(vec![
        Line::figure("idle RSS", "MiB", &[resident], Some(Goal::AtMost(8.0)))
            .with("nats-server MiB", Some(server.child.resident_bytes()? as f64 / MIB)),
        Line::figure("idle CPU over 10 s", "% of a core", &[percent], Some(Goal::AtMost(0.1))),
    ])
}

/// Standard output is a pipe nobody reads; three publishers send 1 KiB lines as fast as they are read.
fn dead_sink(rig: &Rig) -> Result<Line> {
    let work = rig.work()?;
    let (_unread, write_end) = pipe()?;
    let mut spec = CimSpec::new(&rig.cim, work.path(), SinkSpec::Stdout)?;
    spec.budget = format!("{BUDGET_MIB}MiB");
    spec.spool_bytes = "1GiB".into();
    spec.when_full = "shed_oldest";
    let cim = Cim::start_into(spec, write_end)?;
    let stop = AtomicBool::new(false);
    let sent = std::thread::scope(|scope| -> Result<u64> {
        let senders: Vec<_> = (1..=3u32)
            .map(|number| {
                let (stop, address) = (&stop, cim.spec.nats);
                scope.spawn(move || -> Result<u64> {
                    let mut producer = Producer::connect(ProducerSpec::logs(address, number, 1024))?;
                    while !stop.load(Ordering::Relaxed) {
                        producer.send(producer.block())?;
                    }
                    Ok(producer.ledger().sent)
                })
            })
            .collect();
        std::thread::sleep(rig.slice.max(Duration::from_secs(5)));
        stop.store(true, Ordering::Relaxed);
        let mut sent = 0u64;
        for sender in senders {
            let one = sender.join().map_err(|_| BenchError::Unclean("a publisher failed".into()))?;
            sent = sent.saturating_add(one?);
        }
        Ok(sent)
    })?;
    let peak = cim.child.peak_bytes()? as f64 / MIB;
    let goal = Goal::AtMost(BUDGET_MIB + 8.0);
    Ok(Line::figure("peak RSS, full load, dead sink", "MiB", &[peak], Some(goal))
        .with("payload sent, GiB", Some(sent as f64 / (1024.0 * 1024.0)))
        .note(format!("budget {BUDGET_MIB} MiB, spool of 1 GiB on {}, shed_oldest", rig.file_system())))
}
