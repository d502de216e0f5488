//! The same CIM over and over: one spool, one pair of ports, one sink that outlives every life.
//!
//! Leaves out the load. The pipe of a stalled sink is held here: each life gets its write end, and it is read only once
//! [`Stage::open_the_sink`] was called.

use std::fs::File;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::JoinHandle;

use super::plan::{KillPlan, KillSink};
use crate::check::{Checker, Findings, read_path, read_stream};
use crate::error::{BenchError, Result};
use crate::ledger::Ledger;
use crate::server::{Cim, CimSpec, SinkSpec};

pub(super) struct Stage {
    spec: CimSpec,
    run: u32,
    write_end: Option<OwnedFd>,
    read_end: Option<OwnedFd>,
    reader: Option<JoinHandle<Result<Checker>>>,
}

impl Stage {
    pub(super) fn new(plan: &KillPlan, work: &Path) -> Result<Self> {
        let sink = match plan.sink {
            KillSink::Null => SinkSpec::Distant,
            KillSink::File => SinkSpec::File(work.join("files")),
            KillSink::Stalled => SinkSpec::Stdout,
        };
        let spec = CimSpec::new(&plan.binary, work, sink)?;
        let (mut read_end, mut write_end) = (None, None);
        if plan.sink == KillSink::Stalled {
            let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
            let (read, write) = pipe.map_err(|error| BenchError::io("create a pipe")(error.into()))?;
            (read_end, write_end) = (Some(read), Some(write));
        }
        Ok(Self { spec, run: plan.run(), write_end, read_end, reader: None })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.spec.nats
    }

    /// The spool, where it is the witness: the sink shows nothing.
    pub(super) fn witnessed_spool(&self) -> Option<PathBuf> {
        (self.spec.sink == SinkSpec::Distant).then(|| self.spec.spool.clone()).flatten()
    }

    /// The next life; returns when it is ready.
    pub(super) fn start(&self) -> Result<Cim> {
        let stdout = match &self.write_end {
            Some(end) => Stdio::from(end.try_clone().map_err(BenchError::io("share the pipe"))?),
            None => Stdio::null(),
        };
        let mut cim = Cim::launch(self.spec.clone(), stdout)?;
        cim.wait_ready()?;
        Ok(cim)
    }

    /// From now on somebody reads the pipe.
    pub(super) fn open_the_sink(&mut self) {
        if let Some(end) = self.read_end.take() {
            let mut checker = Checker::new(self.run);
            self.reader = Some(std::thread::spawn(move || {
                read_stream(&mut checker, File::from(end))?;
                Ok(checker)
            }));
        }
    }

    /// What the sink shows; nothing for the null sink. Call after the last life has ended.
    pub(super) fn findings(&mut self, ledgers: &[Ledger]) -> Result<Option<Findings>> {
        self.write_end = None;
        if let Some(reader) = self.reader.take() {
            let checker =
                reader.join().map_err(|_| BenchError::Unclean("the reader of the pipe failed".into()))??;
            return Ok(Some(checker.finish(ledgers)));
        }
        if let SinkSpec::File(dir) = &self.spec.sink {
            let mut checker = Checker::new(self.run);
            read_path(&mut checker, dir)?;
            return Ok(Some(checker.finish(ledgers)));
        }
        Ok(None)
    }
}
