//! `cim-bench gen`: publishes and writes down what was accepted.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use cim_bench::deck::Traffic;
use cim_bench::ledger::Ledger;
use cim_bench::pace::Pace;
use cim_bench::producer::{Producer, ProducerSpec};
use cim_bench::{BenchError, Result};

/// What to publish.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Kind {
    Log,
    Event,
}

#[derive(Debug, Args)]
pub struct Generate {
    /// NATS listener.
    #[arg(long, default_value = "127.0.0.1:4222")]
    address: SocketAddr,
    /// FlatBuffers logs or events.
    #[arg(long, value_enum, default_value = "log")]
    kind: Kind,
    /// Another subject; its messages are bare payloads.
    #[arg(long)]
    subject: Option<String>,
    /// Payload bytes, 68 or more.
    #[arg(long, default_value_t = 128)]
    size: usize,
    /// Messages per producer (closed loop).
    #[arg(long, default_value_t = 1_000_000)]
    count: u64,
    /// Messages per second and producer (open loop, with --seconds).
    #[arg(long, requires = "seconds")]
    rate: Option<u64>,
    /// Length of an open-loop run.
    #[arg(long)]
    seconds: Option<u64>,
    /// Connections, each a producer of its own.
    #[arg(long, default_value_t = 1)]
    producers: u32,
    /// Number of the run; the checker tells runs apart by it.
    #[arg(long, default_value_t = 1)]
    run: u32,
    /// Bytes between two barriers; 0: one at the end.
    #[arg(long, default_value_t = 0)]
    barrier_bytes: u64,
    /// Seconds to try to reconnect after a break.
    #[arg(long, default_value_t = 0)]
    reconnect: u64,
    /// Write again what no PONG covers after a break; the ledger marks it.
    #[arg(long)]
    resend: bool,
    /// File for the ledgers (JSON), for `cim-bench check --ledger`.
    #[arg(long)]
    ledger: Option<PathBuf>,
}

impl Generate {
    pub fn run(self) -> Result<bool> {
        let start = Instant::now();
        let ledgers: Result<Vec<Ledger>> = std::thread::scope(|scope| {
            let threads: Vec<_> = (1..=self.producers)
                .map(|number| {
                    scope.spawn({
                        let this = &self;
                        move || this.one(number)
                    })
                })
                .collect();
            threads
                .into_iter()
                .map(|thread| thread.join().map_err(|_| BenchError::Unclean("a producer failed".into()))?)
                .collect()
        });
        let ledgers = ledgers?;
        let sent: u64 = ledgers.iter().map(|ledger| ledger.sent).sum();
        let accepted: u64 = ledgers.iter().map(Ledger::accepted_count).sum();
        let seconds = start.elapsed().as_secs_f64();
        println!("sent {sent}, accepted {accepted}, {seconds:.3} s, {:.0} msg/s", sent as f64 / seconds);
        if let Some(path) = &self.ledger {
            let text =
                serde_json::to_vec(&ledgers).map_err(|error| BenchError::Invalid(error.to_string()))?;
            std::fs::write(path, text).map_err(BenchError::io(format!("write {}", path.display())))?;
        }
        Ok(accepted == sent)
    }

    fn one(&self, number: u32) -> Result<Ledger> {
        let traffic = match (&self.subject, self.kind) {
            (Some(subject), _) => Traffic::Other(subject.clone()),
            (None, Kind::Log) => Traffic::Log,
            (None, Kind::Event) => Traffic::Event,
        };
        let mut producer = Producer::connect(ProducerSpec {
            traffic,
            run: self.run,
            barrier_bytes: self.barrier_bytes,
            reconnect_for: Duration::from_secs(self.reconnect),
            resend: self.resend,
            ..ProducerSpec::logs(self.address, number, self.size)
        })?;
        if let (Some(rate), Some(seconds)) = (self.rate, self.seconds) {
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    std::thread::sleep(Duration::from_secs(seconds));
                    stop.store(true, std::sync::atomic::Ordering::Relaxed);
                });
                Pace { rate, barrier_every: Duration::from_millis(20) }.run(&mut producer, &stop)
            })?;
        } else {
            producer.send(self.count)?;
            producer.barrier()?;
        }
        Ok(producer.ledger().clone())
    }
}
