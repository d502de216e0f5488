//! `cim spool`: looks into a spool directory without taking its lock.
//!
//! Left out: the format, which the spool crate knows. The invariant: nothing in the directory is changed.

use std::fmt::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

use cim_spool::{Report, StreamReport};
use clap::Subcommand;
use serde_json::{Value, json};

use super::Answer;
use crate::backends;
use crate::exit::{DONE, FAILED, Failure, chain};
use crate::letters::hex;
use crate::settings::{Request, load};

/// Bytes of a record that `dump` shows on a terminal.
const SHOWN: usize = 120;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Examines every frame; exit code 1 when something is damaged or missing.
    Check {
        /// The spool directory. Default: `spool.dir` of the configuration.
        dir: Option<PathBuf>,
    },
    /// Shows the records of one stream, as they are stored.
    Dump {
        /// `logs`, `events`, `dead-letters` or `notifications`.
        stream: String,
        /// The spool directory. Default: `spool.dir` of the configuration.
        dir: Option<PathBuf>,
        /// First sequence number to show.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Most records to show.
        #[arg(long, default_value_t = 100)]
        limit: u64,
    },
}

/// The directory given, or that of the configuration.
pub(super) fn directory(given: Option<&PathBuf>, files: &[PathBuf]) -> Result<PathBuf, Failure> {
    if let Some(dir) = given {
        return Ok(dir.clone());
    }
    let loaded =
        load(&Request::of_process(files.to_vec()), &backends::registry()).map_err(Failure::cannot_start)?;
    loaded.settings.spool.dir.ok_or_else(|| {
        Failure::failed("no spool directory: give one, or a --config that sets `dir` in [spool]")
    })
}

pub(super) fn answer(command: &Command, files: &[PathBuf]) -> Result<Answer, Failure> {
    match command {
        Command::Check { dir } => check(&directory(dir.as_ref(), files)?),
        Command::Dump { stream, dir, from, limit } => {
            dump(&directory(dir.as_ref(), files)?, stream, *from, *limit)
        }
    }
}

fn check(dir: &std::path::Path) -> Result<Answer, Failure> {
    let report = cim_spool::check(dir).map_err(|error| Failure::failed(chain(&error)))?;
    let clean = report.is_clean();
    let code = if clean { DONE } else { FAILED };
    Ok(Answer { text: report_text(dir, &report, clean), document: report_document(&report, clean), code })
}

fn report_text(dir: &std::path::Path, report: &Report, clean: bool) -> String {
    let owner = report.identity.as_deref().unwrap_or("unknown (spool.meta is missing or damaged)");
    let mut text = format!("spool {} of {owner}\n", dir.display());
    for stream in &report.streams {
        let _ = writeln!(
            text,
            "{}: {} records in {} segments, {} bytes",
            stream.name,
            sum(stream, |segment| segment.records),
            stream.segments.len(),
            sum(stream, |segment| segment.bytes),
        );
        for segment in &stream.segments {
            let state = match (segment.header_intact, segment.damaged_bytes, segment.lost_records) {
                (true, 0, 0) if segment.tail_bytes > 0 => {
                    format!("intact, {} bytes unfinished", segment.tail_bytes)
                }
                (true, 0, 0) => "intact".to_owned(),
                (header, bytes, lost) => {
                    let header = if header { "" } else { "header damaged, " };
                    format!("DAMAGED: {header}{bytes} bytes, {lost} records lost")
                }
            };
            let _ = writeln!(text, "  {}: {}..{} {state}", segment.file, segment.first_seq, segment.end_seq);
        }
        for cursor in &stream.cursors {
            let next = cursor.next_seq.map_or("unreadable".to_owned(), |next| next.to_string());
            let _ = writeln!(text, "  position of {}: {next}", cursor.name);
        }
    }
    for other in &report.set_aside {
        let _ = writeln!(text, "set aside: {}, {} bytes", other.name, other.bytes);
    }
    text.push_str(if clean { "clean" } else { "DAMAGED" });
    text
}

fn sum(stream: &StreamReport, of: impl Fn(&cim_spool::SegmentReport) -> u64) -> u64 {
    stream.segments.iter().map(of).sum()
}

fn report_document(report: &Report, clean: bool) -> Value {
    let streams: Vec<_> = report.streams.iter().map(stream_document).collect();
    let aside = |aside: &cim_spool::AsideReport| json!({ "name": aside.name, "bytes": aside.bytes });
    json!({
        "clean": clean,
        "identity": report.identity,
        "epoch": report.epoch,
        "streams": streams,
        "set_aside": report.set_aside.iter().map(aside).collect::<Vec<_>>(),
    })
}

fn stream_document(stream: &StreamReport) -> Value {
    let segment = |segment: &cim_spool::SegmentReport| {
        json!({
            "file": segment.file,
            "bytes": segment.bytes,
            "first_seq": segment.first_seq,
            "end_seq": segment.end_seq,
            "header_intact": segment.header_intact,
            "frames": segment.frames,
            "records": segment.records,
            "lost_records": segment.lost_records,
            "damaged_bytes": segment.damaged_bytes,
            "tail_bytes": segment.tail_bytes,
        })
    };
    let cursor =
        |cursor: &cim_spool::CursorReport| json!({ "name": cursor.name, "next_seq": cursor.next_seq });
    json!({
        "name": stream.name,
        "segments": stream.segments.iter().map(segment).collect::<Vec<_>>(),
        "cursors": stream.cursors.iter().map(cursor).collect::<Vec<_>>(),
        "others": stream.others,
    })
}

fn dump(dir: &std::path::Path, stream: &str, from: u64, limit: u64) -> Result<Answer, Failure> {
    let mut text = String::new();
    let mut records = Vec::new();
    let shown = cim_spool::dump(dir, stream, from, |seq, record| {
        if records.len() as u64 >= limit {
            return ControlFlow::Break(());
        }
        let start = record.get(..SHOWN).unwrap_or(record);
        let more = if record.len() > SHOWN { "…" } else { "" };
        let _ = writeln!(text, "{seq} {} bytes: {}{more}", record.len(), start.escape_ascii());
        records.push(json!({ "seq": seq, "bytes": record.len(), "hex": hex(record) }));
        ControlFlow::Continue(())
    });
    shown.map_err(|error| Failure::failed(chain(&error)))?;
    if records.is_empty() {
        text.push_str("no records");
    }
    Ok(Answer::done(text, Value::Array(records)))
}
