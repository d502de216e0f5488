//! The file sink, in process, against a loop of 256 KiB writes on the same file system.
//!
//! Only the time inside `deliver` counts: building a batch is the engine's work. Files are rotated at 256 MiB and the
//! oldest removed, as the write loop does with its file; what remains is read by the checker.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, Instant};

use cim_core::settings::ByteSize;
use cim_core::{Batch, Identity, LogRecord, LogSink, Meta};
use cim_sink_file::{FileSettings, FileSink};
use cim_wire::Log;

use super::line::{Goal, Line};
use super::pair::{Sample, paired};
use super::rig::Rig;
use crate::check::{Checker, Tolerance, read_path};
use crate::error::{BenchError, Result};
use crate::floor;
use crate::ledger::Ledger;
use crate::noise::Noise;
use crate::stamp::{self, STAMP_LEN, Stamp};

/// Bytes of one line without its end.
const LINE: usize = 1024;
/// Lines of one batch: 1 MiB.
const BATCH: usize = 1024;
/// Rotation size, MiB.
const FILE_MIB: u64 = 256;

/// The one line of this bench.
pub(super) fn run(rig: &Rig, line: &mut dyn FnMut(Line)) -> Result<()> {
    let name = format!("file sink, {LINE} B lines");
    line(match paired(rig, deliver, |rig| floor::write_loop(&rig.dir, rig.slice).map(Sample::of)) {
        Ok(pairing) => Line::ratio(name, "B/s", &pairing, 1.0, Some(Goal::AtLeast(0.6)))
            .note(format!("write(256 KiB) loop; {}", rig.file_system())),
        Err(error) => Line::void(name, &error),
    });
    Ok(())
}

fn deliver(rig: &Rig) -> Result<Sample> {
    let work = rig.work()?;
    let settings = FileSettings {
        dir: work.path().to_owned(),
        max_size: ByteSize::mib(FILE_MIB),
        max_files: 1,
        ..FileSettings::default()
    };
    let identity = Identity { namespace: "bench".into(), pod: "bench-0".into(), ..Identity::default() };
    let sink = FileSink::new("bench", &identity, &settings);
    let runtime =
        tokio::runtime::Builder::new_current_thread().build().map_err(BenchError::io("start a runtime"))?;
    let mut lines = Lines::new();
    let mut inside = Duration::ZERO;
    while inside < rig.slice {
        let batch = lines.next_batch();
        let start = Instant::now();
        runtime
            .block_on(sink.deliver(&batch))
            .map_err(|error| BenchError::Unclean(format!("file sink: {error}")))?;
        inside = inside.saturating_add(start.elapsed());
    }
    drop(sink);
    let bytes = lines.sent.saturating_mul(LINE as u64).saturating_add(lines.sent);
    verify(work.path(), lines.sent)?;
    Ok(Sample::of(bytes as f64 / inside.as_secs_f64()))
}

/// What rotation has left must be the last lines, whole and in order.
fn verify(dir: &Path, sent: u64) -> Result<()> {
    let mut checker = Checker::new(1);
    read_path(&mut checker, dir)?;
    let left = checker.received(1);
    let mut ledger = Ledger::new(1, 1, sent.saturating_sub(left).saturating_add(1));
    ledger.wrote(sent);
    ledger.accept(sent);
    if left == 0 {
        return Err(BenchError::Unclean("the file sink left no line".into()));
    }
    checker.finish(&[ledger]).verdict(Tolerance::default()).map_err(BenchError::Unclean)
}

/// Stamped lines, made anew for every batch.
struct Lines {
    payloads: Vec<(Vec<u8>, u32)>,
    sent: u64,
}

impl Lines {
    fn new() -> Self {
        let mut noise = Noise::new(1);
        let payloads = (0..BATCH).map(|_| {
            let payload = noise.text(LINE);
            let sum = stamp::text_sum(payload.get(STAMP_LEN..).unwrap_or_default());
            (payload, sum)
        });
        Self { payloads: payloads.collect(), sent: 0 }
    }

    fn next_batch(&mut self) -> Batch<LogRecord<'_>> {
        let mut stamp = Stamp { run: 1, producer: 1, seq: self.sent, intended_ns: 0, length: LINE as u32 };
        for (payload, sum) in &mut self.payloads {
            stamp.seq = stamp.seq.wrapping_add(1);
            if let Some(head) = payload.first_chunk_mut::<STAMP_LEN>() {
                stamp.write(*sum, head);
            }
        }
        let first = self.sent.saturating_add(1);
        self.sent = stamp.seq;
        let records = (first..).zip(&self.payloads).map(|(seq, (payload, _))| LogRecord {
            meta: Meta { seq, epoch: 1, arrived_ms: 0, redelivered: false },
            headers: None,
            log: Log {
                container_id: Cow::Borrowed(b"1"),
                container_name: Cow::Borrowed(b"bench"),
                payload: Some(Cow::Borrowed(payload)),
            },
        });
        Batch::new(records.collect(), BATCH.saturating_mul(LINE))
    }
}
