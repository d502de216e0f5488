//! What all benches of a run share: programs, directory, slice length, number of pairs.

use std::path::PathBuf;
use std::time::Duration;

use crate::deck::Traffic;
use crate::error::{BenchError, Result};
use crate::floor::Pump;
use crate::producer::{Producer, ProducerSpec};

/// The rig of a run.
#[derive(Debug, Clone)]
pub struct Rig {
    /// The `cim` program.
    pub cim: PathBuf,
    /// The `nats-server` program.
    pub nats: PathBuf,
    /// Directory for spools, files and floors.
    pub dir: PathBuf,
    /// Length of one slice.
    pub slice: Duration,
    /// Pairs of slices per line.
    pub pairs: usize,
    /// What the Kafka benches need beside that.
    pub kafka: KafkaRig,
}

/// What only the Kafka benches need.
#[derive(Debug, Clone, Default)]
pub struct KafkaRig {
    /// Bootstrap servers of a real Kafka with topics LOGS and EVENT; none: the null broker.
    pub servers: Option<String>,
    /// `linger.ms` of the librdkafka yardstick.
    pub linger_ms: u32,
    /// `queue.buffering.max.kbytes` of the librdkafka yardstick.
    pub queue_kib: u32,
    /// Payload bytes of the backlog that is drained.
    pub backlog: u64,
}

impl Rig {
    /// A fresh directory that goes away when dropped.
    ///
    /// # Errors
    /// It cannot be created.
    pub fn work(&self) -> Result<tempfile::TempDir> {
        tempfile::Builder::new()
            .prefix("cim-bench-")
            .tempdir_in(&self.dir)
            .map_err(BenchError::io(format!("create a directory in {}", self.dir.display())))
    }

    /// Name of the file system of the bench directory.
    #[must_use]
    pub fn file_system(&self) -> String {
        let Ok(stat) = rustix::fs::statfs(&self.dir) else { return "unknown".into() };
        match stat.f_type as u64 & 0xffff_ffff {
            0x0102_1994 => "tmpfs".into(),
            0xef53 => "ext4".into(),
            0x5846_5342 => "xfs".into(),
            0x9123_683e => "btrfs".into(),
            0x794c_7630 => "overlayfs".into(),
            other => format!("0x{other:x}"),
        }
    }

    /// Messages per second of the generator against a peer that only reads: the ceiling of every figure here.
    ///
    /// # Errors
    /// No loopback.
    pub fn pump_rate(&self, traffic: &Traffic, payload: usize) -> Result<f64> {
        let pump = Pump::start()?;
        let spec = ProducerSpec { traffic: traffic.clone(), ..ProducerSpec::logs(pump.address, 1, payload) };
        let mut producer = Producer::connect(spec)?;
        let (rate, _) = closed_loop(&mut producer, Duration::from_secs(1), u64::MAX)?;
        Ok(rate)
    }
}

/// Publishes for `time` or until `payload_bytes` are sent, then a barrier. Returns the rate up to the PONG and the
/// number of messages.
///
/// # Errors
/// The connection broke.
pub fn closed_loop(producer: &mut Producer, time: Duration, payload_bytes: u64) -> Result<(f64, u64)> {
    let most = payload_bytes / producer.payload_bytes().max(1);
    let start = std::time::Instant::now();
    let mut sent = 0u64;
    while start.elapsed() < time && sent < most {
        producer.send(producer.block())?;
        sent = sent.saturating_add(producer.block());
    }
    producer.barrier()?;
    Ok((sent as f64 / start.elapsed().as_secs_f64(), sent))
}
