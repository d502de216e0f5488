//! Arguments of `cim-bench` and the subcommands behind them.
//!
//! Leaves out the work itself. Every subcommand answers `true` for clean, `false` for a finding.

mod bench;
mod check;
mod floor;
mod generate;
mod kill;
mod null_broker;
mod raw_kafka;

use clap::{Parser, Subcommand};

use cim_bench::Result;

/// Load generator, checker and ratio benches of CIM.
#[derive(Debug, Parser)]
#[command(name = "cim-bench", version, arg_required_else_help = true)]
pub struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish generated logs, events or other messages, and write down what was accepted.
    Gen(generate::Generate),
    /// Compare captured lines with what was accepted.
    Check(check::Check),
    /// What the machine can do at best.
    Floor(floor::Floor),
    /// Run ratio benches by name, or `all`.
    Ratio(bench::Ratio),
    /// Kill CIM under load again and again and check that nothing accepted is lost.
    Kill(kill::Kill),
    /// A Kafka broker that checks and counts records and keeps nothing.
    NullBroker(null_broker::NullBrokerArguments),
    /// librdkafka alone, as a plan in JSON says; prints what came of it as JSON.
    RawKafka(raw_kafka::RawKafka),
}

impl Arguments {
    /// Runs the subcommand.
    pub fn run(self) -> Result<bool> {
        match self.command {
            Command::Gen(generate) => generate.run(),
            Command::Check(check) => check.run(),
            Command::Floor(floor) => floor.run(),
            Command::Ratio(ratio) => ratio.run(),
            Command::Kill(kill) => kill.run(),
            Command::NullBroker(broker) => broker.run(),
            Command::RawKafka(raw) => raw.run(),
        }
    }
}
