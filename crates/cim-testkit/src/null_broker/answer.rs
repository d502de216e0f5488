//! Requests in, answers out: the part of the protocol of Kafka 2.1 that a producer needs.
//!
//! Left out: sockets. Invariant: a request of a version that a 2.1 broker does not speak is not answered, except
//! ApiVersions, which says so, as a 2.1 broker does.

use std::net::SocketAddr;
use std::time::Duration;

use super::Shared;
use super::batch::Batch;
use super::code;
use super::fault::{Api, Fault};
use super::wire::{Malformed, Reader, Result, Writer};

/// Key, lowest and highest version of what a 2.1 broker speaks and a client may decide by. Fetch and offsets are named,
/// because producers judge the broker's record format by them; asking for them ends the connection.
const VERSIONS: [(i16, i16, i16); 7] =
    [(0, 0, 7), (1, 0, 10), (2, 0, 4), (3, 0, 7), (10, 0, 2), (18, 0, 2), (22, 0, 1)];

/// The one broker's number.
const NODE: i32 = 1;

/// What becomes of a request.
pub(super) enum Outcome {
    /// Sent at once; the next request of the connection is not read before that time has passed.
    Answer(Vec<u8>, Duration),
    Nothing,
    Close,
}

/// A request without its length.
struct Request<'a> {
    version: i16,
    correlation: i32,
    body: Reader<'a>,
}

/// Does what a request asks, or what the script says.
pub(super) fn answer(shared: &Shared, bytes: &[u8]) -> Result<Outcome> {
    let mut body = Reader(bytes);
    let (key, version, correlation) = (body.i16()?, body.i16()?, body.i32()?);
    let _client = body.string()?;
    let known = VERSIONS.iter().any(|(of, low, high)| *of == key && (*low..=*high).contains(&version));
    let (Some(api), true) = (Api::of(key), known || key == 18) else { return Ok(Outcome::Close) };
    let request = Request { version, correlation, body };
    let fault = shared.next_fault(api);
    match &fault {
        Some(Fault::Silence) => return Ok(Outcome::Nothing),
        Some(Fault::Raw(bytes)) => return Ok(Outcome::Answer(bytes.clone(), Duration::ZERO)),
        _ => {}
    }
    let error = if let Some(Fault::Error(error)) = fault { Some(error) } else { None };
    let pause = if let Some(Fault::Throttle(time)) = fault { time } else { Duration::ZERO };
    let throttle = i32::try_from(pause.as_millis()).unwrap_or(i32::MAX);
    let reply = match api {
        Api::Produce => produce(shared, request, error, throttle)?,
        Api::Metadata => Some(metadata(shared, request, error, throttle)?),
        Api::FindCoordinator => Some(find_coordinator(&request, error)),
        Api::ApiVersions => Some(api_versions(&request, error)),
        Api::InitProducerId => Some(init_producer_id(shared, &request, error, throttle)),
    };
    Ok(match (fault, reply) {
        (Some(Fault::LostAnswer), _) => Outcome::Close,
        (Some(Fault::Nonsense(bytes)), _) => {
            let mut out = Writer::default();
            out.i32(correlation);
            out.bytes(&bytes);
            Outcome::Answer(out.framed(), Duration::ZERO)
        }
        (Some(Fault::Unanswered), _) | (_, None) => Outcome::Nothing,
        (_, Some(reply)) => Outcome::Answer(reply.framed(), pause),
    })
}

fn head(request: &Request<'_>) -> Writer {
    let mut out = Writer::default();
    out.i32(request.correlation);
    out
}

fn api_versions(request: &Request<'_>, error: Option<i16>) -> Writer {
    let mut out = head(request);
    // An answer to a version it does not know has the form of version 0.
    let known = request.version <= 2;
    out.i16(error.unwrap_or(if known { 0 } else { code::UNSUPPORTED_VERSION }));
    out.count(VERSIONS.len());
    for (key, low, high) in VERSIONS {
        out.i16(key);
        out.i16(low);
        out.i16(high);
    }
    if known && request.version >= 1 {
        out.i32(0);
    }
    out
}

fn find_coordinator(request: &Request<'_>, error: Option<i16>) -> Writer {
    let mut out = head(request);
    if request.version >= 1 {
        out.i32(0);
    }
    out.i16(error.unwrap_or(code::COORDINATOR_NOT_AVAILABLE));
    if request.version >= 1 {
        out.null_string();
    }
    out.i32(-1);
    out.string("");
    out.i32(-1);
    out
}

fn init_producer_id(shared: &Shared, request: &Request<'_>, error: Option<i16>, throttle: i32) -> Writer {
    let mut out = head(request);
    out.i32(throttle);
    out.i16(error.unwrap_or(0));
    out.i64(if error.is_some() { -1 } else { shared.new_producer() });
    out.i16(if error.is_some() { -1 } else { 0 });
    out
}

fn metadata(shared: &Shared, mut request: Request<'_>, error: Option<i16>, throttle: i32) -> Result<Writer> {
    let version = request.version;
    let asked = match request.body.count()? {
        // Before version 1 an empty list meant all.
        Some(0) if version == 0 => None,
        Some(count) => {
            let names = (0..count).map(|_| request.body.string()?.map(str::to_owned).ok_or(Malformed));
            Some(names.collect::<Result<Vec<_>>>()?)
        }
        None => None,
    };
    let topics = shared.topics();
    let asked = asked.unwrap_or_else(|| topics.names());
    let mut out = head(&request);
    if version >= 3 {
        out.i32(throttle);
    }
    broker(&mut out, version, shared.advertised());
    out.count(asked.len());
    for name in asked {
        let partitions = topics.partitions(&name);
        let missing = partitions.is_none().then_some(code::UNKNOWN_TOPIC_OR_PARTITION);
        out.i16(error.or(missing).unwrap_or(0));
        out.string(&name);
        if version >= 1 {
            out.i8(0);
        }
        let count = if error.is_some() { 0 } else { partitions.unwrap_or(0) };
        out.count(count);
        for index in 0..count {
            partition(&mut out, version, i32::try_from(index).unwrap_or(i32::MAX));
        }
    }
    Ok(out)
}

fn broker(out: &mut Writer, version: i16, address: SocketAddr) {
    out.count(1);
    out.i32(NODE);
    out.string(&address.ip().to_string());
    out.i32(i32::from(address.port()));
    if version >= 1 {
        out.null_string();
    }
    if version >= 2 {
        out.string("null-broker");
    }
    if version >= 1 {
        out.i32(NODE);
    }
}

fn partition(out: &mut Writer, version: i16, index: i32) {
    out.i16(0);
    out.i32(index);
    out.i32(NODE);
    if version >= 7 {
        out.i32(0);
    }
    for _ in ["replicas", "in sync"] {
        out.count(1);
        out.i32(NODE);
    }
    if version >= 5 {
        out.count(0);
    }
}

/// None when the client wants no answer.
fn produce(
    shared: &Shared,
    mut request: Request<'_>,
    error: Option<i16>,
    throttle: i32,
) -> Result<Option<Writer>> {
    let version = request.version;
    if version < 3 {
        // Record formats before 2: what no idempotent producer sends.
        return Err(Malformed);
    }
    let mut out = head(&request);
    let body = &mut request.body;
    let _transaction = body.string()?;
    let (acks, _timeout) = (body.i16()?, body.i32()?);
    let topics = body.count()?.ok_or(Malformed)?;
    out.count(topics);
    for _ in 0..topics {
        let topic = body.string()?.ok_or(Malformed)?;
        let partitions = body.count()?.ok_or(Malformed)?;
        out.string(topic);
        out.count(partitions);
        for _ in 0..partitions {
            let partition = body.i32()?;
            let records = body.blob()?.unwrap_or_default();
            let appended = match error {
                Some(error) => Err(error),
                None => append(shared, topic, partition, records),
            };
            if let Err(error) = appended {
                shared.refused(error);
            }
            out.i32(partition);
            out.i16(appended.err().unwrap_or(0));
            out.i64(appended.unwrap_or(-1));
            out.i64(-1);
            if version >= 5 {
                out.i64(0);
            }
        }
    }
    out.i32(throttle);
    Ok((acks != 0).then_some(out))
}

fn append(shared: &Shared, topic: &str, partition: i32, bytes: &[u8]) -> std::result::Result<i64, i16> {
    let reads = shared.topics().reads_records();
    // Checksums are computed without the lock.
    let batch = Batch::read(bytes).and_then(|batch| {
        let records = if reads { batch.records()? } else { Vec::new() };
        Ok((batch, records))
    });
    shared.topics().append(topic, partition, batch)
}
