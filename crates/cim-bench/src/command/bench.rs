//! `cim-bench ratio`: ratio benches by name, as a table and as JSON lines.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use cim_bench::ratio::{
    BENCHES, Bench, CONFIGURATION_BENCHES, KAFKA_BENCHES, KafkaRig, Line, Rig, SUBSCRIPTION_BENCHES,
};
use cim_bench::{BenchError, Result};

#[derive(Debug, Args)]
pub struct Ratio {
    /// Benches to run: ingest, ingest-memory, file, stdout, barrier, broker, start, footprint, spool, file-sink, tcp, tcp-delay; or all.
    /// For a `cim` with its Kafka sink: kafka, kafka-events, kafka-latency, kafka-footprint, kafka-backlog; or all-kafka.
    /// For a `cim` with its etcd source: configuration, configuration-burst, configuration-register, configuration-idle; or
    /// all-configuration. For a `cim` with its Kafka sink, beside a real Kafka: subscriptions.
    #[arg(required = true)]
    names: Vec<String>,
    /// The `cim` program.
    #[arg(long, default_value = "target/release/cim")]
    cim: PathBuf,
    /// The `nats-server` program.
    #[arg(long, default_value = "nats-server")]
    nats_server: PathBuf,
    /// Directory for spools and files; its file system is what is measured.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Seconds per slice.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Pairs of slices per line.
    #[arg(long, default_value_t = 5)]
    pairs: usize,
    /// Bootstrap servers of a real Kafka with topics LOGS and EVENT, and FMAASEVENTS of one partition; without it the null broker.
    #[arg(long)]
    kafka: Option<String>,
    /// linger.ms of the librdkafka yardstick.
    #[arg(long, default_value_t = 5)]
    linger: u32,
    /// queue.buffering.max.kbytes of the librdkafka yardstick.
    #[arg(long, default_value_t = 8192)]
    queue: u32,
    /// MiB of the backlog that is drained.
    #[arg(long, default_value_t = 1024)]
    backlog: u64,
    /// File for the lines as JSON, one per line.
    #[arg(long)]
    json: Option<PathBuf>,
}

impl Ratio {
    pub fn run(self) -> Result<bool> {
        let benches = self.benches()?;
        if !self.cim.is_file() {
            return Err(BenchError::Invalid(format!(
                "no program {}: build it, or name it with --cim",
                self.cim.display()
            )));
        }
        let rig = Rig {
            cim: self.cim,
            nats: self.nats_server,
            dir: self.dir,
            slice: Duration::try_from_secs_f64(self.seconds)
                .map_err(|error| BenchError::Invalid(error.to_string()))?,
            pairs: self.pairs.max(1),
            kafka: KafkaRig {
                servers: self.kafka,
                linger_ms: self.linger,
                queue_kib: self.queue,
                backlog: self.backlog << 20,
            },
        };
        let mut json = match &self.json {
            Some(path) => {
                Some(File::create(path).map_err(BenchError::io(format!("create {}", path.display())))?)
            }
            None => None,
        };
        let start = Instant::now();
        let mut void = 0u32;
        println!(
            "{} pairs of slices of {:?}; ratio = median of the pairs, with the smallest and the largest",
            rig.pairs, rig.slice
        );
        println!("{}", Line::heading());
        for bench in benches {
            (bench.run)(&rig, &mut |line| {
                println!("{}", line.row());
                void = void.saturating_add(u32::from(line.void.is_some()));
                if let Some(file) = &mut json {
                    let _ = writeln!(file, "{}", line.json());
                }
            })?;
        }
        println!("\n{void} lines without a figure; {:.0} s", start.elapsed().as_secs_f64());
        Ok(void == 0)
    }

    fn benches(&self) -> Result<Vec<&'static Bench>> {
        let groups = [
            ("all", BENCHES),
            ("all-kafka", KAFKA_BENCHES),
            ("all-configuration", CONFIGURATION_BENCHES),
            ("all-subscriptions", SUBSCRIPTION_BENCHES),
        ];
        if let Some((_, group)) = groups.iter().find(|(name, _)| self.names.iter().any(|named| named == name))
        {
            return Ok(group.iter().collect());
        }
        let every = || groups.iter().flat_map(|(_, group)| *group);
        let find = |name: &String| {
            let known = || every().map(|bench| bench.name).collect::<Vec<_>>().join(", ");
            let groups = || groups.map(|(name, _)| name).join(" and ");
            let unknown = || format!("no bench {name}; there are {}, {}", known(), groups());
            every().find(|bench| bench.name == name).ok_or_else(|| BenchError::Invalid(unknown()))
        };
        self.names.iter().map(find).collect()
    }
}
