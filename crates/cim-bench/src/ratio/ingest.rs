//! LOG ingest: publish, verify, spool, sink null, PONG barrier; against the same generator on `nats-server`.
//!
//! Our time ends with the PONG, when every message is accepted; that of `nats-server` with a subscriber when the
//! subscriber has received every message, without a subscriber with the PONG. CPU seconds count until CIM has drained.

use std::time::Duration;

use super::line::{Goal, Line};
use super::pair::{Sample, paired};
use super::rig::{Rig, closed_loop};
use crate::books::Books;
use crate::deck::Traffic;
use crate::error::{BenchError, Result};
use crate::producer::{Producer, ProducerSpec};
use crate::server::{Cim, CimSpec, NatsServer, SinkSpec};
use crate::subscriber::Subscriber;

/// Published before the clock starts, so that buffers, caches and connections are warm.
pub(super) const WARM_UP: Duration = Duration::from_millis(300);
/// Longest standstill while held records drain.
const DRAIN_PATIENCE: Duration = Duration::from_secs(10);

/// With spool, against `nats-server` with one subscriber.
pub(super) fn spooled(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    for (payload, goal) in [(128, 1.5), (1024, 1.2), (8192, 1.0)] {
        let name = format!("LOG ingest, spool, {payload} B");
        let pairing = paired(rig, |rig| cim(rig, payload, true), |rig| nats(rig, payload, 1));
        lines(rig, &name, payload, pairing, goal, "nats-server, 1 subscriber", line)?;
    }
    Ok(())
}

/// Without spool, against `nats-server` without a subscriber.
pub(super) fn in_memory(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    for (payload, goal) in [(128, 0.7), (1024, 0.9), (8192, 0.95)] {
        let name = format!("LOG ingest, no spool, {payload} B");
        let pairing = paired(rig, |rig| cim(rig, payload, false), |rig| nats(rig, payload, 0));
        lines(rig, &name, payload, pairing, goal, "nats-server, no subscriber", line)?;
    }
    Ok(())
}

fn lines(
    rig: &Rig,
    name: &str,
    payload: usize,
    pairing: Result<super::Pairing>,
    goal: f64,
    against: &str,
    line: &mut dyn FnMut(Line),
) -> Result<()> {
    let pairing = match pairing {
        Ok(pairing) => pairing,
        Err(error) => {
            line(Line::void(name, &error));
            return Ok(());
        }
    };
    let pump = rig.pump_rate(&Traffic::Log, payload)?;
    let fastest = pairing.our_figures().into_iter().chain(pairing.their_figures()).fold(0.0, f64::max);
    line(
        Line::ratio(name, "msg/s", &pairing, 1.0, Some(Goal::AtLeast(goal)))
            .with("CPU-s per million", pairing.ours_beside("cpu"))
            .with("yardstick CPU-s per million", pairing.theirs_beside("cpu"))
            .with("bytes written / payload bytes", pairing.ours_beside("written"))
            .with("generator alone / fastest side", Some(pump / fastest))
            .note(format!("{against}; {}", rig.file_system())),
    );
    if payload == 128 {
        let cpu: Vec<f64> =
            pairing.ours.iter().filter_map(|slice| slice.beside.get("cpu").copied()).collect();
        line(Line::figure(format!("{name}: CPU"), "s per million", &cpu, Some(Goal::AtMost(0.4))));
    }
    Ok(())
}

fn cim(rig: &Rig, payload: usize, spool: bool) -> Result<Sample> {
    let work = rig.work()?;
    let spec = CimSpec::new(&rig.cim, work.path(), SinkSpec::Null)?;
    let cim = Cim::start(if spool { spec } else { spec.without_spool() })?;
    let mut producer = Producer::connect(ProducerSpec::logs(cim.spec.nats, 1, payload))?;
    closed_loop(&mut producer, WARM_UP, u64::MAX)?;
    cim.drained(DRAIN_PATIENCE)?;
    let (cpu, written) = (cim.child.cpu_seconds()?, cim.child.written_bytes()?);
    let (rate, count) = closed_loop(&mut producer, rig.slice, u64::MAX)?;
    let books = cim.drained(DRAIN_PATIENCE)?;
    verify(&books, producer.ledger().sent, producer.accepted())?;
    let written = cim.child.written_bytes()?.saturating_sub(written);
    let payload_bytes = count.saturating_mul(payload as u64);
    if spool && written < payload_bytes {
        return Err(BenchError::Unclean(format!(
            "{written} bytes written for {payload_bytes} payload bytes"
        )));
    }
    let cpu = (cim.child.cpu_seconds()? - cpu) / (count as f64 / 1e6);
    Ok(Sample::of(rate).with("cpu", cpu).with("written", written as f64 / payload_bytes as f64))
}

/// Every message sent is accepted and delivered, none refused or dropped, and the books balance.
pub(super) fn verify(books: &Books, sent: u64, accepted: u64) -> Result<()> {
    let logs = &books.logs;
    let clean = accepted == sent
        && logs.accepted == sent
        && logs.delivered == sent
        && logs.balance()
        && books.refused == 0
        && books.lost_records == 0;
    if clean {
        Ok(())
    } else {
        Err(BenchError::Unclean(format!("sent {sent}, accepted {accepted}, books {books:?}")))
    }
}

fn nats(rig: &Rig, payload: usize, subscribers: usize) -> Result<Sample> {
    let server = NatsServer::start(&rig.nats)?;
    one_to_many(&server.child, server.address, &Traffic::Log, payload, subscribers, rig.slice)
}

/// One publisher to some subscribers on any NATS server; the rate is that of published messages.
pub(super) fn one_to_many(
    server: &crate::server::Child,
    address: std::net::SocketAddr,
    traffic: &Traffic,
    payload: usize,
    subscribers: usize,
    slice: Duration,
) -> Result<Sample> {
    let receivers: Result<Vec<Subscriber>> =
        (0..subscribers).map(|_| Subscriber::start(address, traffic.subject())).collect();
    let receivers = receivers?;
    let spec = ProducerSpec { traffic: traffic.clone(), ..ProducerSpec::logs(address, 1, payload) };
    let mut producer = Producer::connect(spec)?;
    closed_loop(&mut producer, WARM_UP, u64::MAX)?;
    for receiver in &receivers {
        receiver.wait_for(producer.ledger().sent)?;
    }
    let cpu = server.cpu_seconds()?;
    let start = std::time::Instant::now();
    let (_, count) = closed_loop(&mut producer, slice, u64::MAX)?;
    for receiver in &receivers {
        receiver.wait_for(producer.ledger().sent)?;
    }
    let rate = count as f64 / start.elapsed().as_secs_f64();
    let cpu = (server.cpu_seconds()? - cpu) / (count as f64 / 1e6);
    let too_many = receivers.iter().any(|receiver| receiver.count() != producer.ledger().sent);
    if too_many || producer.accepted() != producer.ledger().sent {
        return Err(BenchError::Unclean("subscribers received another number than was sent".into()));
    }
    Ok(Sample::of(rate).with("cpu", cpu))
}
