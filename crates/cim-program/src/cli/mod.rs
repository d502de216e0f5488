//! The command line: what can be asked, and who answers.
//!
//! Left out: the answers. The invariant: every command can answer people and programs (`--output json`), and ends with
//! a documented exit code.

mod api;
mod change;
mod config;
mod dlq;
mod doctor;
mod drain;
mod explain;
mod log_level;
mod manifest;
mod migrate;
mod print;
mod replay;
mod spool;
mod verify;

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use serde_json::Value;

use crate::exit::{self, Failure};
use crate::run;
use crate::settings::is_original;

/// Brings an application's logs and events from NATS on localhost to where they belong, and loses nothing it accepted.
#[derive(Debug, Parser)]
#[command(name = "cim", version, after_help = exit::HELP, propagate_version = true)]
pub struct Cli {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Command,
}

/// What all commands take.
#[derive(Debug, Args)]
struct Options {
    /// Configuration file (.toml, .yaml, .json). May be given several times; a later one lies over the earlier ones.
    #[arg(long, global = true, value_name = "FILE", env = "CIM_CONFIG", value_delimiter = ':')]
    config: Vec<PathBuf>,
    /// Form of the answer.
    #[arg(long, global = true, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// For whom the answer is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// People.
    Text,
    /// Programs: one JSON document.
    Json,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs the sidecar until SIGTERM or SIGINT. SIGHUP, or a change of a configuration file, loads it again.
    Run,
    /// Checks the configuration and tells everything that is wrong with it, with file, line and path.
    Validate,
    /// Shows the configuration, or what it may hold.
    #[command(subcommand)]
    Config(config::Command),
    /// Looks into a spool directory; also while a CIM uses it.
    #[command(subcommand)]
    Spool(spool::Command),
    /// Waits until a running CIM has delivered what it had accepted when it was asked. Exit code 3 when that takes too long.
    Drain(drain::Drain),
    /// Waits until the application has ended: for the preStop hook of a classic sidecar. Exit code 3 when that takes too long.
    Wait(drain::Wait),
    /// Puts records that another life could not deliver into a running CIM: from what a container wrote when it ended, or from
    /// the spool of a pod that is gone. Exit code 1 when some are damaged or missing.
    Replay(replay::Arguments),
    /// Dead letters: records that a sink refused for good.
    #[command(subcommand)]
    Dlq(dlq::Command),
    /// Looks for gaps, duplicates and swaps in what a sink received; exit code 1 when there are any.
    #[command(subcommand)]
    Verify(verify::Command),
    /// Looks whether everything that the configuration needs is there: ports, disks, hosts, source, rights, certificates.
    /// Changes nothing, also beside a running CIM. Exit code 1 when something fails.
    Doctor,
    /// Writes the TOML that says the same as the files of the original, `cim.json` and `common-infra.json`.
    Migrate(migrate::Migrate),
    /// Tells or changes the level of the messages of a running CIM.
    LogLevel(log_level::LogLevelCommand),
    /// Prints what the cluster must grant, or manifests with CIM in their pods.
    Manifest(manifest::Manifest),
}

/// What a command answers.
#[derive(Debug)]
struct Answer {
    text: String,
    document: Value,
    code: u8,
}

impl Answer {
    fn done(text: impl Into<String>, document: Value) -> Self {
        Self { text: text.into(), document, code: exit::DONE }
    }
}

/// Understands the command line, does what it asks, and returns the exit code.
#[must_use]
pub fn main() -> u8 {
    let mut words: Vec<OsString> = std::env::args_os().collect();
    // Under the name of the original no command is the command to run; its flags were never looked at.
    let is_command = |word: &OsString| word.to_str().is_some_and(|word| !word.starts_with("-s"));
    if words.first().is_some_and(|program| is_original(program)) && !words.get(1).is_some_and(is_command) {
        words.truncate(1);
        words.push("run".into());
    }
    let cli = match Cli::try_parse_from(words) {
        Ok(cli) => cli,
        Err(error) => {
            let code = if error.use_stderr() { exit::CANNOT_START } else { exit::DONE };
            let _ = error.print();
            return code;
        }
    };
    let options = &cli.options;
    let answered = match cli.command {
        Command::Run => match run::run(options.config.clone()) {
            Ok(code) => return code,
            Err(failure) => Err(failure),
        },
        Command::Validate => config::validate(&options.config),
        Command::Config(command) => config::answer(&command, &options.config),
        Command::Spool(command) => spool::answer(&command, &options.config),
        Command::Drain(command) => drain::drain(&command, &options.config),
        Command::Wait(command) => drain::wait(&command, &options.config),
        Command::Replay(arguments) => replay::answer(&arguments, &options.config),
        Command::Dlq(command) => dlq::answer(&command, &options.config),
        Command::Verify(command) => verify::answer(&command),
        Command::Doctor => doctor::answer(&options.config),
        Command::Migrate(migrate) => migrate::answer(&migrate),
        Command::LogLevel(command) => log_level::answer(&command, &options.config),
        Command::Manifest(manifest) => manifest::answer(&manifest, &options.config),
    };
    tell(answered, options.output)
}

fn tell(answered: Result<Answer, Failure>, output: Output) -> u8 {
    match (answered, output) {
        (Ok(answer), Output::Text) => {
            print::text(&answer.text);
            answer.code
        }
        (Ok(answer), Output::Json) => {
            print::document(&answer.document);
            answer.code
        }
        (Err(failure), _) => {
            print::complaint(&failure.text);
            failure.code
        }
    }
}

/// The command line as clap knows it, for the reference page.
#[must_use]
pub fn definition() -> clap::Command {
    Cli::command()
}
