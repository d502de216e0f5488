//! Publish one line, PING, wait for PONG, repeat: what a client does that flushes after every line.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use super::ingest::verify;
use super::line::{Goal, Line};
use super::pair::{Sample, paired};
use super::rig::Rig;
use crate::error::Result;
use crate::floor;
use crate::producer::{Producer, ProducerSpec};
use crate::server::{Cim, CimSpec, NatsServer, SinkSpec};

/// Payload bytes.
const PAYLOAD: usize = 128;

/// The one line of this bench.
pub(super) fn run(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let name = format!("publish, PING, PONG, repeat, {PAYLOAD} B");
    match paired(rig, cim, nats) {
        Ok(pairing) => {
            let floor = floor::ping_pong(Duration::from_secs(1))?;
            line(
                Line::ratio(name, "/s", &pairing, 1.0, Some(Goal::AtLeast(1.0)))
                    .with("CPU-s per million", pairing.ours_beside("cpu"))
                    .with("yardstick CPU-s per million", pairing.theirs_beside("cpu"))
                    .with("bare TCP round trips/s", Some(floor))
                    .note(format!("nats-server, no subscriber; level written on {}", rig.file_system())),
            );
        }
        Err(error) => line(Line::void(name, &error)),
    }
    Ok(())
}

fn cim(rig: &Rig) -> Result<Sample> {
    let work = rig.work()?;
    let cim = Cim::start(CimSpec::new(&rig.cim, work.path(), SinkSpec::Null)?)?;
    let cpu = cim.child.cpu_seconds()?;
    let (rate, producer) = round_trips(cim.spec.nats, rig.slice)?;
    let books = cim.drained(Duration::from_secs(10))?;
    verify(&books, producer.ledger().sent, producer.accepted())?;
    let cpu = (cim.child.cpu_seconds()? - cpu) / (producer.accepted() as f64 / 1e6);
    Ok(Sample::of(rate).with("cpu", cpu))
}

fn nats(rig: &Rig) -> Result<Sample> {
    let server = NatsServer::start(&rig.nats)?;
    let cpu = server.child.cpu_seconds()?;
    let (rate, producer) = round_trips(server.address, rig.slice)?;
    let cpu = (server.child.cpu_seconds()? - cpu) / (producer.accepted() as f64 / 1e6);
    Ok(Sample::of(rate).with("cpu", cpu))
}

fn round_trips(address: SocketAddr, time: Duration) -> Result<(f64, Producer)> {
    let mut producer = Producer::connect(ProducerSpec::logs(address, 1, PAYLOAD))?;
    let start = Instant::now();
    let mut count = 0u64;
    while start.elapsed() < time {
        producer.round_trip()?;
        count = count.saturating_add(1);
    }
    Ok((count as f64 / start.elapsed().as_secs_f64(), producer))
}
