//! `cim replay`: records that another life of CIM could not deliver, put into a running one.
//!
//! From lines that it wrote when it ended (`lifecycle::spill`), or from the spool directory of a pod that is gone. The invariant: a
//! spool is marked as read only behind what the running CIM has accepted, so that a second call repeats nothing of it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cim_core::Class;
use cim_spool::{Read, RealFiles, Spool, SpoolOptions, Stream, StreamOptions};
use serde_json::json;

use super::Answer;
use super::spool::directory;
use crate::exit::{DONE, FAILED, Failure, chain};
use crate::lifecycle::replay::Replay;
use crate::lifecycle::spill;

/// Longest line that is looked at: a record of 1 MiB in base64, with its headers and what a runtime puts around it.
const LONGEST_LINE: u64 = 8 << 20;
/// As the engine opens them; nothing is appended here.
const SEGMENT: u64 = 16 << 20;
/// Name of the position in a spool that has none.
const READER: &str = "replay";

/// `cim replay`
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// A file with what a container wrote, `-` for standard input, or the spool directory of a pod that is gone.
    from: PathBuf,
    /// The spool directory of the running CIM that is to deliver. Default: `spool.dir` of the configuration.
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
}

/// What was found.
#[derive(Debug, Default)]
struct Found {
    damaged: u64,
    lost: u64,
}

pub(super) fn answer(arguments: &Arguments, files: &[PathBuf]) -> Result<Answer, Failure> {
    let into = directory(arguments.into.as_ref(), files)?;
    let mut replay = Replay::into(into.clone());
    let from = &arguments.from;
    let found = if from.is_dir() {
        of_spool(from, &into, &mut replay)
    } else if from.as_os_str() == "-" {
        of_lines(io::stdin().lock(), &mut replay)
    } else {
        File::open(from).and_then(|file| of_lines(BufReader::new(file), &mut replay))
    };
    let replayed = replay.replayed();
    let found = found.map_err(|error| {
        Failure::failed(format!(
            "cannot replay {}: {}; {replayed} records are accepted already",
            from.display(),
            chain(&error)
        ))
    })?;
    let Found { damaged, lost } = found;
    let mut text = format!("{replayed} records replayed");
    if damaged + lost > 0 {
        text =
            format!("{text}; {damaged} lines were cut or damaged, {lost} records are missing in the spool");
    }
    let document = json!({ "replayed": replayed, "damaged": damaged, "lost": lost });
    Ok(Answer { text, document, code: if damaged + lost == 0 { DONE } else { FAILED } })
}

fn of_lines(mut lines: impl BufRead, replay: &mut Replay) -> io::Result<Found> {
    let mut found = Found::default();
    let mut line = Vec::new();
    loop {
        line.clear();
        if lines.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut line)? == 0 {
            replay.flush()?;
            return Ok(found);
        }
        match spill::read(&String::from_utf8_lossy(&line)) {
            Some(Ok((class, record))) => replay.push(class, record)?,
            Some(Err(_)) => found.damaged += 1,
            None => {}
        }
    }
}

fn of_spool(dir: &Path, into: &Path, replay: &mut Replay) -> io::Result<Found> {
    if same(dir, into) {
        return Err(io::Error::other("it is the spool of the running cim"));
    }
    let report = cim_spool::check(dir).map_err(io::Error::other)?;
    let owner =
        report.identity.ok_or_else(|| io::Error::other("it is no spool: whose it is cannot be read"))?;
    let options = SpoolOptions::new(dir, owner);
    let mut spool = Spool::open(Arc::new(RealFiles), options).map_err(io::Error::other)?;
    let mut found = Found::default();
    for (name, class) in [("logs", Class::Log), ("events", Class::Event)] {
        if !report.streams.iter().any(|stream| stream.name == name) {
            continue;
        }
        let options = StreamOptions::new(name, SEGMENT, u64::MAX);
        let (mut stream, recovery) = spool.stream(options).map_err(io::Error::other)?;
        drain(&mut stream, &recovery.cursors, class, replay, &mut found)?;
    }
    Ok(found)
}

/// Replays what some sink of the old pod had not settled.
fn drain(
    stream: &mut Stream,
    sinks: &[String],
    class: Class,
    replay: &mut Replay,
    found: &mut Found,
) -> io::Result<()> {
    // A spool that no sink ever read has no position yet.
    let usual = [READER.to_owned()];
    let sinks = if sinks.is_empty() { &usual } else { sinks };
    let positions: Result<Vec<u64>, _> = sinks.iter().map(|sink| stream.cursor(sink)).collect();
    let positions = positions.map_err(io::Error::other)?;
    let first = stream.first_seq();
    let mut at = positions.into_iter().min().unwrap_or(first).max(first);
    let mut reader = stream.reader(at);
    loop {
        match reader.next()? {
            Read::CaughtUp => return Ok(()),
            Read::Lost { first_seq, last_seq, .. } => found.lost += last_seq + 1 - first_seq,
            Read::Frame(frame) => {
                let from = at;
                for (_, record) in frame.records().filter(|(seq, _)| *seq >= from) {
                    replay.push(class, record.to_vec())?;
                }
                at = at.max(frame.last_seq() + 1);
                replay.flush()?;
                for sink in sinks {
                    stream.ack(sink, at);
                }
                stream.save_cursors(true)?;
            }
        }
    }
}

fn same(one: &Path, other: &Path) -> bool {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    real(one).is_some() && real(one) == real(other)
}
