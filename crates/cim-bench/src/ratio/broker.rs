//! CIM as a broker for subjects that are not its own, one publisher to one and to four subscribers.

use super::ingest::one_to_many;
use super::line::{Goal, Line};
use super::pair::{Sample, paired};
use super::rig::Rig;
use crate::deck::Traffic;
use crate::error::Result;
use crate::server::{Cim, CimSpec, NatsServer, SinkSpec};

/// Payload bytes.
const PAYLOAD: usize = 128;

/// Both fan-outs.
pub(super) fn run(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    for subscribers in [1, 4] {
        let name = format!("broker 1:{subscribers}, {PAYLOAD} B");
        match paired(rig, |rig| cim(rig, subscribers), |rig| nats(rig, subscribers)) {
            Ok(pairing) => line(
                Line::ratio(name, "msg/s", &pairing, 1.0, Some(Goal::AtLeast(1.0)))
                    .with("CPU-s per million", pairing.ours_beside("cpu"))
                    .with("yardstick CPU-s per million", pairing.theirs_beside("cpu"))
                    .note("nats-server; rate of published messages"),
            ),
            Err(error) => line(Line::void(name, &error)),
        }
    }
    Ok(())
}

fn traffic() -> Traffic {
    Traffic::Other("bench.broker".into())
}

fn cim(rig: &Rig, subscribers: usize) -> Result<Sample> {
    let work = rig.work()?;
    let cim = Cim::start(CimSpec::new(&rig.cim, work.path(), SinkSpec::Null)?)?;
    one_to_many(&cim.child, cim.spec.nats, &traffic(), PAYLOAD, subscribers, rig.slice)
}

fn nats(rig: &Rig, subscribers: usize) -> Result<Sample> {
    let server = NatsServer::start(&rig.nats)?;
    one_to_many(&server.child, server.address, &traffic(), PAYLOAD, subscribers, rig.slice)
}
