//! The spool against a plain list of records, through appends, syncs, acknowledgements, sheds, restarts and crashes.
//!
//! Invariants checked after every restart: what was synced survives losing power, what was written survives a dead
//! process, order holds, every sequence is read or reported lost exactly once, content is never altered.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "test code: a failed step is the failure"
)]

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use cim_spool::{
    AppendError, Crash, Frame, FrameBuf, Read, Recovery, SimFiles, Spool, SpoolOptions, Stream,
    StreamOptions, SyncOutcome, TrimJob, Trimmed,
};
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Op {
    Append { records: usize, size: usize },
    Skip { records: u64 },
    Sync,
    FailedSync { keep: usize },
    Ack { part: u8 },
    BeginTrim { part: u8 },
    RunTrim { which: usize },
    FinishTrim { which: usize },
    SaveCursors,
    Shed,
    Read,
    Reopen,
    Kill,
    PowerCut,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        10 => (1..6usize, 0..400usize).prop_map(|(records, size)| Op::Append { records, size }),
        1 => (0..5u64).prop_map(|records| Op::Skip { records }),
        3 => Just(Op::Sync),
        1 => (0..5usize).prop_map(|keep| Op::FailedSync { keep }),
        2 => any::<u8>().prop_map(|part| Op::Ack { part }),
        4 => any::<u8>().prop_map(|part| Op::BeginTrim { part }),
        4 => any::<usize>().prop_map(|which| Op::RunTrim { which }),
        4 => any::<usize>().prop_map(|which| Op::FinishTrim { which }),
        2 => Just(Op::SaveCursors),
        1 => Just(Op::Shed),
        2 => Just(Op::Read),
        1 => Just(Op::Reopen),
        1 => Just(Op::Kill),
        1 => Just(Op::PowerCut),
    ];
    proptest::collection::vec(op, 1..60)
}

struct World {
    disk: SimFiles,
    spool: Option<(Spool, Stream)>,
    epoch: Option<u64>,
    /// Every record that should still be readable, by sequence.
    records: BTreeMap<u64, Vec<u8>>,
    /// Frames since the last good sync, as an engine would keep them.
    unsynced: Vec<Frame>,
    /// Promised to survive a power cut.
    synced: u64,
    /// On a file whose sync failed, and not written again: at level `written` for good.
    doubtful: BTreeSet<u64>,
    /// Acknowledged; below it a record may be gone.
    acked: u64,
    saved: u64,
    written: u64,
    /// Bytes that may be stored twice, after syncs that failed.
    twice: u64,
    /// Jobs that wait to be run, each with the position it saves.
    jobs: Vec<(TrimJob, u64)>,
    /// What was run and not handed in.
    trimmed: Vec<Trimmed>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            disk: SimFiles::new(seed),
            spool: None,
            epoch: None,
            records: BTreeMap::new(),
            unsynced: Vec::new(),
            synced: 0,
            doubtful: BTreeSet::new(),
            acked: 1,
            saved: 1,
            written: 0,
            twice: 0,
            jobs: Vec::new(),
            trimmed: Vec::new(),
        };
        world.open();
        world
    }

    fn open(&mut self) -> Recovery {
        self.spool = None;
        let options = SpoolOptions { reserve_bytes: 4096, ..SpoolOptions::new("/spool", "demo/demo-0") };
        let mut spool = Spool::open(Arc::new(self.disk.clone()), options).unwrap();
        let first = *self.epoch.get_or_insert(spool.epoch());
        assert_eq!(spool.epoch(), first, "the epoch is stable");
        let options = StreamOptions { cursor_sync: true, ..StreamOptions::new("logs", 2048, 16 << 10) };
        let (mut stream, recovery) = spool.stream(options).unwrap();
        stream.cursor("sink").unwrap();
        self.spool = Some((spool, stream));
        recovery
    }

    fn stream(&mut self) -> &mut Stream {
        &mut self.spool.as_mut().unwrap().1
    }

    fn append(&mut self, records: usize, size: usize) {
        let mut buf = FrameBuf::with_target(4096);
        let mut batch = Vec::new();
        for index in 0..records {
            let seq = self.written + 1 + index as u64;
            let mut record = format!("{seq}:{}:", self.disk.calls()).into_bytes();
            record.resize(record.len() + size, (seq % 251) as u8);
            buf.push(&[&record[..1], &record[1..]]);
            batch.push((seq, record));
        }
        match self.stream().append(buf) {
            Ok(frame) => {
                let got: Vec<_> = frame.records().map(|(seq, record)| (seq, record.to_vec())).collect();
                assert_eq!(got, batch, "the frame in memory is what was pushed");
                self.written += records as u64;
                self.records.extend(batch);
                self.unsynced.push(frame);
            }
            Err((AppendError::Full { bytes, max_bytes }, buf)) => {
                assert_eq!(buf.len(), records, "a refused buffer comes back whole");
                assert!(bytes <= max_bytes + self.twice);
                self.shed();
            }
            Err((error, _)) => panic!("{error}"),
        }
        let twice = self.twice;
        assert!(self.stream().bytes() <= self.stream().max_bytes() + twice);
        assert_eq!(self.stream().next_seq(), self.written + 1);
    }

    /// Records whose numbers are taken and that are never stored, and one behind them that is. What comes before them is
    /// not in memory any more either.
    fn skip(&mut self, records: u64) {
        let (next, is_empty) = (self.written + 1 + records, self.stream().first_seq() == self.written + 1);
        match self.stream().skip_to(next) {
            Ok(()) if records > 0 => {
                self.written += records;
                self.unsynced.clear();
                if is_empty {
                    // A consumer that was never saved starts with the oldest stored record.
                    self.stream().advance("sink", next);
                    self.acked = next;
                }
                self.append(1, 0);
            }
            Ok(()) => {}
            Err(AppendError::Full { .. }) => self.shed(),
            Err(error) => panic!("{error}"),
        }
        assert_eq!(self.stream().next_seq(), self.written + 1);
    }

    fn sync(&mut self) {
        let Some(mut job) = self.stream().begin_sync() else { return };
        assert!(self.stream().begin_sync().is_none(), "one job at a time");
        let result = job.run();
        assert!(matches!(self.stream().finish_sync(job, result), SyncOutcome::Synced { .. }));
        assert_eq!(self.stream().synced_through().unwrap_or(0), self.written);
        self.synced = self.written;
        self.unsynced.clear();
    }

    fn failed_sync(&mut self, keep: usize) {
        self.disk.fail_syncs(1);
        let Some(mut job) = self.stream().begin_sync() else { return self.disk.fail_syncs(0) };
        let result = job.run();
        if result.is_ok() {
            // Only a cursor was due, and that may fail silently.
            self.stream().finish_sync(job, result);
            self.disk.fail_syncs(0);
            return;
        }
        let SyncOutcome::Failed { last_seq, .. } = self.stream().finish_sync(job, result) else { panic!() };
        assert_eq!(last_seq, self.written);
        let kept = self.unsynced.split_off(self.unsynced.len().saturating_sub(keep));
        let first = self.stream().first_seq();
        let kept: Vec<Frame> = kept.into_iter().filter(|frame| frame.first_seq() >= first).collect();
        if !kept.is_empty() {
            let before = self.stream().bytes();
            self.stream().reappend(&kept).unwrap();
            self.twice += self.stream().bytes().saturating_sub(before);
        }
        let again = kept.first().map_or(self.written + 1, Frame::first_seq);
        self.doubtful.extend(self.synced + 1..again);
        self.unsynced = kept;
    }

    fn shed(&mut self) {
        if let Some(shed) = self.stream().shed_oldest() {
            assert_eq!(shed.records, shed.last_seq - shed.first_seq + 1);
            self.records.retain(|seq, _| *seq > shed.last_seq);
            self.acked = self.acked.max(shed.last_seq + 1);
        }
    }

    fn ack(&mut self, part: u8) {
        let next = self.acked + (self.written + 1 - self.acked) * u64::from(part) / 255;
        self.stream().ack("sink", next);
        self.acked = self.acked.max(next);
    }

    fn begin_trim(&mut self, part: u8) {
        let next = self.acked + (self.written + 1 - self.acked) * u64::from(part) / 255;
        self.stream().advance("sink", next);
        self.acked = self.acked.max(next);
        let (job, acked) = (self.stream().begin_trim(), self.acked);
        self.jobs.push((job, acked));
    }

    /// Jobs are run in any order, and several before one is handed in.
    fn run_trim(&mut self, which: usize) {
        let Some(at) = which.checked_rem(self.jobs.len()) else { return };
        let (job, saves) = self.jobs.swap_remove(at);
        self.trimmed.push(job.run());
        self.saved = self.saved.max(saves);
    }

    fn finish_trim(&mut self, which: usize) {
        let Some(at) = which.checked_rem(self.trimmed.len()) else { return };
        let done = self.trimmed.swap_remove(at);
        self.stream().finish_trim(done).unwrap();
    }

    /// What an earlier life left behind concerns the new one no more.
    fn forget_trims(&mut self) {
        let calls = self.disk.calls();
        let late: Vec<Trimmed> = self.jobs.drain(..).map(|(job, _)| job.run()).collect();
        assert_eq!(self.disk.calls(), calls, "a job of an earlier life reached the disk");
        let bytes = self.stream().bytes();
        let late: Vec<Trimmed> = late.into_iter().chain(self.trimmed.drain(..)).collect();
        for done in late {
            self.stream().finish_trim(done).unwrap();
        }
        assert_eq!(self.stream().bytes(), bytes);
    }

    /// No byte is on the disk that the limit does not know of.
    fn check_bytes(&mut self) {
        let segments =
            self.disk.paths().into_iter().filter(|path| path.extension().is_some_and(|ext| ext == "seg"));
        let stored: u64 = segments.map(|path| self.disk.contents(&path).unwrap().len() as u64).sum();
        let (counted, twice) = (self.stream().bytes(), self.twice);
        assert!(stored <= counted + twice, "{stored} bytes are stored, {counted} counted");
    }

    /// Reads from the cursor to the end; everything promised must be there.
    fn read(&mut self, promised: u64, acked: u64, power: bool) {
        let from = self.stream().cursor("sink").unwrap();
        let mut reader = self.stream().reader(from);
        let mut next = from;
        let (mut lost, mut back) = (Vec::new(), BTreeMap::new());
        loop {
            assert_eq!(reader.position(), next);
            match reader.next().unwrap() {
                Read::CaughtUp => break,
                Read::Frame(frame) => {
                    assert_eq!(frame.first_seq(), next);
                    for (seq, record) in frame.records() {
                        if let Some(expected) = self.records.get(&seq) {
                            assert_eq!(record, &expected[..], "record {seq}");
                        } else {
                            assert!(seq < acked, "record {seq} was never accepted");
                            assert!(record.starts_with(format!("{seq}:").as_bytes()));
                            if power {
                                // Removed, but not yet for good when the power went: stored again.
                                back.insert(seq, record.to_vec());
                            }
                        }
                    }
                    next = frame.last_seq() + 1;
                }
                Read::Lost { first_seq, last_seq, reason } => {
                    assert_eq!(first_seq, next);
                    assert!(last_seq >= first_seq);
                    for seq in first_seq..=last_seq {
                        let known_lost = !self.records.contains_key(&seq);
                        let doubtful = power && self.doubtful.contains(&seq);
                        let fair = seq > promised || seq < acked || known_lost || doubtful;
                        assert!(fair, "promised record {seq} lost as {reason:?}");
                        lost.push(seq);
                    }
                    next = last_seq + 1;
                }
            }
        }
        assert_eq!(next, self.stream().next_seq());
        for seq in lost {
            self.records.remove(&seq);
        }
        self.records.extend(back);
    }

    fn restart(&mut self, crash: Option<Crash>) {
        if let Some(crash) = crash {
            self.disk.crash(crash);
        }
        let recovery = self.open();
        self.forget_trims();
        if crash == Some(Crash::Power) {
            let sure = (1..=self.synced).rev().find(|seq| !self.doubtful.contains(seq)).unwrap_or(0);
            assert!(recovery.next_seq > sure, "a synced record is gone");
            self.doubtful.retain(|seq| *seq < recovery.next_seq);
            self.records.retain(|seq, _| *seq < recovery.next_seq);
            // A cursor may be ahead of what survived: sequences are not given out twice then.
            let highest = recovery.next_seq - 1;
            let (synced, acked) = (self.synced, self.acked);
            self.written = highest;
            self.unsynced.clear();
            self.read(synced, acked, true);
            self.synced = synced.min(highest);
            let cursor = self.stream().cursor("sink").unwrap();
            self.acked = cursor;
            self.saved = cursor;
        } else {
            assert_eq!(recovery.next_seq, self.written + 1, "a written record is gone");
            assert_eq!(recovery.lost, vec![]);
            let cursor = self.stream().cursor("sink").unwrap();
            assert!(
                cursor >= self.saved && cursor <= self.acked,
                "{} <= {cursor} <= {}",
                self.saved,
                self.acked
            );
            let (written, acked) = (self.written, self.acked);
            self.read(written, acked, false);
            self.acked = cursor;
        }
    }

    fn apply(&mut self, op: &Op) {
        match *op {
            Op::Append { records, size } => self.append(records, size),
            Op::Skip { records } => self.skip(records),
            Op::Sync => self.sync(),
            Op::FailedSync { keep } => self.failed_sync(keep),
            Op::Ack { part } => self.ack(part),
            Op::BeginTrim { part } => self.begin_trim(part),
            Op::RunTrim { which } => self.run_trim(which),
            Op::FinishTrim { which } => self.finish_trim(which),
            Op::SaveCursors => {
                self.stream().save_cursors(false).unwrap();
                self.saved = self.acked;
            }
            Op::Shed => self.shed(),
            Op::Read => {
                let (written, acked) = (self.written, self.acked);
                self.read(written, acked, false);
            }
            Op::Reopen => self.restart(None),
            Op::Kill => self.restart(Some(Crash::Process)),
            Op::PowerCut => self.restart(Some(Crash::Power)),
        }
        self.check_bytes();
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_spool_is_a_list_that_survives(seed in any::<u64>(), ops in ops()) {
        let mut world = World::new(seed);
        for op in &ops {
            world.apply(op);
        }
        world.restart(Some(Crash::Process));
    }
}
