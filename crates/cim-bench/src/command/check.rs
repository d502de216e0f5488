//! `cim-bench check`: captured lines against what was accepted.

use std::path::PathBuf;

use clap::Args;

use cim_bench::check::{Checker, Tolerance, read_path, read_stream};
use cim_bench::ledger::Ledger;
use cim_bench::{BenchError, Result};

#[derive(Debug, Args)]
pub struct Check {
    /// Files or directories of captured lines (raw payloads or JSON); `-` is standard input.
    #[arg(required = true)]
    captures: Vec<PathBuf>,
    /// Ledgers of the producers, as `gen --ledger` wrote them.
    #[arg(long, required_unless_present = "accepted")]
    ledger: Option<PathBuf>,
    /// Instead of a ledger: messages 1 to LAST of that producer are accepted.
    #[arg(long, value_name = "PRODUCER=LAST", value_parser = parse_accepted)]
    accepted: Vec<(u32, u64)>,
    /// Number of the run, with --accepted.
    #[arg(long, default_value_t = 1)]
    run: u32,
    /// Replays per producer that are no finding: one per kill.
    #[arg(long, default_value_t = 0)]
    rewinds: u64,
    /// Messages a replay may reach back.
    #[arg(long, default_value_t = 0)]
    depth: u64,
    /// Cut writes that are no finding.
    #[arg(long, default_value_t = 0)]
    torn: u64,
    /// Print the findings as JSON.
    #[arg(long)]
    json: bool,
}

fn parse_accepted(text: &str) -> std::result::Result<(u32, u64), String> {
    let (producer, last) = text.split_once('=').ok_or("expected PRODUCER=LAST")?;
    let producer = producer.parse().map_err(|_| format!("{producer:?} is no producer number"))?;
    let last = last.parse().map_err(|_| format!("{last:?} is no sequence number"))?;
    Ok((producer, last))
}

impl Check {
    pub fn run(self) -> Result<bool> {
        let ledgers = self.ledgers()?;
        let run = ledgers.first().map_or(self.run, |ledger| ledger.run);
        let mut checker = Checker::new(run);
        for capture in &self.captures {
            if capture.as_os_str() == "-" {
                read_stream(&mut checker, std::io::stdin().lock())?;
            } else {
                read_path(&mut checker, capture)?;
            }
        }
        let findings = checker.finish(&ledgers);
        if self.json {
            let text =
                serde_json::to_string(&findings).map_err(|error| BenchError::Invalid(error.to_string()))?;
            println!("{text}");
        } else {
            println!(
                "{} lines, {} foreign, {} altered, {} torn",
                findings.lines, findings.foreign, findings.altered, findings.torn
            );
            for source in &findings.sources {
                println!(
                    "producer {}: accepted {}, received {}, lost {}, duplicates {} (own {}), out of order {}, went back {} times, {} messages at most",
                    source.producer,
                    source.accepted,
                    source.received,
                    source.lost,
                    source.duplicates,
                    source.resent_duplicates,
                    source.inversions,
                    source.rewinds,
                    source.deepest_rewind
                );
            }
        }
        let tolerance = Tolerance { rewinds: self.rewinds, depth: self.depth, torn: self.torn };
        match findings.verdict(tolerance) {
            Ok(()) => Ok(true),
            Err(reason) => {
                eprintln!("not clean: {reason}");
                Ok(false)
            }
        }
    }

    fn ledgers(&self) -> Result<Vec<Ledger>> {
        if let Some(path) = &self.ledger {
            let text = std::fs::read(path).map_err(BenchError::io(format!("read {}", path.display())))?;
            return serde_json::from_slice(&text)
                .map_err(|error| BenchError::Invalid(format!("{}: {error}", path.display())));
        }
        Ok(self
            .accepted
            .iter()
            .map(|(producer, last)| {
                let mut ledger = Ledger::new(self.run, *producer, 1);
                ledger.wrote(*last);
                ledger.accept(*last);
                ledger
            })
            .collect())
    }
}
