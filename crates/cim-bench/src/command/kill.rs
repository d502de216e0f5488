//! `cim-bench kill`: the kill loop, in rounds with a fresh spool each, several at a time.
//!
//! Round `r` depends on `seed + r` and on its sink alone, so a run can be continued, and one round repeated.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use clap::{Args, ValueEnum};

use cim_bench::kill::{KillPlan, KillReport, KillSink, kill_loop};
use cim_bench::noise::Noise;
use cim_bench::{BenchError, Result};

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sink {
    Null,
    File,
    Stalled,
    /// The three in turn, round by round.
    Each,
}

#[derive(Debug, Args)]
pub struct Kill {
    /// The `cim` program.
    #[arg(long, default_value = "target/release/cim")]
    cim: PathBuf,
    /// Directory for spools and files.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    dir: PathBuf,
    /// Kills in all.
    #[arg(long, default_value_t = 100)]
    kills: u32,
    /// Kills of one round; a round has a fresh spool and is checked at its end.
    #[arg(long, default_value_t = 100)]
    round: u32,
    /// Rounds at the same time; each has the whole load to itself.
    #[arg(long, default_value_t = 1)]
    lanes: u32,
    /// Where records go.
    #[arg(long, value_enum, default_value = "each")]
    sink: Sink,
    /// Logs per second.
    #[arg(long, default_value_t = 20_000)]
    rate_log: u64,
    /// Events per second.
    #[arg(long, default_value_t = 200)]
    rate_event: u64,
    /// Seed of round 0; one nobody chose if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// First round to run, to go on after an interrupted run with the same seed and round size.
    #[arg(long, default_value_t = 0)]
    from_round: u32,
    /// Print the reports as JSON lines.
    #[arg(long)]
    json: bool,
}

/// What the rounds so far add up to.
#[derive(Default)]
struct Sum {
    rounds: u32,
    unclean: u32,
    kills: u32,
    sinks: BTreeMap<&'static str, PerSink>,
}

#[derive(Default)]
struct PerSink {
    kills: u32,
    recovered: u32,
    accepted: u64,
    slowest_start_ms: f64,
}

impl Kill {
    pub fn run(self) -> Result<bool> {
        let seed = self.seed.unwrap_or_else(Noise::fresh_seed);
        eprintln!("seed {seed}");
        let (next, started) = (AtomicU32::new(self.from_round), Instant::now());
        let sum = Mutex::new(Sum::default());
        let results: Vec<Result<()>> = std::thread::scope(|scope| {
            let lane = || self.lane(seed, &next, &sum, started);
            let lanes: Vec<_> = (0..self.lanes.max(1)).map(|_| scope.spawn(lane)).collect();
            let failed = |_| Err(BenchError::Unclean("a lane failed".into()));
            lanes.into_iter().map(|lane| lane.join().unwrap_or_else(failed)).collect()
        });
        let sum = sum.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        eprintln!("{}", sum.text());
        results.into_iter().collect::<Result<()>>()?;
        Ok(sum.unclean == 0)
    }

    /// Takes round after round until none is left.
    fn lane(&self, seed: u64, next: &AtomicU32, sum: &Mutex<Sum>, started: Instant) -> Result<()> {
        let size = self.round.max(1);
        loop {
            let round = next.fetch_add(1, Ordering::Relaxed);
            let kills = self.kills.saturating_sub(round.saturating_mul(size)).min(size);
            if kills == 0 {
                return Ok(());
            }
            let seed = seed.wrapping_add(u64::from(round));
            let plan = KillPlan {
                rate_log: self.rate_log,
                rate_event: self.rate_event,
                ..KillPlan::new(&self.cim, &self.dir, kills, self.sink_of(round), seed)
            };
            let report = kill_loop(&plan).inspect_err(|_| next.store(u32::MAX, Ordering::Relaxed))?;
            let text = if self.json {
                serde_json::to_string(&report).map_err(|error| BenchError::Invalid(error.to_string()))?
            } else {
                report.text()
            };
            let verdict = report.verdict();
            let mut sum = sum.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            println!("{text}");
            if let Err(reason) = &verdict {
                eprintln!("round {round} is not clean: {reason}");
            }
            sum.add(&report, verdict.is_err());
            eprintln!(
                "[{:.0} s] {} of {} kills, {} rounds, {} not clean",
                started.elapsed().as_secs_f64(),
                sum.kills,
                self.kills.saturating_sub(self.from_round.saturating_mul(size)),
                sum.rounds,
                sum.unclean
            );
        }
    }

    fn sink_of(&self, round: u32) -> KillSink {
        match self.sink {
            Sink::Null => KillSink::Null,
            Sink::File => KillSink::File,
            Sink::Stalled => KillSink::Stalled,
            Sink::Each => match round % 3 {
                0 => KillSink::Null,
                1 => KillSink::File,
                _ => KillSink::Stalled,
            },
        }
    }
}

impl Sum {
    fn add(&mut self, report: &KillReport, unclean: bool) {
        self.rounds = self.rounds.saturating_add(1);
        self.unclean = self.unclean.saturating_add(u32::from(unclean));
        self.kills = self.kills.saturating_add(report.kills);
        let sink = self.sinks.entry(report.sink.name()).or_default();
        sink.kills = sink.kills.saturating_add(report.kills);
        sink.recovered = sink.recovered.saturating_add(report.restarts_with_recovered);
        sink.accepted = sink.accepted.saturating_add(report.accepted);
        sink.slowest_start_ms = sink.slowest_start_ms.max(report.slowest_start_ms);
    }

    fn text(&self) -> String {
        let mut text = format!("{} kills in {} rounds, {} not clean", self.kills, self.rounds, self.unclean);
        for (name, sink) in &self.sinks {
            text.push_str(&format!(
                "\n  {name}: {} kills, {} restarts with recovered > 0, {} messages accepted, slowest start {:.0} ms",
                sink.kills, sink.recovered, sink.accepted, sink.slowest_start_ms
            ));
        }
        text
    }
}
