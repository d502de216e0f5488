//! Kafka delivery as an operator sees it: the time of a single event, memory at a fixed rate, the way out of a backlog.
//!
//! Times on the null broker, where the arrival of a record can be seen; memory on a real one where there is one. Left out: throughput (`kafka.rs`).

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use cim_testkit::null_broker::NullBroker;
use cim_testkit::{Behaviour, ChaosProxy};

use super::kafka::{Load, sample, spec, start};
use super::line::{Goal, Line};
use super::pair::{median, percentile};
use super::rig::Rig;
use crate::error::{BenchError, Result};
use crate::floor::Pump;
use crate::kafka::{Broker, RawPlan, RawProducer};
use crate::pace::Pace;
use crate::producer::{Producer, ProducerSpec};

const MIB: f64 = 1024.0 * 1024.0;
/// Longest standstill while held records drain.
const PATIENCE: Duration = Duration::from_secs(60);
/// Single events per slice, and the idle time before each.
const SINGLES: usize = 200;
const IDLE: Duration = Duration::from_millis(10);
/// Records per second of 1 KiB at which memory is read.
const STEADY: u64 = 100_000;
/// Time between two looks at it.
const SAMPLE_EVERY: Duration = Duration::from_millis(20);
/// Share of the live rate that comes in while a backlog is delivered, and the longest time for that.
const LIVE_SHARE: f64 = 0.2;
const LONGEST: Duration = Duration::from_secs(300);

fn broker() -> Result<NullBroker> {
    NullBroker::start(&[("LOGS", 10), ("EVENT", 5)]).map_err(BenchError::io("start a null broker"))
}

fn arrived(broker: &NullBroker, topic: &str) -> u64 {
    broker.end_offsets(topic).iter().map(|end| end.unsigned_abs()).sum()
}

/// Milliseconds from the start of `send` to the arrival of its record; the median of many, each after an idle pause.
fn single(broker: &NullBroker, topic: &str, mut send: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut times = Vec::with_capacity(SINGLES);
    for _ in 0..SINGLES {
        std::thread::sleep(IDLE);
        let before = arrived(broker, topic);
        let start = Instant::now();
        send()?;
        while arrived(broker, topic) == before {
            if start.elapsed() > PATIENCE {
                return Err(BenchError::Deadline {
                    what: "a single event".into(),
                    seconds: PATIENCE.as_secs(),
                });
            }
            std::thread::yield_now();
        }
        times.push(start.elapsed().as_secs_f64() * 1e3);
    }
    Ok(median(&times))
}

/// A single event on an idle system, above librdkafka without linger.
pub(super) fn latency(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let load = Load::events();
    let record = sample(rig, &load)?;
    let (mut above, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..rig.pairs {
        let broker = broker()?;
        let plan = RawPlan {
            brokers: broker.address().to_string(),
            topic: load.topic().to_owned(),
            record: record.clone(),
            seconds: 0.0,
            linger_ms: 0,
            queue_kib: rig.kafka.queue_kib,
        };
        let raw = RawProducer::new(&plan)?;
        raw.round_trip()?;
        let yardstick = single(&broker, load.topic(), || raw.send_one())?;
        let (_work, cim) = start(rig, &broker.address().to_string(), &load)?;
        let mut producer = Producer::connect(spec(&cim, &load))?;
        producer.send(1)?;
        producer.barrier()?;
        cim.drained(PATIENCE)?;
        let ours = single(&broker, load.topic(), || producer.send(1))?;
        above.push(ours - yardstick);
        theirs.push(yardstick);
    }
    line(
        Line::figure("single EVENT, idle: p50 above librdkafka alone", "ms", &above, Some(Goal::AtMost(0.2)))
            .with("librdkafka alone, ms", Some(median(&theirs)))
            .note("publish to arrival at the null broker"),
    );
    Ok(())
}

/// Memory at a fixed rate, once a first record is delivered: before that what comes in waits for the connection.
pub(super) fn footprint(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let broker = Broker::at(rig.kafka.servers.as_deref())?;
    let load = Load::logs(1024);
    let (_work, cim) = start(rig, &broker.bootstrap(), &load)?;
    let mut producer = Producer::connect(spec(&cim, &load))?;
    producer.send(1)?;
    producer.barrier()?;
    cim.drained(PATIENCE)?;
    let begin = Instant::now();
    let resident = paced(&mut producer, STEADY, rig.slice, || mebibytes(cim.child.resident_bytes()))?;
    let rate = producer.ledger().sent as f64 / begin.elapsed().as_secs_f64();
    cim.drained(PATIENCE)?;
    let peak = mebibytes(cim.child.peak_bytes())?;
    line(
        Line::figure("peak RSS at 100,000 msg/s of 1 KiB to Kafka", "MiB", &[peak], Some(Goal::AtMost(24.0)))
            .with("median of looks every 20 ms", Some(median(&resident)))
            .with("msg/s reached", Some(rate))
            .note(broker.name()),
    );
    Ok(())
}

fn mebibytes(bytes: Result<u64>) -> Result<f64> {
    bytes.map(|bytes| bytes as f64 / MIB)
}

/// Publishes at that rate for that long, and takes a sample again and again meanwhile.
fn paced<T: Send>(
    producer: &mut Producer,
    rate: u64,
    time: Duration,
    mut sample: impl FnMut() -> Result<T> + Send,
) -> Result<Vec<T>> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let samples = scope.spawn(|| {
            let (begin, mut samples) = (Instant::now(), Vec::new());
            while begin.elapsed() < time {
                samples.push(sample());
                std::thread::sleep(SAMPLE_EVERY);
            }
            stop.store(true, Ordering::Relaxed);
            samples
        });
        Pace { rate, barrier_every: Duration::from_millis(20) }.run(producer, &stop)?;
        let samples = samples.join().map_err(|_| BenchError::Unclean("a sample failed".into()))?;
        samples.into_iter().collect()
    })
}

/// A backlog of `rig.kafka.backlog` payload bytes is delivered while new records come in.
pub(super) fn backlog(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let broker = broker()?;
    let proxy = ChaosProxy::start(broker.address(), 7).map_err(BenchError::io("start a proxy"))?;
    broker.advertise(proxy.address());
    let load = Load::logs(1024);
    let (_work, cim) = start(rig, &proxy.address().to_string(), &load)?;
    let mut producer = Producer::connect(spec(&cim, &load))?;
    // What a thread that only reads and answers needs is what the machine takes of both: no program can be below it.
    let mut floor = Producer::connect(ProducerSpec::logs(Pump::start()?.address, 1, load.payload))?;
    // The live rate: publish and deliver with nothing in the way.
    let (begin, mut sent) = (Instant::now(), 0u64);
    while begin.elapsed() < rig.slice {
        barrier(&mut producer)?;
        sent = sent.saturating_add(producer.block());
    }
    cim.drained(PATIENCE)?;
    let live = sent as f64 / begin.elapsed().as_secs_f64();
    let rate = (live * LIVE_SHARE) as u64;
    let begin = Instant::now();
    let (quiet, floor_quiet, _) =
        barriers(&mut producer, &mut floor, rate, |_| begin.elapsed() >= rig.slice)?;
    cim.drained(PATIENCE)?;

    proxy.behave(Behaviour::blackhole());
    let backlog = rig.kafka.backlog / producer.payload_bytes();
    let mut written = 0u64;
    while written < backlog {
        producer.send(producer.block())?;
        written = written.saturating_add(producer.block());
    }
    producer.barrier()?;
    let before = arrived(&broker, load.topic());
    proxy.behave(Behaviour::faithful());
    let begin = Instant::now();
    let near = producer.block().saturating_mul(4);
    let (busy, floor_busy, late) = barriers(&mut producer, &mut floor, rate, |producer| {
        arrived(&broker, load.topic()).saturating_add(near) >= producer.ledger().sent
            || begin.elapsed() > LONGEST
    })?;
    let seconds = begin.elapsed().as_secs_f64();
    let drained = arrived(&broker, load.topic()).saturating_sub(before) as f64 / seconds;
    cim.drained(PATIENCE)?;
    if arrived(&broker, load.topic()) != producer.ledger().sent {
        return Err(BenchError::Unclean("not every record arrived once".into()));
    }
    let held = format!("{} MiB held; {late} records came meanwhile; null broker", rig.kafka.backlog >> 20);
    let name = "drain of a backlog / live rate, 1 KiB";
    line(
        Line::figure(name, "", &[drained / live], Some(Goal::AtLeast(0.9)))
            .with("live msg/s", Some(live))
            .note(held),
    );
    let name = "publish to PONG p99, while draining / live";
    line(
        Line::figure(name, "", &[busy / quiet], Some(Goal::AtMost(2.0)))
            .with("live p99, ms", Some(quiet))
            .with("a thread that only answers, while draining / alone", Some(floor_busy / floor_quiet))
            .with("it alone, p99, ms", Some(floor_quiet)),
    );
    Ok(())
}

/// Publishes blocks with a barrier behind each, at that rate at most, until it is enough; the same to the floor, in turn. Returns
/// the 99th percentile from publish to PONG of both in milliseconds, and how many records were sent.
fn barriers(
    producer: &mut Producer,
    floor: &mut Producer,
    rate: u64,
    mut enough: impl FnMut(&Producer) -> bool,
) -> Result<(f64, f64, u64)> {
    let (start, mut sent) = (Instant::now(), 0u64);
    let (mut times, mut floor_times) = (Vec::new(), Vec::new());
    while !enough(producer) {
        let due = (start.elapsed().as_secs_f64() * rate as f64) as u64;
        if sent >= due {
            std::thread::sleep(Duration::from_millis(1));
            continue;
        }
        times.push(barrier(producer)?);
        sent = sent.saturating_add(producer.block());
        floor_times.push(barrier(floor)?);
    }
    Ok((percentile(times, 0.99), percentile(floor_times, 0.99), sent))
}

/// Milliseconds from a block to the PONG behind it.
fn barrier(producer: &mut Producer) -> Result<f64> {
    let begin = Instant::now();
    producer.send(producer.block())?;
    producer.barrier()?;
    Ok(begin.elapsed().as_secs_f64() * 1e3)
}
