//! JSON lines to a TCP receiver on loopback: how fast, and how soon.
//!
//! Speed: the sink in process against a loop that writes the same bytes, which are made beforehand; the receiver sums up
//! what it reads on both sides, and the sum must be that of the lines. Delay: from publishing to the moment the receiver
//! has read the line, through the whole of CIM with its spool, against a relay that writes what it reads; every line must
//! arrive once and in order.

use std::borrow::Cow;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cim_core::{
    Batch, DeliveryError, Identity, LogFormat, LogRecord, LogSink, Meta, Neighbours, SinkContext,
};
use cim_sink_tcp::{TcpSettings, TcpSink};
use cim_wire::{Log, LogEncoder};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesOrdered;
use memchr::memmem;

use super::ingest::WARM_UP;
use super::line::{Goal, Line};
use super::pair::{Sample, median, paired, percentile};
use super::rig::Rig;
use crate::clock;
use crate::error::{BenchError, Result};
use crate::floor;
use crate::noise::Noise;
use crate::producer::{Producer, ProducerSpec};
use crate::server::{Cim, CimSpec, SinkSpec};
use crate::stamp::{self, Reading};

/// Bytes of one payload, for speed.
const LINE: usize = 1024;
/// Payloads of one batch: 512 KiB, as large as the engine makes them.
const BATCH: usize = 512;
/// Batches in one write of the write loop: with less it would measure the cache of the processor.
const PER_WRITE: usize = 2;
/// Bytes of one payload, for the delay.
const SHORT: usize = 128;
/// Messages per second, for the delay.
const RATE: u64 = 10_000;
/// Pause between two looks at the schedule.
const TICK: Duration = Duration::from_micros(100);

/// How fast.
pub(super) fn speed(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let name = format!("TCP sink, JSON lines of {LINE} B payloads");
    line(match paired(rig, deliver, write_loop) {
        Ok(pairing) => Line::ratio(name, "B/s", &pairing, 1.0, Some(Goal::AtLeast(0.6)))
            .note("write loop of the same bytes; the receiver reads and sums both"),
        Err(error) => Line::void(name, &error),
    });
    Ok(())
}

/// How soon.
pub(super) fn delay(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let name = format!("publish to readable at a TCP receiver, {RATE} msg/s of {SHORT} B, p50");
    line(match paired(rig, through_cim, through_relay) {
        Ok(pairing) => Line::ratio(name, "µs", &pairing, 1.0, Some(Goal::AtMost(1.6)))
            .with("p99", pairing.ours_beside("p99"))
            .with("yardstick p99", pairing.theirs_beside("p99"))
            .note(format!("relay that writes what it reads; CIM with spool on {}", rig.file_system())),
        Err(error) => Line::void(name, &error),
    });
    Ok(())
}

/// Reads one connection to its end; answers with the number of bytes and their CRC32C.
fn summing() -> Result<(SocketAddr, JoinHandle<(u64, u32)>)> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io("listen"))?;
    let address = listener.local_addr().map_err(BenchError::io("listen"))?;
    let reader = std::thread::spawn(move || {
        let (mut bytes, mut sum, mut buffer) = (0u64, 0u32, vec![0u8; floor::BLOCK]);
        let Ok((mut stream, _)) = listener.accept() else { return (0, 0) };
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            bytes = bytes.saturating_add(count as u64);
            sum = crc32c::crc32c_append(sum, buffer.get(..count).unwrap_or_default());
        }
        (bytes, sum)
    });
    Ok((address, reader))
}

/// What the receiver must have got: `count` times these bytes.
fn verify(reader: JoinHandle<(u64, u32)>, page: &[u8], count: u64) -> Result<u64> {
    let (bytes, sum) = reader.join().map_err(|_| BenchError::Unclean("the receiver failed".into()))?;
    let expected = (0..count).fold(0, |sum, _| crc32c::crc32c_append(sum, page));
    if bytes == count.saturating_mul(page.len() as u64) && sum == expected {
        return Ok(bytes);
    }
    Err(BenchError::Unclean(format!(
        "{bytes} bytes arrived, not {count} times the {} that were sent",
        page.len()
    )))
}

fn payloads() -> Vec<Vec<u8>> {
    let mut noise = Noise::new(1);
    (0..BATCH).map(|_| noise.text(LINE)).collect()
}

fn log(payload: &[u8]) -> Log<'_> {
    Log {
        container_id: Cow::Borrowed(b"1"),
        container_name: Cow::Borrowed(b"bench"),
        payload: Some(Cow::Borrowed(payload)),
    }
}

fn identity() -> Identity {
    Identity { namespace: "bench".into(), pod: "bench-0".into(), ..Identity::default() }
}

/// The lines of one batch.
fn page(payloads: &[Vec<u8>]) -> Vec<u8> {
    let encoder = LogEncoder::new(&identity().log_context(), LogFormat::Json);
    let mut page = Vec::new();
    for payload in payloads {
        encoder.encode(&log(payload), &mut page);
        page.push(b'\n');
    }
    page
}

fn deliver(rig: &Rig) -> Result<Sample> {
    let (address, reader) = summing()?;
    let identity = Arc::new(identity());
    let context = SinkContext {
        name: "bench".into(),
        identity,
        log_format: LogFormat::Json,
        neighbours: Neighbours::default(),
    };
    let settings = TcpSettings { address: Some(address.to_string()), ..TcpSettings::default() };
    let sink = TcpSink::new(&context, &settings, None)
        .map_err(|problem| BenchError::Invalid(problem.to_string()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(BenchError::io("start a runtime"))?;
    let payloads = payloads();
    let records = payloads.iter().map(|payload| LogRecord {
        meta: Meta { seq: 1, epoch: 1, arrived_ms: 0, redelivered: false },
        headers: None,
        log: log(payload),
    });
    let batch = Batch::new(records.collect(), BATCH.saturating_mul(LINE));
    let start = Instant::now();
    let count = runtime.block_on(keep_in_flight(&sink, &batch, start + rig.slice));
    let count = count.map_err(|error| BenchError::Unclean(format!("TCP sink: {error}")))?;
    let seconds = start.elapsed().as_secs_f64();
    drop((sink, runtime));
    Ok(Sample::of(verify(reader, &page(&payloads), count)? as f64 / seconds))
}

/// Delivers the batch again and again, as many at once as the sink takes, as the engine does. Returns how often.
async fn keep_in_flight(
    sink: &TcpSink,
    batch: &Batch<LogRecord<'_>>,
    until: Instant,
) -> std::result::Result<u64, DeliveryError> {
    let window = LogSink::profile(sink).max_in_flight;
    let (mut count, mut flights) = (0u64, FuturesOrdered::new());
    loop {
        while flights.len() < window && Instant::now() < until {
            flights.push_back(LogSink::deliver(sink, batch));
            count = count.saturating_add(1);
        }
        match flights.next().await {
            Some(delivered) => delivered?,
            None => return Ok(count),
        }
    }
}

fn write_loop(rig: &Rig) -> Result<Sample> {
    let (address, reader) = summing()?;
    let mut stream = TcpStream::connect(address).map_err(BenchError::io("connect"))?;
    stream.set_nodelay(true).map_err(BenchError::io("set TCP_NODELAY"))?;
    let page = page(&payloads()).repeat(PER_WRITE);
    let (mut count, start) = (0u64, Instant::now());
    while start.elapsed() < rig.slice {
        stream.write_all(&page).map_err(BenchError::io("write"))?;
        count = count.saturating_add(1);
    }
    let seconds = start.elapsed().as_secs_f64();
    drop(stream);
    Ok(Sample::of(verify(reader, &page, count)? as f64 / seconds))
}

/// Reads one connection to its end and notes for every line how long after its publication it was there.
fn timing() -> Result<(SocketAddr, JoinHandle<Result<Vec<f64>>>)> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(BenchError::io("listen"))?;
    let address = listener.local_addr().map_err(BenchError::io("listen"))?;
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().map_err(BenchError::io("accept"))?;
        let (mut delays, mut held, mut buffer) = (Vec::new(), Vec::new(), vec![0u8; floor::BLOCK]);
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            let now = clock::now_ns();
            held.extend_from_slice(buffer.get(..count).unwrap_or_default());
            let read = note(&held, now, &mut delays)?;
            held.drain(..read);
        }
        Ok(delays)
    });
    Ok((address, reader))
}

/// Notes every whole payload, and says how many bytes need not be looked at again.
fn note(held: &[u8], now: u64, delays: &mut Vec<f64>) -> Result<usize> {
    let mut read = 0;
    for at in memmem::find_iter(held, stamp::MAGIC) {
        match stamp::read(held.get(at..).unwrap_or_default()) {
            Reading::Whole(stamp) => {
                if stamp.seq != delays.len() as u64 + 1 {
                    let expected = delays.len().saturating_add(1);
                    return Err(BenchError::Unclean(format!("line {} instead of {expected}", stamp.seq)));
                }
                delays.push(now.saturating_sub(stamp.intended_ns) as f64 / 1e3);
                read = at.saturating_add(stamp.length as usize);
            }
            Reading::Torn => return Ok(at),
            Reading::Altered | Reading::Foreign => {
                return Err(BenchError::Unclean("a line was altered".into()));
            }
        }
    }
    // The beginning of a stamp may stand at the end.
    Ok(read.max(held.len().saturating_sub(stamp::MAGIC.len())))
}

/// Publishes on schedule; lines of the warm-up are not counted.
fn publish(rig: &Rig, producer: &mut Producer) -> Result<()> {
    let (mut sent, start) = (0u64, Instant::now());
    let time = rig.slice.saturating_add(WARM_UP);
    while start.elapsed() < time {
        let due =
            u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX).saturating_mul(RATE) / 1_000_000;
        producer.send_due(due.saturating_sub(sent), clock::now_ns())?;
        sent = due.max(sent);
        std::thread::sleep(TICK);
    }
    producer.barrier().map(drop)
}

fn delays(reader: JoinHandle<Result<Vec<f64>>>, sent: u64) -> Result<Sample> {
    let delays = reader.join().map_err(|_| BenchError::Unclean("the receiver failed".into()))??;
    if delays.len() as u64 != sent {
        return Err(BenchError::Unclean(format!("{} of {sent} lines", delays.len())));
    }
    let cold = (RATE as f64 * WARM_UP.as_secs_f64()) as usize;
    let warm = delays.get(cold..).unwrap_or_default();
    Ok(Sample::of(median(warm)).with("p99", percentile(warm.to_vec(), 0.99)))
}

fn through_cim(rig: &Rig) -> Result<Sample> {
    let work = rig.work()?;
    let (address, reader) = timing()?;
    let mut cim = Cim::start(CimSpec::new(&rig.cim, work.path(), SinkSpec::Tcp(address))?)?;
    let mut producer = Producer::connect(ProducerSpec::logs(cim.spec.nats, 1, SHORT))?;
    publish(rig, &mut producer)?;
    cim.drained(Duration::from_secs(10))?;
    cim.child.terminate(Duration::from_secs(10))?;
    delays(reader, producer.ledger().sent)
}

fn through_relay(rig: &Rig) -> Result<Sample> {
    let (address, reader) = timing()?;
    let mut producer = Producer::connect(ProducerSpec::logs(floor::relay(address)?, 1, SHORT))?;
    publish(rig, &mut producer)?;
    let sent = producer.ledger().sent;
    // The relay ends its own connection with that of the publisher.
    drop(producer);
    delays(reader, sent)
}
