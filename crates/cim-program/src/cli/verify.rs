//! `cim verify`: reads what a sink received and tells what is missing, doubled or out of order.
//!
//! Left out: counting (`cim-verify`) and Kafka (its sink's crate). The invariant: exit code 0 means that records were read
//! and no fault was found; what could not be read is never called clean.

use std::path::PathBuf;

use cim_verify::{Checker, Class, Fault, Received, Report, Tolerated, TopicRange};
use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::Answer;
use crate::backends;
use crate::exit::{DONE, FAILED, Failure, chain};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// A Kafka topic, by the headers `cim-epoch` and `cim-seq`.
    Kafka(Topic),
    /// Log files, or folders of them with their rotated files. Only records of the load generator carry a number there.
    File(Captures),
    /// What a TCP receiver wrote down: JSON objects or lines. Only records of the load generator carry a number there.
    TcpCapture(Captures),
}

/// Which topic.
#[derive(Debug, Args)]
pub(super) struct Topic {
    /// Brokers to ask first, HOST:PORT, separated by commas.
    #[arg(long, required = true, value_delimiter = ',')]
    brokers: Vec<String>,
    /// The topic.
    #[arg(long)]
    topic: String,
    /// First offset, of every partition or, as PARTITION=OFFSET, of one. Default: the oldest record.
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    from: Vec<(Option<i32>, i64)>,
    /// Offset behind the last, of every partition or, as PARTITION=OFFSET, of one. Default: the end as it is now.
    #[arg(long, value_name = "OFFSET", value_parser = offset)]
    to: Vec<(Option<i32>, i64)>,
    /// Property of librdkafka: TLS, SASL. A password belongs into a file: see --properties.
    #[arg(long = "property", value_name = "NAME=VALUE", value_parser = property)]
    properties: Vec<(String, String)>,
    /// File with such properties, one NAME=VALUE a line.
    #[arg(long = "properties", value_name = "FILE", value_parser = properties_file)]
    files: Vec<Properties>,
    #[command(flatten)]
    judging: Judging,
}

/// The properties of one file.
#[derive(Debug, Clone)]
struct Properties(Vec<(String, String)>);

impl Topic {
    fn range(&self) -> TopicRange {
        // Properties of the command line come last, so that they win.
        let files = self.files.iter().flat_map(|file| &file.0);
        TopicRange {
            brokers: self.brokers.clone(),
            topic: self.topic.clone(),
            from: self.from.clone(),
            to: self.to.clone(),
            properties: files.chain(&self.properties).cloned().collect(),
        }
    }
}

/// Which files.
#[derive(Debug, Args)]
pub(super) struct Captures {
    /// Files and folders.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    #[command(flatten)]
    judging: Judging,
}

#[derive(Debug, Args)]
struct Judging {
    /// Which duplicates are no fault. Marked ones have equal `cim-epoch` and `cim-seq`: a reader can remove them.
    #[arg(long, value_enum, default_value_t = Duplicates::Marked)]
    allow_duplicates: Duplicates,
    /// What the records are. Default: the first bytes of each tell; a log as text that begins like an event needs this.
    #[arg(long, value_enum)]
    class: Option<Records>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Records {
    /// All are logs.
    Log,
    /// All are events.
    Event,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Duplicates {
    /// No duplicate is allowed.
    None,
    /// Marked ones are.
    Marked,
    /// All are.
    Any,
}

impl Judging {
    fn checker(&self) -> Checker {
        match self.class {
            None => Checker::default(),
            Some(Records::Log) => Checker::of(Class::Log),
            Some(Records::Event) => Checker::of(Class::Event),
        }
    }

    fn tolerated(&self) -> Tolerated {
        match self.allow_duplicates {
            Duplicates::None => Tolerated::Nothing,
            Duplicates::Marked => Tolerated::Marked,
            Duplicates::Any => Tolerated::Any,
        }
    }
}

fn offset(text: &str) -> Result<(Option<i32>, i64), String> {
    let (partition, offset) = match text.split_once('=') {
        Some((partition, offset)) => {
            (Some(partition.parse().map_err(|_| format!("{partition:?} is no partition"))?), offset)
        }
        None => (None, text),
    };
    Ok((partition, offset.parse().map_err(|_| format!("{offset:?} is no offset"))?))
}

fn property(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.trim().to_owned(), value.trim().to_owned()))
}

fn properties_file(path: &str) -> Result<Properties, String> {
    let text = std::fs::read_to_string(path).map_err(|error| error.to_string())?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(property).collect::<Result<_, _>>().map(Properties)
}

pub(super) fn answer(command: &Command) -> Result<Answer, Failure> {
    let (Command::Kafka(Topic { judging, .. })
    | Command::File(Captures { judging, .. })
    | Command::TcpCapture(Captures { judging, .. })) = command;
    let mut checker = judging.checker();
    match command {
        Command::Kafka(topic) => {
            backends::read_topic(topic.range(), &mut checker).map_err(Failure::cannot_start)?;
        }
        Command::File(captures) | Command::TcpCapture(captures) => {
            read_captures(captures, &mut checker)?;
        }
    }
    Ok(judge(&checker.report(), judging.tolerated()))
}

fn read_captures(captures: &Captures, checker: &mut Checker) -> Result<(), Failure> {
    let unreadable = |error: cim_verify::CaptureError| Failure::cannot_start(chain(&error));
    for path in &captures.paths {
        for file in cim_verify::files_of(path).map_err(unreadable)? {
            let container = cim_verify::container_of_file(&file);
            let record = |record: &[u8]| {
                checker.record(&Received { container: &container, ..Received::bare(record) });
            };
            cim_verify::for_each_document(&file, record).map_err(unreadable)?;
        }
    }
    Ok(())
}

fn judge(report: &Report, tolerated: Tolerated) -> Answer {
    let faults = report.faults(tolerated);
    let mut text = report.text();
    let verdict: Vec<_> = faults.iter().map(Fault::to_string).collect();
    text.push_str(&if faults.is_empty() {
        "clean".to_owned()
    } else {
        format!("NOT CLEAN: {}", verdict.join(", "))
    });
    let mut document = json!({ "clean": faults.is_empty(), "faults": faults, "compared_by": report.basis() });
    if let (Some(document), Ok(Value::Object(counts))) =
        (document.as_object_mut(), serde_json::to_value(report))
    {
        document.extend(counts);
    }
    Answer { text, document, code: if faults.is_empty() { DONE } else { FAILED } }
}
