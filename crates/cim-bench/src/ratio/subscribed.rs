//! Subscribed events from a topic to a NATS connection, against a bare consumer of the same topic.
//!
//! The topic is filled once; each slice reads all of it, with a program and a group of its own. The subscriptions lie in the spool
//! before the program starts. Both sides are timed from the first record to the last. Left out: subscriptions that want answers.

use std::fs;
use std::time::{Duration, Instant};

use super::line::{Goal, Line};
use super::pair::{Pairing, Sample, paired};
use super::rig::Rig;
use crate::error::{BenchError, Result};
use crate::kafka::{Broker, NAMES, TOPIC, fill, read};
use crate::server::{Cim, CimSpec, SinkSpec};
use crate::subscriber::Subscriber;

/// Records in the topic for each second of a slice.
const PER_SECOND: f64 = 50_000.0;
/// Numbers of subscriptions.
const FILTERS: [usize; 3] = [1, 100, 1_000];
/// Longest wait for the first notification.
const PATIENCE: Duration = Duration::from_secs(60);

/// What part of the records is subscribed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    OneInHundred,
}

impl Share {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all match",
            Self::OneInHundred => "1 in 100 matches",
        }
    }

    /// Records for each notification.
    fn records(self) -> u64 {
        match self {
            Self::All => 1,
            Self::OneInHundred => NAMES,
        }
    }

    /// The events that the one filter asks for that matches.
    fn events(self) -> Vec<String> {
        let names = match self {
            Self::All => 0..NAMES,
            Self::OneInHundred => 7..8,
        };
        names.map(|number| format!("E{number}")).collect()
    }
}

/// Every number of subscriptions, with both shares.
pub(super) fn run(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let Some(servers) = rig.kafka.servers.as_deref() else {
        let error =
            BenchError::Invalid(format!("name a real Kafka with topic {TOPIC} of one partition: --kafka"));
        line(Line::void("subscribed events to NATS", &error));
        return Ok(());
    };
    let broker = Broker::at(Some(servers))?;
    let wanted = (rig.slice.as_secs_f64() * PER_SECOND / NAMES as f64).ceil() as u64;
    let records = fill(&broker, wanted.saturating_mul(NAMES))? / NAMES * NAMES;
    for share in [Share::All, Share::OneInHundred] {
        for filters in FILTERS {
            let name = format!("subscribed events to NATS, {}, {filters} filters", share.name());
            let pairing = paired(
                rig,
                |rig| cim(rig, servers, records, share, filters),
                |_| {
                    let reading = read(servers, records)?;
                    let cpu = reading.cpu_seconds / (reading.records as f64 / 1e6);
                    Ok(Sample::of(reading.records as f64 / reading.seconds).with("cpu", cpu))
                },
            );
            line(match pairing {
                Ok(pairing) => report(&name, &pairing),
                Err(error) => Line::void(&name, &error),
            });
        }
        line(cost(rig, servers, records, share));
    }
    Ok(())
}

/// What a record costs the program with many subscriptions and with one, in turn: the machine changes more in a minute than
/// the figure may.
fn cost(rig: &Rig, servers: &str, records: u64, share: Share) -> Line {
    let name = format!("cost of a record with 1,000 filters / with 1, {}", share.name());
    let with = |filters| {
        move |rig: &Rig| {
            let sample = cim(rig, servers, records, share, filters)?;
            Ok(Sample::of(sample.beside.get("cpu").copied().unwrap_or(f64::NAN)))
        }
    };
    match paired(rig, with(1_000), with(1)) {
        Ok(pairing) => Line::ratio(name, "CPU-s per million", &pairing, 1.0, Some(Goal::AtMost(1.1))),
        Err(error) => Line::void(name, &error),
    }
}

fn report(name: &str, pairing: &Pairing) -> Line {
    Line::ratio(name, "records/s", pairing, 1.0, Some(Goal::AtLeast(0.6)))
        .with("CPU-s per million", pairing.ours_beside("cpu"))
        .with("yardstick CPU-s per million", pairing.theirs_beside("cpu"))
        .note("a bare consumer of the same topic")
}

fn cim(rig: &Rig, servers: &str, records: u64, share: Share, filters: usize) -> Result<Sample> {
    let work = rig.work()?;
    let mut spec =
        CimSpec::new(&rig.cim, work.path(), SinkSpec::Kafka { brokers: servers.to_owned(), headers: true })?;
    let group = work.path().file_name().unwrap_or_default().to_string_lossy();
    spec.subscriptions = Some(format!("topic = \"{TOPIC}\"\ngroup = \"{group}\"\nstart_ago = \"30d\""));
    let spool = work.path().join("spool");
    fs::create_dir_all(&spool).map_err(BenchError::io("create the spool"))?;
    let book = serde_json::json!({ "format": 1, "subscriptions": book(share, filters) });
    fs::write(spool.join("subscriptions.json"), book.to_string())
        .map_err(BenchError::io("write the subscriptions"))?;
    let cim = Cim::start(spec)?;
    let subscriber = Subscriber::start(cim.spec.nats, "EVENT-NOTIFICATION")?;
    let begin = Instant::now();
    while subscriber.count() == 0 {
        if begin.elapsed() > PATIENCE {
            return Err(BenchError::Deadline {
                what: "the first notification".into(),
                seconds: PATIENCE.as_secs(),
            });
        }
        std::thread::sleep(Duration::from_micros(200));
    }
    let (start, cpu, first) = (Instant::now(), cim.child.cpu_seconds()?, subscriber.count());
    let all = records / share.records();
    subscriber.wait_for(all)?;
    let (seconds, cpu) = (start.elapsed().as_secs_f64(), cim.child.cpu_seconds()? - cpu);
    if subscriber.count() != all {
        return Err(BenchError::Unclean(format!("{} of {all} notifications", subscriber.count())));
    }
    let read = all.saturating_sub(first).saturating_mul(share.records()) as f64;
    Ok(Sample::of(read / seconds).with("cpu", cpu / (read / 1e6)))
}

/// So many filters, of which the first matches.
fn book(share: Share, filters: usize) -> serde_json::Value {
    let filter = |number: usize| {
        let filter = match number {
            0 => serde_json::json!({ "localEventName": share.events() }),
            _ => serde_json::json!({
                "localEventName": [format!("E{}", number as u64 % NAMES)],
                "nfNamingCode": [format!("other-{number}")],
            }),
        };
        (number.saturating_add(100_000).to_string(), filter)
    };
    (0..filters).map(filter).collect::<serde_json::Map<_, _>>().into()
}
