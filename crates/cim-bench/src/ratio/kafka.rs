//! Logs and events to Kafka, acknowledged by the broker, against librdkafka alone on the same broker with the same bytes.
//!
//! The yardstick sends one record that CIM itself wrote before (key, value, headers), from a process of its own. Our time ends
//! when CIM has nothing left to deliver; both sides are compared with the offsets of the broker. With a window of bytes
//! between the publisher and the broker CIM delivers while it takes records, as it does in service.

use std::process::Command;
use std::time::{Duration, Instant};

use super::ingest::WARM_UP;
use super::line::{Goal, Line};
use super::pair::{Pairing, Sample, paired};
use super::rig::Rig;
use crate::deck::Traffic;
use crate::error::{BenchError, Result};
use crate::kafka::{Broker, RawPlan, RawResult, RecordSample};
use crate::producer::{Producer, ProducerSpec};
use crate::server::{Cim, CimSpec, SinkSpec};

/// Payload bytes between the publisher and the broker.
const WINDOW: u64 = 16 << 20;
/// Longest standstill while held records drain.
const PATIENCE: Duration = Duration::from_secs(30);
/// Pause of a publisher whose window is full.
const PAUSE: Duration = Duration::from_millis(1);

/// What is published, how much of it, and where it goes.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) traffic: Traffic,
    pub(super) payload: usize,
    /// Whether records carry `cim-epoch`, `cim-seq` and `cim-id`: each costs the client memory of its own.
    pub(super) headers: bool,
}

impl Load {
    pub(super) fn logs(payload: usize) -> Self {
        Self { traffic: Traffic::Log, payload, headers: true }
    }

    pub(super) fn events() -> Self {
        Self { traffic: Traffic::EventOfTen, payload: 128, headers: true }
    }

    pub(super) fn topic(&self) -> &'static str {
        if self.traffic == Traffic::Log { "LOGS" } else { "EVENT" }
    }
}

/// Logs of three sizes, the smallest also without headers, as other forwarders send them.
pub(super) fn logs(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let with =
        [(128, 0.5), (1024, 0.8), (8192, 0.8)].map(|(payload, goal)| (Load::logs(payload), Some(goal)));
    let without = (Load { headers: false, ..Load::logs(128) }, None);
    for (load, goal) in with.into_iter().chain([without]) {
        let broker = Broker::at(rig.kafka.servers.as_deref())?;
        let headers = if load.headers { "" } else { ", no headers" };
        let name = format!("LOG to Kafka, acknowledged, {} B{headers}", load.payload);
        let pairing = measure(rig, &broker, &load);
        report(&name, &load, pairing, goal.map(Goal::AtLeast), &broker, line);
    }
    Ok(())
}

/// Events with ten key-values.
pub(super) fn events(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let broker = Broker::at(rig.kafka.servers.as_deref())?;
    let load = Load::events();
    let pairing = measure(rig, &broker, &load);
    let name = "EVENT with 10 key-values to Kafka, acknowledged";
    report(name, &load, pairing, Some(Goal::AtLeast(0.6)), &broker, line);
    Ok(())
}

fn measure(rig: &Rig, broker: &Broker, load: &Load) -> Result<Pairing> {
    let record = sample(rig, load)?;
    paired(rig, |rig| cim(rig, broker, load), |rig| raw(rig, broker, load, &record))
}

fn report(
    name: &str,
    load: &Load,
    pairing: Result<Pairing>,
    goal: Option<Goal>,
    broker: &Broker,
    line: &mut dyn FnMut(Line),
) {
    let pairing = match pairing {
        Ok(pairing) => pairing,
        Err(error) => return line(Line::void(name, &error)),
    };
    line(
        Line::ratio(name, "msg/s", &pairing, 1.0, goal)
            .with("CPU-s per million", pairing.ours_beside("cpu"))
            .with("yardstick CPU-s per million", pairing.theirs_beside("cpu"))
            .with("peak RSS, MiB", pairing.ours_beside("rss"))
            .note(format!("librdkafka alone with the same bytes; {}", broker.name())),
    );
    if load.traffic == Traffic::Log && load.payload == 128 {
        let cpu: Vec<f64> =
            pairing.ours.iter().filter_map(|slice| slice.beside.get("cpu").copied()).collect();
        line(Line::figure(format!("{name}: CPU"), "s per million", &cpu, Some(Goal::AtMost(2.0))));
    }
}

/// A record as CIM writes it, taken from a null broker.
pub(super) fn sample(rig: &Rig, load: &Load) -> Result<RecordSample> {
    let broker = cim_testkit::null_broker::NullBroker::start(&[("LOGS", 1), ("EVENT", 1)])
        .map_err(BenchError::io("start a null broker"))?;
    broker.keep_records();
    let (work, cim) = start(rig, &broker.address().to_string(), load)?;
    let mut producer = Producer::connect(spec(&cim, load))?;
    producer.send(1)?;
    producer.barrier()?;
    cim.drained(PATIENCE)?;
    drop((cim, work));
    let record = broker.records(load.topic()).into_iter().next();
    let record = record.ok_or_else(|| BenchError::Unclean("the sample record did not arrive".into()))?;
    Ok(RecordSample { key: record.key, value: record.value.unwrap_or_default(), headers: record.headers })
}

/// CIM with its Kafka sink on these brokers, as that load has it.
pub(super) fn start(rig: &Rig, brokers: &str, load: &Load) -> Result<(tempfile::TempDir, Cim)> {
    let work = rig.work()?;
    let sink = SinkSpec::Kafka { brokers: brokers.to_owned(), headers: load.headers };
    let cim = Cim::start(CimSpec::new(&rig.cim, work.path(), sink)?)?;
    Ok((work, cim))
}

pub(super) fn spec(cim: &Cim, load: &Load) -> ProducerSpec {
    ProducerSpec { traffic: load.traffic.clone(), ..ProducerSpec::logs(cim.spec.nats, 1, load.payload) }
}

fn cim(rig: &Rig, broker: &Broker, load: &Load) -> Result<Sample> {
    let (_work, cim) = start(rig, &broker.bootstrap(), load)?;
    let mut producer = Producer::connect(spec(&cim, load))?;
    windowed(&mut producer, broker, load, WARM_UP)?;
    cim.drained(PATIENCE)?;
    let (cpu, before, sent) =
        (cim.child.cpu_seconds()?, broker.records(load.topic())?, producer.ledger().sent);
    let start = Instant::now();
    windowed(&mut producer, broker, load, rig.slice)?;
    let books = cim.drained(PATIENCE)?;
    let seconds = start.elapsed().as_secs_f64();
    let count = producer.ledger().sent.saturating_sub(sent);
    let arrived = broker.records(load.topic())?.saturating_sub(before);
    if arrived != count || producer.accepted() != producer.ledger().sent {
        return Err(BenchError::Unclean(format!("sent {count}, arrived {arrived}, books {books:?}")));
    }
    let cpu = (cim.child.cpu_seconds()? - cpu) / (count as f64 / 1e6);
    let peak = cim.child.peak_bytes()? as f64 / (1024.0 * 1024.0);
    Ok(Sample::of(count as f64 / seconds).with("cpu", cpu).with("rss", peak))
}

/// Publishes for that long, never further ahead of the broker than the window, then waits for the PONG.
fn windowed(producer: &mut Producer, broker: &Broker, load: &Load, time: Duration) -> Result<()> {
    let window = (WINDOW / producer.payload_bytes().max(1)).max(producer.block());
    let before = broker.records(load.topic())?;
    let first = producer.ledger().sent;
    let start = Instant::now();
    let mut arrived = 0;
    while start.elapsed() < time {
        if producer.ledger().sent.saturating_sub(first).saturating_sub(arrived) < window {
            producer.send(producer.block())?;
        } else {
            std::thread::sleep(PAUSE);
            arrived = broker.records(load.topic())?.saturating_sub(before);
        }
    }
    producer.barrier().map(|_| ())
}

fn raw(rig: &Rig, broker: &Broker, load: &Load, record: &RecordSample) -> Result<Sample> {
    let plan = RawPlan {
        brokers: broker.bootstrap(),
        topic: load.topic().to_owned(),
        record: record.clone(),
        seconds: rig.slice.as_secs_f64(),
        linger_ms: rig.kafka.linger_ms,
        queue_kib: rig.kafka.queue_kib,
    };
    let before = broker.records(load.topic())?;
    let result = in_own_process(rig, &plan)?;
    // One more: the record before the clock starts.
    let arrived = broker.records(load.topic())?.saturating_sub(before).saturating_sub(1);
    if arrived != result.acked {
        return Err(BenchError::Unclean(format!("{} acknowledged, {arrived} arrived", result.acked)));
    }
    let cpu = result.cpu_seconds / (result.acked as f64 / 1e6);
    Ok(Sample::of(result.acked as f64 / result.seconds).with("cpu", cpu))
}

fn in_own_process(rig: &Rig, plan: &RawPlan) -> Result<RawResult> {
    let work = rig.work()?;
    let path = work.path().join("plan.json");
    let text = serde_json::to_vec(plan).map_err(|error| BenchError::Invalid(error.to_string()))?;
    std::fs::write(&path, text).map_err(BenchError::io("write the plan"))?;
    let own = std::env::current_exe().map_err(BenchError::io("find this program"))?;
    let output = Command::new(own).arg("raw-kafka").arg(&path).output();
    let output = output.map_err(BenchError::io("start the yardstick"))?;
    serde_json::from_slice(&output.stdout)
        .map_err(|_| BenchError::Unclean(String::from_utf8_lossy(&output.stderr).trim().to_owned()))
}
