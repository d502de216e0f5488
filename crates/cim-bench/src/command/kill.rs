//! `cim-bench kill`: the kill loop, in rounds with a fresh spool each.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use cim_bench::kill::{KillPlan, KillSink, kill_loop};
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
    /// Where records go.
    #[arg(long, value_enum, default_value = "each")]
    sink: Sink,
    /// Logs per second.
    #[arg(long, default_value_t = 20_000)]
    rate_log: u64,
    /// Events per second.
    #[arg(long, default_value_t = 200)]
    rate_event: u64,
    /// Seed of the first round; one nobody chose if absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Print the reports as JSON lines.
    #[arg(long)]
    json: bool,
}

impl Kill {
    pub fn run(self) -> Result<bool> {
        let mut seed = self.seed.unwrap_or_else(Noise::fresh_seed);
        let (mut left, mut round) = (self.kills, 0usize);
        let (mut clean, mut recovered) = (true, 0u32);
        while left > 0 {
            let kills = left.min(self.round.max(1));
            let plan = KillPlan {
                rate_log: self.rate_log,
                rate_event: self.rate_event,
                ..KillPlan::new(&self.cim, &self.dir, kills, self.sink_of(round), seed)
            };
            let report = kill_loop(&plan)?;
            recovered = recovered.saturating_add(report.restarts_with_recovered);
            if self.json {
                println!(
                    "{}",
                    serde_json::to_string(&report).map_err(|error| BenchError::Invalid(error.to_string()))?
                );
            } else {
                println!("{}", report.text());
            }
            if let Err(reason) = report.verdict() {
                eprintln!("not clean: {reason}");
                clean = false;
            }
            left = left.saturating_sub(kills);
            round = round.saturating_add(1);
            seed = seed.wrapping_add(1);
        }
        eprintln!("{} kills in {round} rounds, {recovered} restarts with recovered > 0", self.kills);
        Ok(clean)
    }

    fn sink_of(&self, round: usize) -> KillSink {
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
